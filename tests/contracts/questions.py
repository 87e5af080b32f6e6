"""Hypothesis asks for what stands in the records, by every parameter, modifier and prefix, and reads the answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.contracts import naive
from tests.contracts import readings as read
from tests.contracts.parameters import PARAMETERS, Parameter, common
from tests.contracts.readings import BASE, Resource, escaped
from tests.contracts.records import CODES, DATES, PLACES, SYSTEMS, URIS, records

Pairs = list[tuple[str, str]]
SEEDS = (1, 2)
PREFIXES = ("", *naive.PREFIXES, "ap")
_MODIFIERS = {
    "token": ("", "", "not", "text"),
    "string": ("", "exact", "contains"),
    "reference": ("", "", "identifier", "text", "Patient", "Group"),
    "uri": ("", "above", "below"),
}
_COMPARED = ("date", "number", "quantity", "composite", "special")
_UNSORTED = ("composite", "special")
_NUMBERS = ["98.6", "37.0", "5400", "0.0054", "5", "5.4", "5.40", "5.35", "100", "0", "0.1", "0.5", "-5", "1e2", "99.5"]
_UNITS = ["", "", "||mg", f"|{SYSTEMS[0]}|mg", "||g", f"|{SYSTEMS[0]}|", f"|{read.UCUM}|", "|urn:iso:std:iso:4217|EUR"]
_UNITS += [f"|{read.UCUM}|{each}" for each in ("mg", "g", "kg", "ug", "Cel", "K", "[degF]", "{score}", "mg/dL")]
_TIMES = ["2013-01-14T10:00", "2013-01-14T10:00:00.5Z", "2013-01-15T04:30:00Z", "2015"]


def search(resources: Sequence[Resource], types: list[str], pairs: Pairs, sort: str) -> list[str]:
    """'Type/id' of what matches, in order; the resources stand in the order in which they were made."""
    known = common(types)
    found = [
        each
        for each in resources
        if each["resourceType"] in types and all(_matches(_own(known, each), each, *pair) for pair in pairs)
    ]

    def key(resource: Resource, code: str, descending: bool) -> Any:
        parameter = _own(known, resource)[code]
        keys = read.sort_keys(parameter.kind, _read(resource, code, parameter))
        return None if not keys else max(keys) if descending else min(keys)

    return [f"{each['resourceType']}/{each['id']}" for each in naive.ordered(found, sort, key)]


# By the resource itself, which has to be kept with it, and code.
_found: dict[tuple[int, str], tuple[Resource, list[Any]]] = {}


def _read(resource: Resource, code: str, parameter: Parameter) -> list[Any]:
    name = (id(resource), code)
    if name not in _found:
        _found[name] = (resource, parameter.read(resource))
    return _found[name][1]


def _own(known: dict[str, Parameter], resource: Resource) -> dict[str, Parameter]:
    """Each type reads the common parameters in its own way."""
    return {code: PARAMETERS[resource["resourceType"]][code] for code in known}


def _matches(known: dict[str, Parameter], resource: Resource, name: str, given: str) -> bool:
    code, _, modifier = name.partition(":")
    parameter = known[code]
    values = _read(resource, code, parameter)
    if modifier == "missing":
        return bool(values) != (given == "true")
    wanted = read.split(given, ",")
    if parameter.parts:
        return any(_composed(parameter, value, read.split(each, "$")) for each in wanted for value in values)
    how = "" if modifier == "not" else modifier
    found = any(read.meets(parameter.kind, value, each, how) for each in wanted for value in values)
    return found != (modifier == "not")


def _composed(parameter: Parameter, value: tuple[list[Any], ...], wanted: list[str]) -> bool:
    each = zip(parameter.parts, value, wanted, strict=True)
    return all(any(read.meets(kind, one, part, "") for one in some) for kind, some, part in each)


@cache
def _values(type: str, code: str) -> tuple[Any, ...]:
    """What the parameter finds anywhere in the records."""
    parameter = PARAMETERS[type][code]
    every = (each for seed in SEEDS for each in records(seed) if each["resourceType"] == type)
    return tuple(value for each in every for value in parameter.read(each))


def _texts(kind: str, values: Sequence[Any], modifier: str = "") -> list[str]:
    """Values of a search that may find some of these."""
    if kind == "date" and not values:  # of _lastUpdated
        return [prefix + each for prefix in PREFIXES[:-1] for each in ("1970", "1970-01-01T00:00:02Z")]
    if kind == "date":
        return [prefix + each for prefix in PREFIXES for each in (*DATES, *_TIMES)]
    if kind == "special":
        distances = ["0", "0.345", "0.346", "10.0", "112|m", "111|m", "0.66|[mi_i]", "6.342|mi", "10007", "20015"]
        return [f"{latitude}|{longitude}|{each}" for latitude, longitude in PLACES for each in distances]
    if kind in ("number", "quantity"):
        units = [""] if kind == "number" else _UNITS
        return [prefix + each + unit for prefix in PREFIXES for each in _NUMBERS for unit in units]
    found = {text: None for each in values for text in _written(kind, each, modifier)}
    return sorted(text for text in found if text.strip())


def _written(kind: str, value: Any, modifier: str) -> list[str]:
    if kind == "token" and modifier == "text":
        return [part for each in value.texts for part in _parts(each)]
    if kind == "token":
        implied = _token(value.implied, value.code)[1:2] + [f"{value.implied}|"] if value.implied else []
        return [*_token(value.system, value.code), *implied, *([f"{CODES[0]}"] if not value.code else [])]
    if kind == "string":
        return [escaped(value), *_parts(value)]
    if kind == "uri":
        return [value, f"{value}/c", *URIS]
    if modifier == "identifier":
        return _token(*value.identifier) if value.identifier else []
    if modifier == "text":
        return _parts(value.display)
    server, type, id, version = read.local(value.literal)
    if modifier:
        return [id] if type == modifier else ["r1"]
    if not type:
        return [escaped(value.literal), escaped(server)] if server else []
    return [escaped(value.literal), f"{type}/{id}", f"{BASE}/{type}/{id}", id, f"{type}/{id}/_history/1"]


def _token(system: str, code: str) -> list[str]:
    if not code:
        return []
    return [
        escaped(code),
        f"{escaped(system)}|{escaped(code)}",
        f"|{escaped(code)}",
        *([f"{system}|"] if system else []),
    ]


def _parts(text: str) -> list[str]:
    return [escaped(each) for each in (text[:2], text[:4].upper(), text[1:3], text[1:6], text[-2:], naive.folded(text))]


def every(type: str) -> Iterator[tuple[Pairs, str]]:
    """Each parameter of the type with each modifier and prefix, and each sort key in both directions."""
    chance = random.Random(type)
    for code, parameter in PARAMETERS[type].items():
        values = _values(type, code)
        if code not in ("_id", "_lastUpdated"):
            for each in ("true", "false"):
                yield [(f"{code}:missing", each)], ""
        for modifier in ("",) if code == "_id" else dict.fromkeys(_modifiers(parameter.kind, values)):
            texts = _asked(parameter, values, modifier)
            for given in chance.sample(texts, min(len(texts), 24 if parameter.kind in _COMPARED else 4)):
                yield [(f"{code}{modifier and ':'}{modifier}", given)], ""
        if parameter.kind not in _UNSORTED:
            yield [], code
            yield [], f"-{code}"


@st.composite
def question(draw: st.DrawFn, types: list[str]) -> tuple[str, str]:
    """One parameter that all of the types have."""
    known = common(types)
    code = draw(st.sampled_from(sorted(known)))
    parameter = known[code]
    kind = parameter.kind
    if code not in ("_id", "_lastUpdated") and draw(st.integers(0, 9)) == 0:
        return f"{code}:missing", draw(st.sampled_from(["true", "false"]))
    values = [each for type in types for each in _values(type, code)]
    modifier = "" if code == "_id" else draw(st.sampled_from(_modifiers(kind, values)))
    texts = _asked(parameter, values, modifier)
    given = draw(st.lists(st.sampled_from(texts or ["q"]), min_size=1, max_size=3))
    return f"{code}{modifier and ':'}{modifier}", ",".join(given)


def _asked(parameter: Parameter, values: Sequence[Any], modifier: str) -> list[str]:
    if parameter.parts:
        parts = [_texts(part, [v for each in values for v in each[n]]) for n, part in enumerate(parameter.parts)]
        chance = random.Random(len(values))
        return ["$".join(chance.choice(each) for each in parts) for _ in range(60)] if all(parts) else []
    if modifier == "ofType":
        return _of_types(values)
    return _texts(parameter.kind, values, "" if modifier == "not" else modifier)


def _modifiers(kind: str, values: Sequence[Any]) -> Sequence[str]:
    found = _MODIFIERS.get(kind, ("",))
    return (*found, "ofType") if kind == "token" and any(each.types for each in values) else found


def _of_types(values: Sequence[read.Token]) -> list[str]:
    typed = ((system, code, each.code) for each in values for system, code in each.types)
    return sorted({"|".join(escaped(part) for part in each) for each in typed})


@st.composite
def order(draw: st.DrawFn, types: list[str]) -> str:
    """The value of `_sort`, '' for none."""
    known = sorted(code for code, each in common(types).items() if each.kind not in _UNSORTED)
    codes = draw(st.lists(st.sampled_from(known), max_size=3, unique=True))
    return ",".join(draw(st.sampled_from(["", "-"])) + each for each in codes)


def types() -> st.SearchStrategy[list[str]]:
    """One type, or several that are searched together."""
    names = st.sampled_from(sorted(PARAMETERS))
    return st.one_of(names.map(lambda each: [each]), names.map(lambda each: [each]), _several())


def _several() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(PARAMETERS)), min_size=2, max_size=3, unique=True).map(sorted)
