"""Operations of plain values take them as a query, a form or a Parameters resource, as HAPI's client sends it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client
from tests.services.server import Server

LETTER = {"coding": [{"system": "urn:kinds", "code": "letter|1"}]}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    """A patient with two documents, of which one is a letter."""
    client = Client(server.base)
    client.update({"resourceType": "Patient", "id": "given"})
    for id, kind in (("given-letter", LETTER), ("given-image", {"text": "image"})):
        client.update(
            {
                "resourceType": "DocumentReference",
                "id": id,
                "status": "current",
                "type": kind,
                "subject": {"reference": "Patient/given"},
                "content": [{"attachment": {"title": "x"}}],
            }
        )
    return client


def given(**values: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": name, **value} for name, value in values.items()]}


@pytest.mark.parametrize(
    ("path", "parameters", "ids"),
    [
        ("Patient/given/$everything", {"resourceType": "Parameters"}, ["given", "given-image", "given-letter"]),
        ("Patient/given/$everything", given(_type={"valueCode": "Patient"}), ["given"]),
        (
            "DocumentReference/$docref",
            given(patient={"valueId": "given"}, type={"valueCodeableConcept": LETTER}),
            ["given-letter"],
        ),
    ],
)
def test_a_parameters_resource(fhir: Client, path: str, parameters: dict[str, Any], ids: list[str]) -> None:
    """It says what a query would say."""
    found = fhir("POST", path, json=parameters, headers={"Content-Type": "application/fhir+json"})

    assert (200, ids) == (found.status_code, sorted(each["resource"]["id"] for each in found.json()["entry"]))


def test_in_xml(fhir: Client) -> None:
    """In XML too."""
    patient = '<parameter><name value="patient"/><valueId value="given"/></parameter>'
    text = f'<Parameters xmlns="http://hl7.org/fhir">{patient}</Parameters>'

    found = fhir(
        "POST", "DocumentReference/$docref", data=text.encode(), headers={"Content-Type": "application/fhir+xml"}
    )

    assert (200, 2) == (found.status_code, found.json()["total"])


def test_types_to_reindex(fhir: Client) -> None:
    """A type in it is the one that is reindexed, not one of all."""
    started = fhir("POST", "$reindex", json=given(type={"valueCode": "NoType"}))

    assert (400, "type='NoType' is no resource type of FHIR R4.") == (
        started.status_code,
        started.json()["issue"][0]["diagnostics"],
    )


def test_what_is_no_plain_value(fhir: Client) -> None:
    """A value that no query could say is refused by its name."""
    refused = fhir("POST", "DocumentReference/$docref", json=given(patient={"valuePeriod": {"start": "2024"}}))

    assert (400, "patient takes a plain value.") == (refused.status_code, refused.json()["issue"][0]["diagnostics"])
