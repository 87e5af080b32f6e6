"""The order of a searchset as a `sort` of Elasticsearch.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/sort-search-results.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_blob.search import SortKey
from fhir_blob.search.elasticsearch.mapping import field

# By value type the field that is sorted by, and its own type.
_SORTED = {
    "token": ("code", "keyword"),
    "string": ("value", "keyword"),
    "reference": ("sort", "keyword"),
    "uri": ("value", "keyword"),
    "date": ("low", "long"),
    "number": ("low", "double"),
    "quantity": ("low", "double"),
}


def sort(keys: Sequence[SortKey]) -> list[dict[str, Any]]:
    """Of several values the least when ascending, the greatest when descending; ties by rid."""
    found = [_sort_key(each) for each in keys]
    return [*found, {"rid": {"order": "desc" if keys and keys[-1].descending else "asc"}}]


def _sort_key(sort_key: SortKey) -> dict[str, Any]:
    order = {"order": "desc" if sort_key.descending else "asc"}
    code, kind = sort_key.parameter.code, sort_key.parameter.type
    if code in ("_id", "_lastUpdated"):
        return {"id" if code == "_id" else "last_updated": order}
    if sort_key.place is not None:
        at = {"lat": sort_key.place.latitude, "lon": sort_key.place.longitude}
        return {"_geo_distance": {field(kind, code): at, "unit": "m", "ignore_unmapped": True, **order}}
    name, of_type = _SORTED[kind]
    mode = {"mode": "max" if sort_key.descending else "min"}
    absent = {"missing": "_last", "unmapped_type": of_type}
    return {f"{field(kind, code)}.{name}": {**order, **mode, **absent}}
