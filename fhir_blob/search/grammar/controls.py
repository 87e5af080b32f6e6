"""What a search says of its answer rather than of its matches: order, pages, total, and what comes along.

Source: https://hl7.org/fhir/R4/search.html#return
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Clause, Include, Near, SortKey
from fhir_blob.search.grammar.clauses import QUOTED, bad, parameters
from fhir_blob.search.near import named_place

# What the edge does with the answer: not a matter of which resources are found.
RESULT_PARAMETERS = frozenset({"_summary", "_elements", "_format", "_pretty", "_attachments"})
_MOST_SORT_KEYS = 8
# An estimate may be as good as one likes, and nothing is no estimate.
_TOTALS: Mapping[str, Literal["none", "accurate"]] = {"none": "none", "estimate": "accurate", "accurate": "accurate"}


@dataclass(slots=True)
class Controls:
    """What was said so far, in a search of these types."""

    types: tuple[str, ...]
    count: int
    max_count: int
    includes: list[Include] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    total: Literal["none", "accurate"] = "accurate"
    cursor: str | None = None
    said: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, value: str) -> bool:
        """False where it is none of these. BadParameter for a value or a modifier that it does not take."""
        if name in _INCLUDES:
            self.includes.append(_include(name, value))
            return True
        base, colon, modifier = name.partition(":")
        take = _TAKEN.get(base)
        if take is None:
            return False
        if colon:
            raise bad(name, value, f"{base} does not take the modifier :{modifier[:40]}")
        self._once(name, value)
        take(self, name, value)
        return True

    def check(self) -> None:
        """BadParameter for what does not go together: https://hl7.org/fhir/R4/search.html#summary"""
        if self.said.get("_summary") == "text" and self.includes:
            raise bad("_summary", "text", "it cannot be mixed with _include and _revinclude")

    def _once(self, name: str, value: str) -> None:
        before = self.said.setdefault(name, value)
        if before != value and name not in _REPEATED:
            raise bad(name, value, f"it was {before[:QUOTED]!r} before: say it once")


def placed(keys: Iterable[SortKey], criteria: Sequence[Clause]) -> tuple[SortKey, ...]:
    """The keys with the place that a distance is measured from: the one that `near` names."""
    return tuple(
        replace(each, place=_place(each, criteria)) if each.parameter.type == "special" else each for each in keys
    )


def _place(key: SortKey, criteria: Sequence[Clause]) -> Near:
    """BadParameter where `near` names no place, or several: with it no match is without a distance."""
    code, named = key.parameter.code, named_place(criteria)
    if named is None:
        raise bad("_sort", code, f"it takes one place to measure from, as in {code}=48.2|16.4|10|km")
    return named[1]


def _take_count(controls: Controls, name: str, value: str) -> None:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise bad(name, value, "it takes a whole number")
    controls.count = min(int(value), controls.max_count)


def _take_total(controls: Controls, name: str, value: str) -> None:
    if value not in _TOTALS:
        raise bad(name, value, "it takes none, estimate or accurate")
    controls.total = _TOTALS[value]


def _take_cursor(controls: Controls, name: str, value: str) -> None:
    controls.cursor = value


def _take_sort(controls: Controls, name: str, value: str) -> None:
    """What comes in a second _sort follows what came in the first."""
    known = parameters(controls.types)
    for each in filter(None, value.split(",")):
        descending = each.startswith("-")
        parameter = known.get(each[1:] if descending else each)
        if parameter is None or parameter.type == "composite":
            raise bad(name, value, f"{each[:40]!r} is not a parameter to sort by")
        controls.sort.append(SortKey(parameter, descending))
    if len(controls.sort) > _MOST_SORT_KEYS:
        raise bad(name, value, f"it takes {_MOST_SORT_KEYS} keys")


def _take_contained(controls: Controls, name: str, value: str) -> None:
    """https://hl7.org/fhir/R4/search.html#contained"""
    if value not in ("false", "true", "both"):
        raise bad(name, value, "it takes false, true or both")
    if value != "false":
        raise bad(name, value, "contained resources are not searched by themselves, only what they stand in")


def _take_contained_type(controls: Controls, name: str, value: str) -> None:
    if value not in ("container", "contained"):
        raise bad(name, value, "it takes container or contained")


def _leave(controls: Controls, name: str, value: str) -> None:
    """For the edge."""


_REPEATED = ("_sort", "_elements")
_TAKEN: Mapping[str, Callable[[Controls, str, str], None]] = {
    "_count": _take_count,
    "_total": _take_total,
    "_cursor": _take_cursor,
    "_sort": _take_sort,
    "_contained": _take_contained,
    "_containedType": _take_contained_type,
    "_include": _leave,
    "_revinclude": _leave,
    **dict.fromkeys(RESULT_PARAMETERS, _leave),
}
_INCLUDES = {
    f"{name}{modifier}": (name == "_revinclude", bool(modifier))
    for name in ("_include", "_revinclude")
    for modifier in ("", ":iterate", ":recurse")
}


def _include(name: str, value: str) -> Include:
    """`Type:parameter[:target]`, `Type:*` or `*`: https://hl7.org/fhir/R4/search.html#include"""
    reverse, iterates = _INCLUDES[name]
    if value == "*":
        return Include("*", None, None, iterates, reverse)
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    if source not in definitions().types or not code:
        raise bad(name, value, "it is written Type:parameter or Type:parameter:target")
    if target and target not in definitions().types:
        raise bad(name, value, f"{target[:40]!r} is no resource type")
    if code == "*":
        return Include(source, None, target or None, iterates, reverse)
    parameter: SearchParameter | None = definitions().searchable(source).get(code)
    if parameter is None or parameter.type != "reference":
        raise bad(name, value, f"{code[:40]!r} is no reference parameter of {source}")
    return Include(source, parameter, target or None, iterates, reverse)
