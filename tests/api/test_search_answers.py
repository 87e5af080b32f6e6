"""How a search is answered: what a form says, what was understood, and what of each resource is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client, diagnostics
from tests.services.server import Server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    """A patient of a practice, and two observations."""
    client = Client(server.base)
    client.update({"resourceType": "Organization", "id": "sa-org", "name": "Practice", "active": True})
    client.update(
        {
            "resourceType": "Patient",
            "id": "sa-pat",
            "name": [{"family": "Answer"}],
            "gender": "female",
            "birthDate": "1970-05-02",
            "managingOrganization": {"reference": "Organization/sa-org"},
        }
    )
    for id in ("sa-1", "sa-2"):
        client.update(
            {
                "resourceType": "Observation",
                "id": id,
                "status": "final",
                "code": {"text": "any"},
                "subject": {"reference": "Patient/sa-pat"},
            }
        )
    return client


def posted(fhir: Client, path: str, form: str, **headers: str) -> Any:
    return fhir("POST", path, data=form, headers={**FORM, **headers})


def shown(bundle: dict[str, Any], mode: str = "match") -> list[set[str]]:
    """The elements of each entry beside its type, id and meta."""
    entries = (each["resource"] for each in bundle.get("entry", []) if each["search"]["mode"] == mode)
    return [set(each) - {"resourceType", "id", "meta"} for each in entries]


def test_form_says_how_to_answer(fhir: Client) -> None:
    """In a form _summary, _elements, _format and _pretty are meant as in a query."""
    count = posted(fhir, "Patient/_search", "_id=sa-pat&_summary=count").json()
    elements = posted(fhir, "Patient/_search?_elements=gender", "_id=sa-pat&_elements=name").json()
    xml = posted(fhir, "Patient/_search", "_id=sa-pat&_format=xml")
    pretty = posted(fhir, "Patient/_search", "_id=sa-pat&_pretty=true")

    assert (1, []) == (count["total"], shown(count))
    assert [{"name", "gender"}] == shown(elements)
    assert xml.headers["Content-Type"].startswith("application/fhir+xml") and xml.text.startswith("<?xml")
    assert "\n" in pretty.text.strip()


def test_form_says_how_attachments_are_answered(fhir: Client) -> None:
    """Of a mode that there is none of the form is refused, as the query is."""
    refused = posted(fhir, "Patient/_search", "_attachments=nonsense"), posted(fhir, "Patient/_search", "_summary=x")

    assert [400, 400] == [each.status_code for each in refused]
    assert "attachments takes one of" in diagnostics(refused[0])[0]


def test_form_and_query(fhir: Client) -> None:
    """Both count, and the self link tells both."""
    found = posted(fhir, "Observation/_search?subject=Patient/sa-pat", "_id=sa-2,sa-x").json()

    assert ["sa-2"] == [each["resource"]["id"] for each in found["entry"]]
    assert f"{fhir.base}/Observation?subject=Patient/sa-pat&_id=sa-2,sa-x" == found["link"][0]["url"]


def test_form_of_a_compartment(fhir: Client) -> None:
    """A whole compartment can be searched by a form."""
    found = posted(fhir, "Patient/sa-pat/_search", "_type=Observation&_sort=-_id").json()

    assert ["sa-2", "sa-1"] == [each["resource"]["id"] for each in found["entry"]]


def test_elements_are_of_matches(fhir: Client) -> None:
    """What is included comes whole: the list of elements is none of its business."""
    found = fhir.fhir("Patient?_id=sa-pat&_elements=name&_elements=birthDate&_include=Patient:organization")

    assert ([{"name", "birthDate"}], [{"name", "active"}]) == (shown(found), shown(found, "include"))
    assert "tag" not in found["entry"][1]["resource"]["meta"]


def test_summaries_are_of_everything(fhir: Client) -> None:
    """A summary is one of what is included, too, and a count has nothing with it."""
    summary = fhir.fhir("Observation?_id=sa-1&_summary=data&_include=Observation:subject")
    count = fhir.fhir("Observation?_id=sa-1&_summary=count&_include=Observation:subject&_include:iterate=*")

    assert 2 == sum("SUBSETTED" == each["resource"]["meta"]["tag"][0]["code"] for each in summary["entry"])
    assert (1, False) == (count["total"], "entry" in count)


@pytest.mark.parametrize(
    ("query", "understood", "told"),
    [
        ("Patient?_id=sa-pat&name=&_sort=", "Patient?_id=sa-pat", ["'name' has no value", "'_sort' has no value"]),
        ("Patient?_id=sa-pat&colour=red", "Patient?_id=sa-pat", ["'colour' is unknown to this server"]),
        (
            "?_type=Patient,Organization&_id=sa-pat&gender=female",
            "?_type=Patient,Organization&_id=sa-pat",
            ["'gender' is not one that all types have"],
        ),
        ("Patient?_id=sa-pat&_contained=false", "Patient?_id=sa-pat&_contained=false", []),
    ],
)  # fmt: skip
def test_what_was_understood(fhir: Client, query: str, understood: str, told: list[str]) -> None:
    """The self link has what was understood, an outcome names the rest and says why, and strictness refuses it."""
    found = fhir.fhir(query)
    outcomes = [each["resource"] for each in found["entry"] if each["search"]["mode"] == "outcome"]
    sentences = [issue["diagnostics"] for each in outcomes for issue in each["issue"]]

    assert (1, f"{fhir.base}/{understood}".replace("/?", "?")) == (found["total"], found["link"][0]["url"])
    assert [True] * len(told) == [part in text for part, text in zip(told, sentences, strict=True)]
    assert (400 if told else 200) == fhir.get(query, Prefer="handling=strict").status_code


def test_head(fhir: Client) -> None:
    """HEAD tells what GET would send, without it."""
    found, refused = fhir("HEAD", "Patient?_id=sa-pat"), fhir("HEAD", "Patient?_count=x")

    assert (200, 400, b"") == (found.status_code, refused.status_code, found.content)
    assert int(found.headers["Content-Length"]) > 500


def test_revinclude_of_anything(fhir: Client) -> None:
    """Whatever refers to the matches comes with them."""
    found = fhir.fhir("Patient?_id=sa-pat&_revinclude=*")

    assert (1, ["sa-1", "sa-2"]) == (found["total"], sorted(each["resource"]["id"] for each in found["entry"][1:]))


def test_how_far_away(fhir: Client) -> None:
    """Where a search names a place each match tells its distance, and the nearest comes first where that is asked."""
    for id, latitude in (("sa-far", 48.3), ("sa-near", 48.21)):
        position = {"latitude": latitude, "longitude": 16.4}
        fhir.update({"resourceType": "Location", "id": id, "status": "active", "position": position})
    found = fhir.fhir("Location?near=48.2|16.4|20&_sort=near&_id=sa-far,sa-near&status=active")

    told = {each["resource"]["id"]: each["search"]["extension"][0] for each in found["entry"]}
    assert ["sa-near", "sa-far"] == list(told)
    assert {"value": 1111.9, "unit": "m", "system": "http://unitsofmeasure.org", "code": "m"} == told["sa-near"][
        "valueDistance"
    ]
    assert "http://hl7.org/fhir/StructureDefinition/location-distance" == told["sa-far"]["url"]


@pytest.mark.parametrize("element", ["value", "value[x]", "valueQuantity"])
def test_elements_of_a_choice(fhir: Client, element: str) -> None:
    """An element that may be of several types is meant by its name, with or without [x], and by that of one type."""
    value = {"valueQuantity": {"value": 1}}
    observation = {"resourceType": "Observation", "id": "sa-3", "status": "final", "code": {"text": "any"}}
    fhir.update({**observation, "effectiveDateTime": "2024", **value})
    found = fhir.fhir(f"Observation?_id=sa-3&_elements={element}")

    assert [{"status", "code", "valueQuantity"}] == shown(found)
