"""What is looked up behind a chain or _has becomes queries that Elasticsearch takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fhir_blob.search import Clause
from fhir_blob.search.elasticsearch.dsl import MOST_TERMS, compiled
from fhir_blob.search.grammar.parser import parse_query


class Found:
    """A resolver that finds so many."""

    def __init__(self, count: int) -> None:
        self._count = count

    def meeting(self, type: str, clause: Clause) -> Sequence[str]:
        return [f"{type}/{number}" for number in range(self._count)]

    def referred(self, source: str, param: str, clause: Clause) -> Sequence[str]:
        return [f"Patient/{number}" for number in range(self._count)]


def terms(query: Any) -> list[int]:
    """How many each of the `terms` in the query has."""
    if isinstance(query, list):
        return [each for inner in query for each in terms(inner)]
    if not isinstance(query, dict):
        return []
    here = [len(values) for values in query["terms"].values()] if "terms" in query else []
    return [*here, *(each for name, inner in query.items() if name != "terms" for each in terms(inner))]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (3, [3]), (MOST_TERMS, [MOST_TERMS]), (MOST_TERMS + 1, [MOST_TERMS, 1])]
)
@pytest.mark.parametrize(
    ("type", "name"), [("DocumentReference", "patient.family"), ("Patient", "_has:Observation:patient:status")]
)
def test_many(type: str, name: str, count: int, sizes: list[int]) -> None:
    """No query has more terms than an index takes; nothing found is nothing that matches."""
    query = parse_query(type, [(name, "x")], base="", strict=True, default_count=1, max_count=1)
    made = compiled(query.criteria[0], Found(count))

    assert sizes == terms(made)
    assert (count == 0) == ("'match_none'" in repr(made))
