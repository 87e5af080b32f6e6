"""Dates, numbers and quantities as queries of Elasticsearch, on its fields of ranges.

Prefixes mean what the tables of sql/conditions.py mean in SQL.
Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/query-dsl-range-query.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhir_blob.search import Range
from fhir_blob.search.elasticsearch.queries import Dsl, all_of, any_of, negated


def at_date(value: Range, name: str) -> Dsl:
    return _compared(_DATES, value, f"{name}.span")


def at_moment(value: Range) -> Dsl:
    if value.prefix == "ne":
        return negated({"range": {"last_updated": _MOMENTS["eq"](value)}})
    return {"range": {"last_updated": _MOMENTS[value.prefix](value)}}


def at_number(value: Range, name: str) -> Dsl:
    found = [_compared(_NUMBERS, value, f"{name}.span")]
    if value.system is not None:
        found.append({"term": {f"{name}.system": value.system}})
    if value.code is not None:
        names = ("code",) if value.system or value.in_base else ("code", "unit")
        found.append(any_of([{"term": {f"{name}.{each}": value.code}} for each in names]))
    return all_of(found)


# By prefix, what the span of a row has to do with ends of the search's span; any of them. The ends of
# dates are half-open, a row's number is closed. (relation, bound, end of the search, what is added)
_DATES: Mapping[str, tuple[tuple[str, dict[str, tuple[str, int]]], ...]] = {
    "eq": (("within", {"gte": ("low", 0), "lte": ("high", -1)}),),
    "ne": (("intersects", {"lte": ("low", -1)}), ("intersects", {"gte": ("high", 0)})),
    "gt": (("intersects", {"gte": ("high", 0)}),),
    "lt": (("intersects", {"lte": ("low", -1)}),),
    "ge": (("intersects", {"gte": ("high", 0)}), ("within", {"gte": ("low", 0)})),
    "le": (("intersects", {"lte": ("low", -1)}), ("within", {"lte": ("high", -1)})),
    "sa": (("within", {"gte": ("high", 0)}),),
    "eb": (("within", {"lte": ("low", -1)}),),
    "ap": (("intersects", {"gte": ("low", 0), "lte": ("high", -1)}),),
    "po": (("intersects", {"gte": ("low", 0), "lte": ("high", -1)}),),
    "co": (("contains", {"gte": ("low", 0), "lte": ("high", -1)}),),
}
_NUMBERS: Mapping[str, tuple[tuple[str, dict[str, tuple[str, int]]], ...]] = {
    "eq": (("within", {"gte": ("low", 0), "lt": ("high", 0)}),),
    "ne": (("intersects", {"lt": ("low", 0)}), ("intersects", {"gte": ("high", 0)})),
    "gt": (("intersects", {"gt": ("value", 0)}),),
    "lt": (("intersects", {"lt": ("value", 0)}),),
    "ge": (("intersects", {"gte": ("value", 0)}),),
    "le": (("intersects", {"lte": ("value", 0)}),),
    "sa": (("within", {"gte": ("high", 0)}),),
    "eb": (("within", {"lt": ("low", 0)}),),
    "ap": (("intersects", {"gte": ("low", 0), "lte": ("high", 0)}),),
}
_MOMENTS: Mapping[str, Callable[[Range], dict[str, float]]] = {
    "eq": lambda value: {"gte": value.low, "lt": value.high},
    "gt": lambda value: {"gte": value.high},
    "lt": lambda value: {"lt": value.low},
    "ge": lambda value: {"gte": value.low},
    "le": lambda value: {"lt": value.high},
    "sa": lambda value: {"gte": value.high},
    "eb": lambda value: {"lt": value.low},
    "ap": lambda value: {"gte": value.low, "lt": value.high},
    "po": lambda value: {"gte": value.low, "lt": value.high},
    "co": lambda value: {"gte": value.high - 1, "lte": value.low},
}


def _compared(table: Mapping[str, Any], value: Range, name: str) -> Dsl:
    ways = [{"range": {name: {"relation": relation, **_ends(value, ends)}}} for relation, ends in table[value.prefix]]
    return any_of(ways)


def _ends(value: Range, ends: Mapping[str, tuple[str, int]]) -> dict[str, float]:
    return {bound: getattr(value, end) + more for bound, (end, more) in ends.items()}
