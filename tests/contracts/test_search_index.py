"""What every SearchIndex does: on SQLite, on PostgreSQL and on Elasticsearch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_blob.errors import BadParameter
from tests.contracts import naive
from tests.contracts.indexes import TENANTS, Indexed, delete, found, page, pages, put, query, store, tenant
from tests.contracts.observations import criteria, sorts, stores

__all__ = ["store", "tenant"]


def observation(id: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "any"}, **content}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    contents=stores,
    searches=st.lists(st.tuples(st.lists(criteria, max_size=3), sorts), min_size=1, max_size=6),
    count=st.integers(1, 5),
)
def test_as_specified(store: Indexed, contents: list[Any], searches: list[Any], count: int) -> None:
    """A search gives what the specification's words give, in the same order, page by page, with its total."""
    tenant = next(TENANTS)
    resources = [observation(f"o{number}", **content) for number, content in enumerate(contents)]
    put(store, tenant, *resources)

    for pairs, sort in searches:
        expected = naive.search(resources, pairs, sort)
        given = [*pairs, ("_sort", sort)] if sort else pairs
        ids = [id for some in pages(store, tenant, *given, count=count) for id in some]
        total = page(store, tenant, query(*given, ("_count", "0"))).total

        assert (given, expected, len(expected)) == (given, ids, total)


@pytest.mark.parametrize("sort", ["", "date", "-date", "_lastUpdated", "-_lastUpdated", "-value-string,_id"])
def test_writes_between_pages(store: Indexed, tenant: str, sort: str) -> None:
    """While others are written and deleted, nothing appears twice and nothing that stays is skipped."""
    there = [observation(f"a{number}", effectiveDateTime=f"20{10 + number % 7}") for number in range(20)]
    put(store, tenant, *there)
    given = [("_sort", sort)] if sort else []
    seen: list[str] = []

    for number, ids in enumerate(pages(store, tenant, *given, count=3)):
        seen += ids
        if number < 10:
            put(store, tenant, observation(f"b{number}", effectiveDateTime=f"20{10 + number}", valueString="m"))
        if number == 1:
            delete(store, tenant, ("Observation", seen[0]))

    assert len(seen) == len(set(seen))
    assert {each["id"] for each in there} <= set(seen)


def test_updated_and_deleted(store: Indexed, tenant: str) -> None:
    """What a resource was before is not found any more, nor what is deleted."""
    put(store, tenant, observation("u", valueString="before"), observation("d", valueString="before"))
    put(store, tenant, observation("u", valueString="after"))
    delete(store, tenant, ("Observation", "d"))

    assert ([], ["u"], ["u"], ["u"]) == (
        found(store, tenant, ("value-string", "before")),
        found(store, tenant, ("value-string", "after")),
        found(store, tenant),
        found(store, tenant, ("status:not", "amended")),
    )


def test_tenants(store: Indexed, tenant: str) -> None:
    """Nobody finds what is another's."""
    put(store, tenant, observation("mine", valueString="x"))

    assert [] == found(store, next(TENANTS), ("value-string", "x"))


def test_types(store: Indexed, tenant: str) -> None:
    """A search is of one type, or of all by the parameters that all have."""
    meta = {"tag": [{"system": "http://t", "code": "blue"}]}
    put(store, tenant, observation("o", meta=meta), {"resourceType": "Basic", "id": "b", "meta": meta})

    assert (["o"], ["o", "b"]) == (
        found(store, tenant, ("_tag", "http://t|blue")),
        found(store, tenant, ("_tag", "blue"), type=None),
    )


def test_systems_of_codes(store: Indexed, tenant: str) -> None:
    """Of several types those are found whose codes are of the system; without a system all are."""
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": {"text": "any"}}
    put(store, tenant, observation("o"), report)
    both, system = ("_type", "Observation,DiagnosticReport"), "http://hl7.org/fhir/observation-status"

    assert (["o"], ["r"], ["o"], ["o", "r"], ["o", "r"], []) == (
        found(store, tenant, both, ("status", f"{system}|final"), type=None),
        found(store, tenant, both, ("status:not", f"{system}|final"), type=None),
        found(store, tenant, both, ("status", f"{system}|"), type=None),
        found(store, tenant, both, ("status", "|final"), type=None),
        found(store, tenant, both, ("status", "final"), type=None),
        found(store, tenant, both, ("status", "http://hl7.org/fhir/event-status|final"), type=None),
    )


def test_last_updated(store: Indexed, tenant: str) -> None:
    """The time of the last version is searched by prefix and precision."""
    put(store, tenant, observation("once"), observation("twice"))
    put(store, tenant, observation("twice"))

    assert (["once"], ["twice"], ["once", "twice"], ["once"]) == (
        found(store, tenant, ("_lastUpdated", "1970-01-01T00:00:01Z")),
        found(store, tenant, ("_lastUpdated", "gt1970-01-01T00:00:01Z")),
        found(store, tenant, ("_lastUpdated", "1970")),
        found(store, tenant, ("_lastUpdated", "lt1970-01-01T00:00:02Z")),
    )


def test_identifier_of_type_and_of_reference(store: Indexed, tenant: str) -> None:
    """An identifier is found by its type and value, a Reference by the identifier in it."""
    identifier = {"value": "446", "type": {"coding": [{"system": "http://v2", "code": "MR"}]}}
    put(store, tenant, observation("i", identifier=[identifier], subject={"identifier": {"value": "s7"}}))

    assert (["i"], [], ["i"], []) == (
        found(store, tenant, ("identifier:ofType", "http://v2|MR|446")),
        found(store, tenant, ("identifier:ofType", "http://v2|MR|447")),
        found(store, tenant, ("subject:identifier", "s7")),
        found(store, tenant, ("subject:missing", "true")),
    )


def test_versioned_references(store: Indexed, tenant: str) -> None:
    """A reference is found with and without the version that it names."""
    put(store, tenant, observation("v", subject={"reference": "Patient/1/_history/3"}))

    assert (["v"], ["v"], []) == (
        found(store, tenant, ("subject", "Patient/1")),
        found(store, tenant, ("subject", "Patient/1/_history/3")),
        found(store, tenant, ("subject", "Patient/1/_history/4")),
    )


def test_long_text(store: Indexed, tenant: str) -> None:
    """A text of any length is stored, and found by its beginning, by what it contains and as a whole."""
    text = " ".join(f"w{number}" for number in range(30_000))
    put(store, tenant, observation("long", valueString=text))

    assert (["long"], ["long"], ["long"], []) == (
        found(store, tenant, ("value-string", text[:2000])),
        found(store, tenant, ("value-string:contains", "w29998 w29999")),
        found(store, tenant, ("value-string:exact", text)),
        found(store, tenant, ("value-string:exact", text + "!")),
    )


def test_many_values(store: Indexed, tenant: str) -> None:
    """A thousand values are one search."""
    put(store, tenant, observation("m", subject={"reference": "Patient/7"}, valueString="q7"))
    references = ",".join(f"Patient/{number}" for number in range(1000))
    texts = ",".join(f"q{number}" for number in range(1000))
    dates = ",".join(["ne2013"] * 1000)

    assert (["m"], ["m"], []) == (
        found(store, tenant, ("subject", references)),
        found(store, tenant, ("value-string", texts)),
        found(store, tenant, ("date", dates)),
    )


def test_totals(store: Indexed, tenant: str) -> None:
    """The total counts all matches on every page, and is left out where it is not wanted."""
    put(store, tenant, *(observation(f"t{number}") for number in range(5)))
    first = page(store, tenant, query(count=2))
    second = page(store, tenant, query(("_cursor", first.cursor or ""), count=2))

    assert (5, 5, None, 5, ()) == (
        first.total,
        second.total,
        page(store, tenant, query(("_total", "none"))).total,
        page(store, tenant, query(("_count", "0"))).total,
        page(store, tenant, query(("_count", "0"))).matches,
    )


def test_cursors_are_of_their_query(store: Indexed, tenant: str) -> None:
    """A cursor that was changed, or comes from another search or tenant, is refused."""
    put(store, tenant, *(observation(f"c{number}") for number in range(5)))
    cursor = page(store, tenant, query(("status", "final"), count=2)).cursor or ""
    strange = [
        (tenant, query(("status", "amended"), ("_cursor", cursor))),
        (tenant, query(("status", "final"), ("_sort", "date"), ("_cursor", cursor))),
        (tenant, query(("status", "final"), ("_cursor", cursor[:-2] + "AA"))),
        (tenant, query(("status", "final"), ("_cursor", "ü"))),
        (next(TENANTS), query(("status", "final"), ("_cursor", cursor))),
    ]

    for of_tenant, each in strange:
        with pytest.raises(BadParameter, match="_cursor"):
            page(store, of_tenant, each)


def test_cursors_are_of_whoever_asked(store: Indexed, tenant: str) -> None:
    """A cursor that was handed to one principal is refused when another sends it."""
    put(store, tenant, *(observation(f"p{number}") for number in range(3)))
    first = page(store, tenant, replace(query(("status", "final"), count=2), principal="ada"))
    following = query(("status", "final"), ("_cursor", str(first.cursor)), count=2)

    with pytest.raises(BadParameter):
        page(store, tenant, replace(following, principal="bob"))
    assert ["p2"] == [each.id for each in page(store, tenant, replace(following, principal="ada")).matches]


def test_match_is_the_stored_version(store: Indexed, tenant: str) -> None:
    """A match comes with its body as it was stored."""
    resource = observation("body", valueString="as it is")
    put(store, tenant, resource)
    version = page(store, tenant, query()).matches[0]

    assert ("Observation", "body", 1, resource) == (
        version.type,
        version.id,
        version.version,
        orjson.loads(version.body),
    )


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("5.4", ["5.35", "5.4"]),
        ("ne5.4", ["5.34", "5.45", "100"]),
        ("gt5.4", ["5.45", "100"]),
        ("ge5.4", ["5.4", "5.45", "100"]),
        ("lt5.4", ["5.34", "5.35"]),
        ("le5.4", ["5.34", "5.35", "5.4"]),
        ("sa5.4", ["5.45", "100"]),
        ("eb5.4", ["5.34"]),
        ("ap5", ["5.34", "5.35", "5.4", "5.45"]),
        ("1e2", ["100"]),
    ],
)
def test_precision_of_numbers(store: Indexed, tenant: str, text: str, ids: list[str]) -> None:
    """5.4 is what rounds to it, and more or less than 5.4 is measured from it exactly."""
    numbers = ("5.34", "5.35", "5.4", "5.45", "100")
    put(store, tenant, *(observation(each, valueQuantity={"value": float(each)}) for each in numbers))

    assert ids == found(store, tenant, ("value-quantity", text))


def test_composites_are_of_one_element(store: Indexed, tenant: str) -> None:
    """Code and quantity of a composite belong to the same component."""
    parts = [
        {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}}
        for code, value in (("systolic", 120), ("diastolic", 80))
    ]
    put(store, tenant, observation("bp", component=parts))

    assert (["bp"], []) == (
        found(store, tenant, ("component-code-value-quantity", "systolic$gt100")),
        found(store, tenant, ("component-code-value-quantity", "diastolic$gt100")),
    )


class Recording:
    """A Reader that keeps its statements."""

    def __init__(self, reader: Any) -> None:
        self.tenant, self.is_postgresql, self._reader = reader.tenant, reader.is_postgresql, reader
        self.statements: list[tuple[str, Any]] = []

    def rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        self.statements.append((sql, parameters))
        found: list[tuple[Any, ...]] = self._reader.rows(sql, parameters)
        return found


def test_sqlite_seeks(store: Indexed, tenant: str) -> None:
    """A search by patient, category and date is one statement that looks up rows by index and reads no whole table."""
    asked = query(("patient", "1"), ("category", "a"), ("date", "ge2013"), ("_sort", "-date"), type="DocumentReference")
    if store.external is not None:
        pytest.skip("Elasticsearch finds by indexes alone")
    with store.store.read(tenant) as reader:
        recording = Recording(reader)
        store.index.search(recording, asked)  # type: ignore[arg-type]
        statement, parameters = recording.statements[0]
        steps = [] if reader.is_postgresql else reader.rows(f"EXPLAIN QUERY PLAN {statement}", parameters)

    assert (1, []) == (
        len(recording.statements),
        [step[3] for step in steps if step[3].startswith("SCAN") and step[3] not in ("SCAN p", "SCAN m")],
    )
