"""The parameter `_filter` as a client sees it: https://hl7.org/fhir/R4/search_filter.html"""

from __future__ import annotations

import pytest

from tests.client import Client, diagnostics
from tests.services.server import Server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    """Three patients, and an observation of each."""
    client = Client(server.base)
    people = [("f-ada", "Lovelace", "Ada", "1815-12-10"), ("f-bob", "Carpet", "Robert", "1990-02-03")]
    for id, family, given, born in [*people, ("f-cyd", "Stone", "Peter", "2014-10-10")]:
        client.update({"resourceType": "Patient", "id": id, "name": [{"family": family, "given": [given]}],
                       "birthDate": born, "meta": {"tag": [{"code": "f-ward"}]}})  # fmt: skip
        client.update({"resourceType": "Observation", "id": f"{id}-o", "status": "final",
                       "subject": {"reference": f"Patient/{id}"}, "meta": {"tag": [{"code": "f-ward"}]},
                       "code": {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]}})  # fmt: skip
    return client


def found(fhir: Client, path: str, text: str, **more: str) -> list[str]:
    answer = fhir("GET", path, params={"_filter": text, "_tag": "f-ward", **more})
    assert 200 == answer.status_code, answer.text
    return [each["resource"]["id"] for each in answer.json().get("entry", [])]


@pytest.mark.parametrize(
    ("type", "text", "expected"),
    [
        ("Patient", 'name co "pet"', ["f-bob", "f-cyd"]),
        ("Patient", 'given eq "peter" and birthdate ge 2014-10-10', ["f-cyd"]),
        ("Observation", "code eq http://loinc.org|1234-5", ["f-ada-o", "f-bob-o", "f-cyd-o"]),
        ("Observation", "code eq loinc|1234-5 and not (subject re Patient/f-ada)", ["f-bob-o", "f-cyd-o"]),
        ("Observation", 'subject.name co "pet"', ["f-bob-o", "f-cyd-o"]),
        ("Observation", 'subject[birthdate lt 2000].name co "pet"', ["f-bob-o"]),
        ("Patient", "family sw lov or birthdate gt 2000 and given ew r", ["f-cyd"]),
        ("Patient", "family sw lov or (birthdate gt 2000 and given ew r)", ["f-ada", "f-cyd"]),
        ("Patient/f-ada/Observation", "code pr true", ["f-ada-o"]),
        ("", "_id eq f-ada or _id eq f-bob-o", ["f-ada", "f-bob-o"]),
    ],
)
def test_examples(fhir: Client, type: str, text: str, expected: list[str]) -> None:
    """The specification's own, and what they become with not, brackets and parentheses."""
    assert expected == found(fhir, type, text)


@pytest.mark.parametrize(
    ("type", "text", "reason"),
    [
        ("Observation", 'related[type eq "has-component"].target pr true', "'related' is no search parameter"),
        ("Observation", "code ss http://loinc.org|1234-5", "terminology server"),
        ("Observation", "code in http://hl7.org/fhir/ValueSet/x", "terminology server"),
        ("Patient", "colour eq red or name eq x", "'colour' is no search parameter of Patient"),
        ("Patient", 'name co "pet', "a value"),
        ("Patient", "name co x)", "'and' or 'or' is expected at ')'"),
    ],
)
def test_refused(fhir: Client, type: str, text: str, reason: str) -> None:
    """400 that quotes the filter and says why, leniently asked or not: a filter is never taken in part."""
    answer = fhir("GET", type, params={"_filter": text})
    (told,) = diagnostics(answer)

    assert 400 == answer.status_code
    assert f"_filter={text!r}" in told
    assert reason in told


def test_pages(fhir: Client) -> None:
    """The filter stands in the links, each page goes on from the one before, and the total is of all."""
    asked = {"_filter": 'name co "e" and not (_id eq f-nobody)', "_tag": "f-ward", "_count": "2"}
    first = fhir("GET", "Patient", params=asked).json()
    links = {each["relation"]: each["url"] for each in first["link"]}
    second = fhir.session.get(links["next"], timeout=60).json()

    assert "_filter=name+co+%22e%22+and+not" in links["self"]
    assert ([3, 3], ["f-ada", "f-bob", "f-cyd"]) == (
        [first["total"], second["total"]],
        [each["resource"]["id"] for page in (first, second) for each in page["entry"]],
    )


def test_posted(fhir: Client) -> None:
    """In a form, too; blanks may be written as plus signs."""
    answer = fhir("POST", "Patient/_search", data="_filter=name+co+%22pet%22&_tag=f-ward", headers=FORM)

    assert 2 == answer.json()["total"]


def test_criterion(fhir: Client) -> None:
    """A conditional interaction takes it: what is there already is not made again, and is deleted by it."""
    person = {"resourceType": "Patient", "name": [{"family": "Filtered"}]}
    criterion = 'family eq "filtered" and not (given pr true)'
    statuses = [
        fhir("POST", "Patient", json=person, headers={"If-None-Exist": f"_filter={criterion}"}).status_code
        for _ in range(2)
    ]
    gone = fhir("DELETE", "Patient", params={"_filter": criterion})
    left = fhir("GET", "Patient", params={"_filter": criterion}).json()["total"]

    assert ([201, 200], 204, 0) == (statuses, gone.status_code, left)
