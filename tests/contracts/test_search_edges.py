"""Distances, canonicals, leap seconds and numbers beyond all bounds, on SQLite, PostgreSQL and Elasticsearch."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tests.contracts.indexes import TENANTS, Indexed, found, page, pages, put, query, store, tenant
from tests.contracts.test_search_graph import with_included

__all__ = ["store", "tenant"]
HERE = (48.2, 16.4)
AROUND = ("near", "48.2|16.4|20000|km")


def location(id: str, place: tuple[float, float] | None = None, **content: Any) -> dict[str, Any]:
    position = {} if place is None else {"position": {"latitude": place[0], "longitude": place[1]}}
    return {"resourceType": "Location", "id": id, **position, **content}


def metres(place: tuple[float, float]) -> float:
    """From here, along the earth."""
    (a, b), (c, d) = ((math.radians(each) for each in one) for one in (HERE, place))
    half = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6_371_008.7714 * math.asin(math.sqrt(half))


def places(count: int) -> dict[str, tuple[float, float]]:
    """All over the globe, many of them close, in no order."""
    chance = random.Random(8)
    far = {f"f{each}": (chance.uniform(-89, 89), chance.uniform(-179, 179)) for each in range(count)}
    close = {f"c{each}": (48.2 + chance.uniform(-1, 1), 16.4 + chance.uniform(-1, 1)) for each in range(count)}
    return {"here": HERE, "pole": (90.0, 0.0), "beyond": (-48.0, -163.0), "date-line": (48.2, 180.0)} | far | close


def test_by_distance(store: Indexed, tenant: str) -> None:
    """The nearest come first, or the farthest, page by page."""
    known = places(20)
    put(store, tenant, *(location(id, place) for id, place in known.items()), location("nowhere"))

    for sort, count in (("near", 7), ("-near", 7), ("near", 100)):
        expected = sorted(known, key=lambda id: metres(known[id]), reverse=sort == "-near")
        found = [*pages(store, tenant, AROUND, ("_sort", sort), type="Location", count=count)]

        assert expected == [id for some in found for id in some]


def test_by_distance_and_name(store: Indexed, tenant: str) -> None:
    """At one place the next key decides, and the order in which they were made after that."""
    twins = [location(id, HERE, name=name) for id, name in (("b", "Beta"), ("a2", "Alpha"), ("a1", "Alpha"))]
    put(store, tenant, location("far", (10, 10), name="Aaa"), *twins)

    assert (["a2", "a1", "b", "far"], ["b", "a2", "a1", "far"], ["far", "a2", "a1", "b"]) == (
        found(store, tenant, AROUND, ("_sort", "near,name"), type="Location"),
        found(store, tenant, AROUND, ("_sort", "near"), type="Location"),
        found(store, tenant, AROUND, ("_sort", "name,near"), type="Location"),
    )


def test_a_page_goes_on_from_its_distance(store: Indexed, tenant: str) -> None:
    """What comes nearer between two pages is on neither, and nothing is there twice."""
    put(store, tenant, *(location(f"l{number}", (48.2 + number / 10, 16.4)) for number in range(6)))
    first = page(store, tenant, query(AROUND, ("_sort", "near"), type="Location", count=3))
    put(store, tenant, location("new", HERE))
    second = query(AROUND, ("_sort", "near"), ("_cursor", first.cursor or ""), type="Location", count=9)

    assert ["l3", "l4", "l5"] == [each.id for each in page(store, tenant, second).matches]


ACME = "http://acme.example"
CANONICALS = tuple(
    {
        "resourceType": "Questionnaire",
        "id": id,
        "status": "active",
        "url": url,
        **({"version": version} if version else {}),
    }
    for id, url, version in (
        ("plain", f"{ACME}/asked", ""),
        ("literal", f"{ACME}/Questionnaire/7", ""),
        ("urn", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", ""),
        ("v1", f"{ACME}/versions", "1"),
        ("v2", f"{ACME}/versions", "2"),
    )
)


NAMED = {
    f"{ACME}/asked": ["plain"],
    f"{ACME}/Questionnaire/7": ["literal"],
    "urn:uuid:c757873d-ec9a-4326-a141-556f43239520": ["urn"],
    f"{ACME}/versions": ["v1", "v2"],
    f"{ACME}/versions|2": ["v2"],
    f"{ACME}/asked|1": [],
    f"{ACME}/other": [],
}


@pytest.fixture(scope="module")
def answered(store: Indexed) -> str:
    """A tenant with the questionnaires, and a response for each canonical."""
    tenant = next(TENANTS)
    response = {"resourceType": "QuestionnaireResponse", "status": "completed"}
    responses = ({**response, "id": f"a{number}", "questionnaire": each} for number, each in enumerate(NAMED))
    put(store, tenant, *CANONICALS, *responses)
    return tenant


def test_canonicals(store: Indexed, answered: str) -> None:
    """A canonical brings what has it as its url, of the version that it names."""
    brought = {}
    for number, each in enumerate(NAMED):
        pairs = ("_include", "QuestionnaireResponse:questionnaire"), ("_id", f"a{number}")
        _, more = with_included(store, answered, query(*pairs, type="QuestionnaireResponse"))
        brought[each] = sorted(of.id for of in more.versions)

    assert NAMED == brought


@pytest.mark.parametrize("name", ["QuestionnaireResponse:questionnaire", "*"])
def test_what_names_a_canonical(store: Indexed, answered: str, name: str) -> None:
    """What has a url is brought what names that, with its version or without one."""
    brought: dict[str, list[str]] = {each: [] for each in NAMED}
    for each in CANONICALS:
        asked = query(("_revinclude", name), ("_id", str(each["id"])), type="Questionnaire")
        for response in with_included(store, answered, asked)[1].versions:
            brought[list(NAMED)[int(response.id[1:])]].append(str(each["id"]))

    assert NAMED == brought


def test_no_more_than_wanted(store: Indexed, tenant: str) -> None:
    """Of what comes with a page so much is read as is told, and that there is more."""
    put(store, tenant, *(location(f"w{number}", partOf={"reference": "Location/w0"}) for number in range(30)))
    _, more = with_included(store, tenant, query(("_revinclude", "*"), ("_id", "w0"), type="Location"), most=7)

    assert ([f"w{number}" for number in range(1, 8)], True) == ([each.id for each in more.versions], more.cut)


def test_leap_second(store: Indexed, tenant: str) -> None:
    """It belongs to the day that it ends."""
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "any"}}
    put(store, tenant, {**observation, "id": "leap", "effectiveDateTime": "2016-12-31T23:59:60Z"})

    assert (["leap"], ["leap"], [], ["leap"]) == (
        found(store, tenant, ("date", "2016-12-31")),
        found(store, tenant, ("date", "2016-12-31T23:59:60Z")),
        found(store, tenant, ("date", "2017")),
        found(store, tenant, ("date", "2017-01-01T00:59:60+01:00")),
    )


def test_numbers_beyond_all_bounds(store: Indexed, tenant: str) -> None:
    """FHIR writes decimals that no index keeps: they are more than every number, or less."""
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "any"}}
    for id, value in (("more", math.inf), ("less", -math.inf), ("one", 1.0)):  # as 1e400 is read
        put(store, tenant, {**observation, "id": id, "valueQuantity": {"value": value}})

    assert (["more"], ["less"], ["less", "one"], ["less", "one", "more"]) == (
        found(store, tenant, ("value-quantity", "gt1e308")),
        found(store, tenant, ("value-quantity", "lt-1e308")),
        found(store, tenant, ("value-quantity", "le1e300")),
        found(store, tenant, ("_sort", "value-quantity")),
    )
