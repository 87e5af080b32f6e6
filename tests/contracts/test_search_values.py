"""Every kind of value, modifier, prefix and sort means the same on every index, and what the specification says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_blob.fhir.definitions import activate
from fhir_blob.search import Query
from fhir_blob.search.grammar.parser import parse_query
from tests.contracts import filtering, parameters, questions, records
from tests.contracts.indexes import Contents, Indexed, delete, page, put, store
from tests.contracts.readings import BASE, Resource

__all__ = ["store"]
differential = settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def added() -> Iterator[None]:
    """Search parameters of this installation."""
    activate(parameters.ADDED)
    yield
    activate({})


@pytest.fixture(scope="module")
def archives(store: Indexed, added: None) -> Contents:
    """By tenant what is there, after updates and deletions; `meta.lastUpdated` as the server has it."""
    if store.external is not None:
        for type in parameters.ADDED:
            store.external.widen(type)
    return Contents({f"archive{seed}": _filled(store, f"archive{seed}", seed) for seed in questions.SEEDS})


def _filled(store: Indexed, tenant: str, seed: int) -> list[Resource]:
    final, former = records.records(seed), records.records(seed + 100)
    updated = [number % 4 == 0 for number in range(len(final))]
    gone = [{**each, "id": f"gone-{each['id']}"} for each in final[:20]]
    put(store, tenant, *(old if new else each for each, old, new in zip(final, former, updated, strict=True)), *gone)
    put(store, tenant, *(each for each, new in zip(final, updated, strict=True) if new))
    delete(store, tenant, *((each["resourceType"], each["id"]) for each in gone))
    return [_at(each, 2 if new else 1) for each, new in zip(final, updated, strict=True)]


def _at(resource: Resource, second: int) -> Resource:
    return {**resource, "meta": {**resource.get("meta", {}), "lastUpdated": f"1970-01-01T00:00:0{second}.000000Z"}}


def asked(types: list[str], pairs: questions.Pairs, cursor: str | None, count: int) -> Query:
    given = [*pairs, ("_cursor", cursor)] if cursor else pairs
    if len(types) > 1:
        given = [("_type", ",".join(types)), *given]
    type = types[0] if len(types) == 1 else None
    return parse_query(type, given, base=BASE, strict=True, default_count=count, max_count=count)


def found(store: Indexed, tenant: str, types: list[str], pairs: questions.Pairs, count: int) -> tuple[list[str], Any]:
    """'Type/id' of all matches, page by page, and the total of the last page."""
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = page(store, tenant, asked(types, pairs, cursor, count))
        names += [f"{each.type}/{each.id}" for each in answer.matches]
        cursor = answer.cursor
    return names, answer.total


@pytest.mark.parametrize("type", list(parameters.PARAMETERS))
def test_every_parameter(store: Indexed, archives: Contents, type: str) -> None:
    """Each parameter alone, with each modifier and prefix, and as a sort key in both directions."""
    different: list[Any] = []

    for number, (pairs, sort) in enumerate(questions.every(type)):
        tenant = list(archives.of)[number % len(archives.of)]
        expected = questions.search(archives.of[tenant], [type], pairs, sort)
        given = [*pairs, ("_sort", sort)] if sort else pairs
        names, _ = found(store, tenant, [type], given, 7 if sort else 20)
        if names != expected:
            different.append((tenant, given, expected, names))

    assert [] == different[:3]


@differential
@given(data=st.data())
def test_values(store: Indexed, archives: Contents, data: st.DataObject) -> None:
    """Up to three parameters and three sort keys, of one type or of several, page by page, with the total."""
    tenant = data.draw(st.sampled_from(list(archives.of)))
    types = data.draw(questions.types())
    pairs = data.draw(st.lists(questions.question(types), max_size=3))
    sort = data.draw(questions.order(types))
    given = [*pairs, ("_sort", sort)] if sort else pairs
    total = data.draw(st.sampled_from(["accurate", "accurate", "none"]))

    expected = questions.search(archives.of[tenant], types, pairs, sort)
    count = data.draw(st.integers(max(2, len(expected) // 4), 20))
    answer = found(store, tenant, types, [*given, ("_total", total)], count)

    assert (given, expected, len(expected) if total == "accurate" else None) == (given, *answer)


@differential
@given(data=st.data())
def test_filters_of_values(store: Indexed, archives: Contents, data: st.DataObject) -> None:
    """Every operator on every kind of value, with and, or and not between them, page by page, with the total."""
    tenant = data.draw(st.sampled_from(list(archives.of)))
    type = data.draw(st.sampled_from(sorted(parameters.PARAMETERS)))
    node = data.draw(filtering.tree(filtering.of_records(type, archives.of[tenant]), 1))
    text = filtering.written(node, random.Random(str(node)))

    expected = filtering.in_records(archives.of[tenant], type, node)
    answer = found(store, tenant, [type], [("_filter", text)], max(2, len(expected) // 3))

    assert (text, expected, len(expected)) == (text, *answer)
