"""From the pairs of an HTTP query to a Query: https://hl7.org/fhir/R4/search.html

Whatever cannot be understood is a BadParameter that quotes it, but for parameters that are unknown
to this server: those are ignored, and named in the Query, unless the client asked for strictness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Clause, Include, Query, SortKey, filters, values
from fhir_blob.search.clauses import QUOTED, Clauses, bad, check_text, parameters

# What the edge does with the answer: not a matter of which resources are found.
RESULT_PARAMETERS = frozenset({"_summary", "_elements", "_format", "_pretty", "_attachments"})
_TOTALS: Mapping[str, Literal["none", "estimate", "accurate"]] = {
    "none": "none",
    "estimate": "estimate",
    "accurate": "accurate",
}


@dataclass(slots=True)
class _Draft:
    """What was understood so far."""

    types: tuple[str, ...]
    clauses: Clauses
    count: int
    max_count: int
    criteria: list[Clause] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    total: Literal["none", "estimate", "accurate"] = "accurate"
    cursor: str | None = None


def parse_query(
    type: str | None,
    pairs: Sequence[tuple[str, str]],
    *,
    base: str,
    strict: bool,
    default_count: int,
    max_count: int,
    within: Sequence[Clause] = (),
    principal: str = "",
) -> Query:
    """The Query that the pairs ask; type None searches every type, or those that `_type` names.

    `base` is this server's own URL, under which a reference is a local one; `within` narrows the
    search beforehand, as a compartment does. With `strict` an unknown parameter is a BadParameter,
    else it is named in `ignored`.
    """
    given, ignored = [], []
    length = sum(len(name) + len(value) for name, value in pairs)
    if length > _LONGEST:
        raise BadParameter(
            f"The query has {length} characters, from {pairs[0][0][:QUOTED]!r} on; at most {_LONGEST} are read."
        )
    types = (type,) if type is not None else _types(pairs)
    draft = _Draft(types, Clauses(base), min(default_count, max_count), max_count)
    for name, value in pairs:
        check_text(name, value)
        if _understood(draft, name, value) or (name == "_type" and type is None):
            given.append((name, value))
        elif strict:
            raise BadParameter(f"The search parameter {name[:QUOTED]!r} is not known, or has no value.")
        else:
            ignored.append(name)
    return Query(
        types=types,
        criteria=(*within, *draft.criteria),
        sort=draft.sort,
        count=draft.count,
        total="accurate" if draft.count == 0 else draft.total,
        cursor=draft.cursor,
        includes=tuple(draft.includes),
        given=tuple(given),
        ignored=tuple(dict.fromkeys(ignored)),
        principal=principal,
    )


def parse_period(name: str, value: str) -> tuple[int, int]:
    """[low, high) microseconds of a date, dateTime or instant; BadParameter otherwise."""
    check_text(name, value)
    try:
        return values.date_span(value)
    except ValueError as error:
        raise bad(name, value, str(error)) from None


def _types(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The types that every `_type` has: https://hl7.org/fhir/R4/search.html#type"""
    named = [tuple(each for each in value.split(",") if each) for name, value in pairs if name == "_type"]
    for each in (type for types in named for type in types):
        if each not in definitions().types:
            raise BadParameter(f"_type={each[:QUOTED]!r} is no resource type of FHIR R4.")
    if not any(named):
        return ()
    common = set.intersection(*(set(types) for types in named if types))
    if not common:
        raise BadParameter("No type stands in every _type: put them into one, with commas between them.")
    return tuple(sorted(common))


def _understood(draft: _Draft, name: str, value: str) -> bool:
    """Take the parameter into the draft; False where it is unknown or empty."""
    control = _CONTROLS.get(name)
    if control is not None:
        control(draft, name, value)
        return True
    if name in RESULT_PARAMETERS:
        return True
    if name.startswith(("_include", "_revinclude")) and name in _INCLUDES:
        draft.includes.append(_include(name, value))
        return True
    if name == "_filter" and value:
        draft.criteria.extend(filters.read(draft.clauses, draft.types, value))
        return True
    clause = draft.clauses.read(draft.types, name, value)
    if clause is None:
        return False
    draft.criteria.append(clause)
    return True


def _take_count(draft: _Draft, name: str, value: str) -> None:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise bad(name, value, "it takes a whole number")
    draft.count = min(int(value), draft.max_count)


def _take_total(draft: _Draft, name: str, value: str) -> None:
    if value not in _TOTALS:
        raise bad(name, value, "it takes none, estimate or accurate")
    draft.total = _TOTALS[value]


def _take_cursor(draft: _Draft, name: str, value: str) -> None:
    draft.cursor = value


def _take_sort(draft: _Draft, name: str, value: str) -> None:
    keys, known = [], parameters(draft.types)
    for each in value.split(","):
        descending = each.startswith("-")
        parameter = known.get(each[1:] if descending else each)
        if parameter is None or parameter.type in ("composite", "special"):
            raise bad(name, value, f"{each[:40]!r} is not a parameter to sort by")
        keys.append(SortKey(parameter, descending))
    if len(keys) > _MOST_SORT_KEYS:
        raise bad(name, value, f"it takes {_MOST_SORT_KEYS} keys")
    draft.sort = tuple(keys)


_MOST_SORT_KEYS, _LONGEST = 8, 200_000
_CONTROLS: Mapping[str, Callable[[_Draft, str, str], None]] = {
    "_count": _take_count,
    "_total": _take_total,
    "_cursor": _take_cursor,
    "_sort": _take_sort,
}
_INCLUDES = {
    f"{name}{modifier}": (name == "_revinclude", bool(modifier))
    for name in ("_include", "_revinclude")
    for modifier in ("", ":iterate", ":recurse")
}


def _include(name: str, value: str) -> Include:
    """`Type:parameter[:target]`, `Type:*` or `*`: https://hl7.org/fhir/R4/search.html#include"""
    reverse, iterates = _INCLUDES[name]
    if value == "*" and not reverse:
        return Include("*", None, None, iterates)
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
