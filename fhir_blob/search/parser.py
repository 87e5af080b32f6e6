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
from fhir_blob.search import Criterion, Missing, Query, SortKey, Uri, Value, values
from fhir_blob.search.extraction import components

_MOST_VALUES = 1000
_QUOTED = 100
# What the edge does with the answer: not a matter of which resources are found.
RESULT_PARAMETERS = frozenset({"_summary", "_elements", "_format", "_pretty", "_attachments"})
_TERMINOLOGY = {"in", "not-in", "above", "below"}
_MODIFIERS: Mapping[str, frozenset[str]] = {
    "token": frozenset({"not", "text", "ofType"}),
    "string": frozenset({"exact", "contains"}),
    "reference": frozenset({"identifier", "text"}),
    "uri": frozenset({"above", "below"}),
}
_UNMODIFIED = frozenset({"_id", "_lastUpdated"})
_READERS: Mapping[str, Callable[[str, str], Value]] = {
    "ofType": values.of_type,
    "text": values.string,
    "identifier": values.token,
}
_TOTALS: Mapping[str, Literal["none", "estimate", "accurate"]] = {
    "none": "none",
    "estimate": "estimate",
    "accurate": "accurate",
}


@dataclass(slots=True)
class _Draft:
    """What was understood so far."""

    parameters: Mapping[str, SearchParameter]
    base: str
    count: int
    max_count: int
    criteria: list[Criterion] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    total: Literal["none", "estimate", "accurate"] = "accurate"
    cursor: str | None = None
    values: int = 0


def parse_query(
    type: str | None,
    pairs: Sequence[tuple[str, str]],
    *,
    base: str,
    strict: bool,
    default_count: int,
    max_count: int,
) -> Query:
    """The Query that the pairs ask; type None searches every type by the parameters that all have.

    `base` is this server's own URL, under which a reference is a local one. With `strict` an unknown
    parameter is a BadParameter, else it is named in `ignored`.
    """
    draft = _Draft(_parameters(type), base, min(default_count, max_count), max_count)
    given, ignored = [], []
    for name, value in pairs:
        _check_text(name, value)
        if _understood(draft, name, value):
            given.append((name, value))
        elif strict:
            raise BadParameter(f"The search parameter {name[:_QUOTED]!r} is not known, or has no value.")
        else:
            ignored.append(name)
    return Query(
        types=() if type is None else (type,),
        criteria=tuple(draft.criteria),
        sort=draft.sort,
        count=draft.count,
        total="accurate" if draft.count == 0 else draft.total,
        cursor=draft.cursor,
        given=tuple(given),
        ignored=tuple(dict.fromkeys(ignored)),
    )


def parse_period(name: str, value: str) -> tuple[int, int]:
    """[low, high) microseconds of a date, dateTime or instant; BadParameter otherwise."""
    _check_text(name, value)
    try:
        return values.date_span(value)
    except ValueError as error:
        raise _bad(name, value, str(error)) from None


def _parameters(type: str | None) -> Mapping[str, SearchParameter]:
    if type is not None:
        return definitions().search_parameters(type)
    common = definitions().search_parameters("Basic")
    return {code: each for code, each in common.items() if code.startswith("_")}


def _bad(name: str, value: str, why: str) -> BadParameter:
    return BadParameter(f"{name[:_QUOTED]}={value[:_QUOTED]!r} cannot be searched: {why}.")


def _check_text(name: str, value: str) -> None:
    if "\0" in name or "\0" in value or not _is_unicode(name + value):
        quoted = value[:_QUOTED].encode("unicode_escape").decode()
        raise BadParameter(f"{name[:_QUOTED]!a}={quoted!r} has characters that no resource can have.")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)


def _understood(draft: _Draft, name: str, value: str) -> bool:
    """Take the parameter into the draft; False where it is unknown or empty."""
    control = _CONTROLS.get(name)
    if control is not None:
        control(draft, name, value)
        return True
    code, _, modifier = name.partition(":")
    parameter = draft.parameters.get(code)
    if name in RESULT_PARAMETERS or parameter is None or parameter.type == "special":
        return name in RESULT_PARAMETERS
    texts = [each for each in values.split(value, ",") if each]
    if not texts or "." in modifier:
        return False
    draft.values += len(texts)
    if draft.values > _MOST_VALUES:
        raise BadParameter(f"A search takes {_MOST_VALUES} values; from {name[:_QUOTED]!r} on there are more.")
    draft.criteria.append(_criterion(draft, parameter, modifier, texts, name, value))
    return True


def _criterion(
    draft: _Draft, parameter: SearchParameter, modifier: str, texts: Sequence[str], name: str, value: str
) -> Criterion:
    if modifier == "missing" and parameter.code not in _UNMODIFIED:
        return Criterion(parameter, modifier, (_missing(name, value),))
    _check_modifier(parameter, modifier, name, value)
    is_typed = parameter.type == "reference" and modifier not in _MODIFIERS["reference"]
    try:
        if modifier and is_typed:
            found: list[Value] = [values.reference_to(modifier, each, draft.base) for each in texts]
            return Criterion(parameter, None, tuple(found))
        if parameter.type == "composite":
            types = tuple(each.type for each in components(parameter))
            return Criterion(parameter, None, tuple(values.composite(each, draft.base, types) for each in texts))
        read = _READERS.get(modifier) or values.READERS[parameter.type]
        found = [read(each, draft.base) for each in texts]
    except ValueError as error:
        raise _bad(name, value, str(error)) from None
    if modifier == "above":
        found = [above for each in found if isinstance(each, Uri) for above in _above(each)]
    return Criterion(parameter, modifier or None, tuple(found))


def _check_modifier(parameter: SearchParameter, modifier: str, name: str, value: str) -> None:
    allowed = _MODIFIERS.get(parameter.type, frozenset())
    if not modifier or (modifier in allowed and parameter.code not in _UNMODIFIED):
        return
    if parameter.type == "reference" and values.is_type(modifier):
        return
    if parameter.type == "token" and modifier in _TERMINOLOGY:
        raise _bad(name, value, f"the modifier :{modifier} needs a terminology server, which is not there")
    raise _bad(name, value, f"a parameter of type {parameter.type} does not take the modifier :{modifier[:40]}")


def _missing(name: str, value: str) -> Missing:
    if value not in ("true", "false"):
        raise _bad(name, value, "the modifier :missing takes true or false")
    return Missing(value == "true")


def _above(uri: Uri) -> list[Uri]:
    """The uri itself and what stands above it in the hierarchy of its path."""
    scheme, mark, rest = uri.value.partition("://")
    steps = rest.split("/")
    found = {uri.value}
    for length in range(1, len(steps)):
        parent = scheme + mark + "/".join(steps[:length])
        found |= {parent, parent + "/"}
    return [Uri(each) for each in sorted(found)]


def _take_count(draft: _Draft, name: str, value: str) -> None:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise _bad(name, value, "it takes a whole number")
    draft.count = min(int(value), draft.max_count)


def _take_total(draft: _Draft, name: str, value: str) -> None:
    if value not in _TOTALS:
        raise _bad(name, value, "it takes none, estimate or accurate")
    draft.total = _TOTALS[value]


def _take_cursor(draft: _Draft, name: str, value: str) -> None:
    draft.cursor = value


def _take_sort(draft: _Draft, name: str, value: str) -> None:
    keys = []
    for each in value.split(","):
        descending = each.startswith("-")
        parameter = draft.parameters.get(each[1:] if descending else each)
        if parameter is None or parameter.type in ("composite", "special"):
            raise _bad(name, value, f"{each[:40]!r} is not a parameter to sort by")
        keys.append(SortKey(parameter, descending))
    if len(keys) > _MOST_SORT_KEYS:
        raise _bad(name, value, f"it takes {_MOST_SORT_KEYS} keys")
    draft.sort = tuple(keys)


_MOST_SORT_KEYS = 8
_CONTROLS: Mapping[str, Callable[[_Draft, str, str], None]] = {
    "_count": _take_count,
    "_total": _take_total,
    "_cursor": _take_cursor,
    "_sort": _take_sort,
}
