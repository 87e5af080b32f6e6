"""A resource type as an Elasticsearch index: its mapping, and the document of a resource.

The fields of a search parameter are those of its value type, and hold what the rows of the SQL index
hold, so that a query means the same in both. `dynamic: strict`: a field that no parameter asks for is
refused. Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/mapping.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Document
from fhir_blob.search.contained import SIGN
from fhir_blob.search.extraction import components
from fhir_blob.search.near import degrees
from fhir_blob.search.terms import LONGEST_TEXT, key

# From the fields so far and a row, as the tables of the SQL index have it from `param` on.
_Writer = Callable[[dict[str, Any], Sequence[Any]], None]
# Between the parts of a key; it stands in no text that FHIR allows.
MARK = "\x1f"
# For an end that is open, where a document sorts by it.
_FAR = 1.7976931348623157e308
_MOST_FIELDS = 10_000

# The rows of contained resources, each a document of its own.
CONTAINED = "contained"
_KEYWORD = {"type": "keyword"}
_LONG = {"type": "long"}
_DOUBLE = {"type": "double"}
_TOKEN = {"code": _KEYWORD, "system": _KEYWORD, "pair": _KEYWORD}
_STRING = {"value": _KEYWORD, "exact": _KEYWORD, "more": _KEYWORD, "grams": {"type": "text", "analyzer": "grams"}}
_REFERENCE = {"key": _KEYWORD, "local": _KEYWORD, "sort": _KEYWORD}
_QUANTITY = {"span": {"type": "double_range"}, "system": _KEYWORD, "code": _KEYWORD, "unit": _KEYWORD}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "token": _TOKEN,
    "string": _STRING,
    "reference": _REFERENCE,
    "uri": {"value": _KEYWORD},
    "date": {"span": {"type": "long_range"}, "low": _LONG},
    "number": {"span": {"type": "double_range"}, "low": _DOUBLE},
    "quantity": {"each": {"type": "nested", "properties": _QUANTITY}, "low": _DOUBLE},
}
# Rows beside those of the parameter itself: see extraction.
_BESIDE = {
    "token": (("text", "string"), ("ofType", "token")),
    "reference": (("text", "string"), ("identifier", "token")),
    "quantity": (("ucum", "quantity"),),
}
_OWN = {
    "tenant": _KEYWORD,
    "type": _KEYWORD,
    "id": _KEYWORD,
    "rid": _LONG,
    "version": _LONG,
    "last_updated": _LONG,
    "present": _KEYWORD,
    "words": {"properties": {"_text": _KEYWORD, "_content": _KEYWORD}},
}


def settings(shards: int, replicas: int) -> dict[str, Any]:
    """The settings of an index. The indexer refreshes; a deletion is remembered for an hour, so that a
    write that it overtook brings nothing back."""
    grams = {"type": "ngram", "min_gram": 3, "max_gram": 3}
    return {
        "number_of_shards": shards,
        "number_of_replicas": replicas,
        "refresh_interval": "-1",
        "gc_deletes": "1h",
        "mapping.total_fields.limit": _MOST_FIELDS,
        "mapping.nested_fields.limit": 500,
        "analysis": {"tokenizer": {"grams": grams}, "analyzer": {"grams": {"tokenizer": "grams"}}},
    }


def mapping(type: str) -> dict[str, Any]:
    """The mapping of a resource type, from its search parameters."""
    fields: dict[str, Any] = {**_OWN, CONTAINED: {"type": "nested", "properties": _IN_CONTAINED}}
    for parameter in definitions().search_parameters(type).values():
        if parameter.type == "special":
            fields[field("special", parameter.code)] = {"type": "geo_point"}
        if parameter.code in ("_id", "_lastUpdated") or parameter.type not in (*_FIELDS, "composite"):
            continue
        if parameter.type == "composite":
            fields[field("composite", parameter.code)] = {"type": "nested", "properties": _parts(parameter)}
            continue
        fields[field(parameter.type, parameter.code)] = {"properties": _FIELDS[parameter.type]}
        for suffix, kind in _BESIDE.get(parameter.type, ()):
            fields[field(kind, f"{parameter.code}:{suffix}")] = {"properties": _FIELDS[kind]}
    return {"dynamic": "strict", "_source": {"enabled": False}, "properties": fields}


def field(kind: str, param: str) -> str:
    return f"{kind}_{param}"


def _parts(parameter: SearchParameter) -> dict[str, Any]:
    parts = components(parameter)
    found = {part(number): {"properties": _PART_FIELDS[each.type]} for number, each in enumerate(parts, 1)}
    return found | {f"{name}:ucum": each for name, each in found.items() if each["properties"] is _QUANTITY}


def part(number: int) -> str:
    """The field of a composite's component, counted from 1."""
    return f"part{number}"


_PART_FIELDS: Mapping[str, Mapping[str, Any]] = {**_FIELDS, "quantity": _QUANTITY}
# There are too many parameters of what may be contained for fields of their own.
_IN_CONTAINED = {"param": _KEYWORD, **{kind: {"properties": each} for kind, each in _PART_FIELDS.items()}}


def source(document: Document) -> dict[str, Any]:
    """What is indexed of a resource that is there."""
    found: dict[str, Any] = {
        "tenant": document.tenant,
        "type": document.type,
        "id": document.id,
        "rid": document.rid,
        "version": document.version,
        "last_updated": document.last_updated,
    }
    groups: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    present: dict[str, None] = {}
    for kind, rows in (document.entries or {}).items():
        if kind == "words":
            found["words"] = {param: [key(word) for word in words.split()] for param, words in rows}
            continue
        for row in rows:
            param = row[0]
            present[param] = None
            place = _place(kind, param)
            if place.part:
                parts = groups.setdefault((place.name, row[1]), {})
                place.write(parts.setdefault(place.part, {}), row)
            elif place.name:
                place.write(found.setdefault(place.name, {}), row)
            elif SIGN in param:
                fields: dict[str, Any] = {}
                place.write(fields, row)
                found.setdefault(CONTAINED, []).append({"param": param.removesuffix(":more"), kind: fields})
    for (name, _), parts in groups.items():
        found.setdefault(name, []).append(_position(parts) if "x" in parts else parts)
    found["present"] = list(present)
    return found


def _position(axes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    latitude, longitude = degrees((axes["x"]["low"][0], axes["y"]["low"][0], axes["z"]["low"][0]))
    return {"lat": latitude, "lon": longitude}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and how rows are written: the field, '' for nowhere, and the part of it if that is a composite's."""

    name: str
    write: _Writer
    part: str = ""


@lru_cache(8192)
def _place(kind: str, param: str) -> _Place:
    code, is_part, number = param.partition("$")
    if SIGN in param:
        return _Place("", _more if param.endswith(":more") else _PART_WRITERS[kind])
    if is_part:
        at, _, beside = number.partition(":")
        if beside not in ("", "ucum"):  # no query asks for the texts of a component
            return _Place("", _WRITERS[kind])
        name = part(int(at))
        return _Place(field("composite", code), _PART_WRITERS[kind], f"{name}:ucum" if beside else name)
    if kind == "number" and param[-2:] in (":x", ":y", ":z"):
        return _Place(field("special", param[:-2]), _number, param[-1])
    name = param.removesuffix(":more")
    return _Place(field(kind, name), _WRITERS[kind] if name == param else _more)


def reference_keys(type: str | None, id: str, url: str, version: str = "") -> str:
    """A reference as one key: with or without its type, with or without a version."""
    return f"{'?' if type is None else '=' + type}{MARK}{id}{MARK}{url}{MARK}{version}"


def _add(fields: dict[str, Any], name: str, value: Any) -> None:
    known = fields.get(name)
    if known is None:
        fields[name] = [value]
    else:
        known.append(value)


def _token(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, system, code = row
    if system:
        _add(fields, "system", system)
    if code:
        _add(fields, "code", code)
        _add(fields, "pair", f"{system}{MARK}{code}")


def _string(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, value, exact = row
    _add(fields, "grams", f"{MARK}{_ended(value)}")
    _add(fields, "value", value)
    _add(fields, "exact", key(exact))


def _more(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _add(fields, "grams", _ended(row[2]))
    _add(fields, "more", row[2])


def _ended(value: str) -> str:
    return f"{value}{MARK}" if len(value) < LONGEST_TEXT else value


def _reference(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, type, id, version, url = row
    if not id and not url:
        return
    for given in (version, "") if version else ("",):
        _add(fields, "key", reference_keys(None, id, url, given))
        _add(fields, "key", reference_keys(type, id, url, given))
    _add(fields, "sort", id or url)
    if id and not url:
        _add(fields, "local", f"{type}/{id}")


def _uri(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _add(fields, "value", row[2])


def _date(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, low, high = row
    _add(fields, "span", {"gte": low, "lte": max(low, high - 1)})
    _add(fields, "low", low)


def _span(low: float, high: float) -> dict[str, float]:
    """A closed span; an end that is infinite is left out."""
    ends = {"gte": min(low, _FAR), "lte": max(high, -_FAR)}
    return {name: end for name, end in ends.items() if math.isfinite(end)}


def _number(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, low, high = row
    _add(fields, "span", _span(low, high))
    _add(fields, "low", max(low, -_FAR))


def _quantity_part(fields: dict[str, Any], row: Sequence[Any]) -> None:
    _, _, system, code, unit, low, high = row
    _add(fields, "span", _span(low, high))
    for name, value in (("system", system), ("code", code), ("unit", unit)):
        _add(fields, name, value)


def _quantity(fields: dict[str, Any], row: Sequence[Any]) -> None:
    each: dict[str, Any] = {}
    _quantity_part(each, row)
    _add(fields, "each", each)
    _add(fields, "low", max(row[5], -_FAR))


_WRITERS: Mapping[str, _Writer] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "uri": _uri,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
}
_PART_WRITERS: Mapping[str, _Writer] = {**_WRITERS, "quantity": _quantity_part}
