"""References mean on every index what the specification says: chains, _has, lists, compartments, includes."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import definitions
from fhir_blob.search import Compartment, Query
from fhir_blob.search.elasticsearch import index as elasticsearch
from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.search.sql.includes import Included, included
from tests.contracts import filtering, graph
from tests.contracts.indexes import Contents, Indexed, delete, page, put, store
from tests.contracts.observations import BASE

__all__ = ["store"]
SEEDS = (1, 2, 3)
differential = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def wards(store: Indexed) -> Contents:
    """Three wards, each of a tenant of its own, after updates and deletions."""
    return Contents({f"ward{seed}": _filled(store, f"ward{seed}", seed) for seed in SEEDS})


def _filled(store: Indexed, tenant: str, seed: int) -> list[graph.Resource]:
    final, former = graph.ward(seed), graph.ward(seed + 50)
    put(store, tenant, *(former[at] if at % 5 == 0 else each for at, each in enumerate(final)))
    put(store, tenant, *final[::5])
    gone = final[3::10]
    delete(store, tenant, *((each["resourceType"], each["id"]) for each in gone))
    return [each for each in final if each not in gone]


def asked(types: list[str], pairs: graph.Pairs, patient: str, cursor: str | None, count: int) -> Query:
    within = []
    if patient:
        type, _, id = patient.partition("/")
        within = [Compartment(type, id, definitions().compartment("Patient"))]
    given = [*pairs, ("_cursor", cursor)] if cursor else pairs
    if len(types) > 1:
        given = [("_type", ",".join(types)), *given]
    return parse_query(
        types[0] if len(types) == 1 else None,
        given, base=BASE, strict=True, default_count=count, max_count=count, within=within,
    )  # fmt: skip


def found(store: Indexed, tenant: str, types: list[str], pairs: graph.Pairs, patient: str, count: int) -> list[str]:
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = page(store, tenant, asked(types, pairs, patient, cursor, count))
        names += [f"{each.type}/{each.id}" for each in answer.matches]
        cursor = answer.cursor
    return names


@differential
@given(data=st.data())
def test_references_are_followed(store: Indexed, wards: Contents, data: st.DataObject) -> None:
    """Of one type, with up to three criteria, in a patient's compartment or everywhere."""
    tenant = data.draw(st.sampled_from(list(wards.of)))
    type = data.draw(st.sampled_from(graph.TYPES))
    pairs = data.draw(st.lists(graph.criterion(type), min_size=1, max_size=3))
    patient = data.draw(st.sampled_from(["", "Patient/n0", "Patient/n1"])) if type in graph.COMPARTMENT else ""

    count = data.draw(st.integers(2, 9))
    expected = graph.search(wards.of[tenant], [type], pairs, patient)

    assert (pairs, expected) == (pairs, found(store, tenant, [type], pairs, patient, count))


@differential
@given(data=st.data())
def test_filters_of_references(store: Indexed, wards: Contents, data: st.DataObject) -> None:
    """And, or and not of what is there, of what it refers to and of what refers to it, to any depth."""
    tenant = data.draw(st.sampled_from(list(wards.of)))
    type = data.draw(st.sampled_from(graph.TYPES))
    node = data.draw(filtering.tree(filtering.of_ward(type)))
    text = filtering.written(node, random.Random(str(node)))

    expected = filtering.in_ward(wards.of[tenant], type, node)

    assert (text, expected) == (text, found(store, tenant, [type], [("_filter", text)], "", 5))


def with_included(store: Indexed, tenant: str, query: Query, most: int = 1000) -> tuple[list[str], Included]:
    """The matches of a page, and what comes with them."""
    answer = page(store, tenant, query)
    with store.store.read(tenant) as reader:
        more = included(reader, query.includes, answer.matches, most=most)
    return [f"{each.type}/{each.id}" for each in answer.matches], more


@differential
@given(data=st.data())
def test_what_comes_with_a_page(store: Indexed, wards: Contents, data: st.DataObject) -> None:
    """Each once and no match among it, by up to three includes, and cut where it is too much."""
    tenant = data.draw(st.sampled_from(list(wards.of)))
    type = data.draw(st.sampled_from(graph.TYPES))
    pairs = data.draw(st.lists(graph.criterion(type, links=0), max_size=1))
    includes = data.draw(st.lists(graph.include(type), min_size=1, max_size=3))

    query = asked([type], [*pairs, *includes], "", None, data.draw(st.integers(1, 8)))
    matches, more = with_included(store, tenant, query)
    names = [f"{each.type}/{each.id}" for each in more.versions]
    expected = graph.included(wards.of[tenant], matches, includes)
    _, cut = with_included(store, tenant, query, most=max(0, len(expected) - 1))

    assert (includes, matches, sorted(expected), False) == (includes, matches, sorted(names), more.cut)
    assert (bool(expected), max(0, len(expected) - 1)) == (cut.cut, len(cut.versions))


@pytest.mark.parametrize(
    ("types", "searches"),
    [
        (["Patient", "Observation"], [[], [("_id", "n1,n0,n3")], [("_list", "n0,n1")], [("_text", "liver")]]),
        (["DocumentReference", "List", "Organization"], [[], [("_content", "x")], [("_id", "n1,n0,n3")]]),
        (["DocumentReference", "Observation"], [[("subject.family", "sm")], [("subject:Patient.gender:not", "male")]]),
        (["DocumentReference", "Observation"], [[("subject", "n1")], [("subject.organization.name", "north")]]),
        (["Group", "Patient"], [[("_has:Observation:subject:code", "a")], [("_has:List:item:status", "current")]]),
    ],
)
def test_of_several_types(store: Indexed, wards: Contents, types: list[str], searches: list[graph.Pairs]) -> None:
    """A search of several types finds them in the order in which they were made, page by page."""
    for tenant, resources in wards.of.items():
        for pairs in searches:
            expected = graph.search(resources, types, pairs)

            assert (pairs, expected) == (pairs, found(store, tenant, types, pairs, "", 3))


def test_too_much_behind_a_chain(store: Indexed, wards: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elasticsearch, which joins nothing, looks up so many and refuses more; the database takes any number."""
    monkeypatch.setattr(elasticsearch, "MOST_JOINED", 3)
    pairs = [("subject:Patient.gender", "male,female")]
    tenant, resources = next(iter(wards.of.items()))

    if store.external is not None:
        with pytest.raises(BadParameter, match="More than 3 resources of type Patient"):
            found(store, tenant, ["Observation"], pairs, "", 9)
    else:
        expected = graph.search(resources, ["Observation"], pairs)
        assert expected == found(store, tenant, ["Observation"], pairs, "", 9)


def test_a_whole_compartment(store: Indexed, wards: Contents) -> None:
    """Everything of a patient is found at once, whatever its type, and the patient with it."""
    for tenant, resources in wards.of.items():
        for types in (["DocumentReference", "Observation", "Patient"], ["DocumentReference", "List"]):
            expected = graph.search(resources, types, [], "Patient/n0")

            assert expected == found(store, tenant, types, [], "Patient/n0", 2)
