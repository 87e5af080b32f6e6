"""Pieces of an Elasticsearch query, and how they are put together.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/query-dsl-bool-query.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Dsl = dict[str, Any]


def any_of(queries: Sequence[Dsl]) -> Dsl:
    return queries[0] if len(queries) == 1 else {"bool": {"should": list(queries), "minimum_should_match": 1}}


def all_of(queries: Sequence[Dsl]) -> Dsl:
    return queries[0] if len(queries) == 1 else {"bool": {"filter": list(queries)}}


def negated(query: Dsl) -> Dsl:
    return {"bool": {"must_not": [query]}}
