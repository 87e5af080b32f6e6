"""Referential integrity, by setting, as clients see it."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer, start

PATIENT = {"resourceType": "Patient"}


@pytest.fixture(scope="module")
def fhir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a server that enforces integrity."""
    server = start(tmp_path_factory.mktemp("integrity"), integrity="enforce")
    yield Client(server.base)
    server.kill()


def about(reference: Any, **more: Any) -> dict[str, Any]:
    subject = reference if isinstance(reference, dict) else {"reference": reference}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject, **more}


@pytest.mark.parametrize(
    ("resource", "path", "why"),
    [
        (about("Patient/none"), "Observation.subject.reference is 'Patient/none'", "which is not there"),
        (about("Patient/none/_history/1"), "Observation.subject.reference is 'Patient/none/_history/1'", "which is not there"),
        (about({"display": "x"}, component=[{"code": {"text": "y"}, "extension": [{"url": "http://e", "valueReference": {"reference": "Device/none"}}]}]), "Observation.component[0].extension[0].value.reference is 'Device/none'", "which is not there"),
        (about({"display": "x"}, contained=[{"resourceType": "Practitioner", "id": "p", "photo": [{"url": "Binary/none"}]}], performer=[{"reference": "#p"}]), "Observation.contained[0].photo[0].url is 'Binary/none'", "which is not there"),
        ({**PATIENT, "photo": [{"url": "Binary/none"}]}, "Patient.photo[0].url is 'Binary/none'", "which is not there"),
        ({**PATIENT, "contact": [{"organization": {"reference": "Organization/none"}}]}, "Patient.contact[0].organization.reference is 'Organization/none'", "which is not there"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing(fhir: Client, resource: dict[str, Any], path: str, why: str) -> None:
    """422 quotes path and value; nothing is stored. By create, update, patch and conditional update alike."""
    type = resource["resourceType"]
    id = fhir.create({**PATIENT} if type == "Patient" else about({"display": "x"}))["id"]
    merge = {"Content-Type": "application/merge-patch+json"}

    refused = [
        fhir("POST", type, json=resource),
        fhir("PUT", f"{type}/{id}", json={**resource, "id": id}),
        fhir("PATCH", f"{type}/{id}", json=resource, headers=merge),
        fhir("PUT", f"{type}?_id={id}", json=resource),
        fhir("POST", type, json=resource, headers={"If-None-Exist": "_id=none"}),
    ]

    assert [422] * 5 == [answer.status_code for answer in refused]
    assert {f"{path}, {why}."} == {diagnostics(answer)[0] for answer in refused}
    assert "1" == fhir.fhir(f"{type}/{id}")["meta"]["versionId"]


def test_what_is_let_be(fhir: Client) -> None:
    """References by identifier, to other servers, by canonical or to itself, and contained ones."""
    fine = [
        about({"identifier": {"system": "https://x.example", "value": "1"}}),
        about("https://elsewhere.example/fhir/Patient/none"),
        about("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        about({"display": "x"}, contained=[{"resourceType": "Practitioner", "id": "p"}], performer=[{"reference": "#p"}]),
        {**PATIENT, "photo": [{"url": "https://elsewhere.example/photo.png"}]},
        {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": f"{fhir.base}/Questionnaire/none"},
    ]  # fmt: skip

    assert [201] * len(fine) == [fhir("POST", each["resourceType"], json=each).status_code for each in fine]
    own = {**PATIENT, "id": "own", "link": [{"other": {"reference": "Patient/own"}, "type": "seealso"}]}
    assert [201, 204] == [fhir("PUT", "Patient/own", json=own).status_code, fhir("DELETE", "Patient/own").status_code]


def test_what_is_there(fhir: Client) -> None:
    """Relative, absolute and version-specific; not a version that never was, nor what was deleted."""
    made = fhir.update({**PATIENT, "id": "there"})
    fhir.update(made)
    fhir.update({**PATIENT, "id": "gone"})
    fhir("DELETE", "Patient/gone")
    ends = ["there", "there/_history/1", "there/_history/2", "there/_history/3", "there/_history/x", "gone"]
    ends.append("gone/_history/1")

    relative = [fhir("POST", "Observation", json=about(f"Patient/{end}")).status_code for end in ends]
    absolute = [fhir("POST", "Observation", json=about(f"{fhir.base}/Patient/{end}")).status_code for end in ends]

    assert [201, 201, 201, 422, 422, 422, 422] == relative == absolute


def test_deleting_what_is_referred_to(fhir: Client) -> None:
    """409 names up to five referrers; once they are gone it can be deleted."""
    fhir.update({**PATIENT, "id": "referred"})
    ids = [fhir.update({**about("Patient/referred"), "id": f"referrer-{number}"})["id"] for number in range(6)]

    refused = [fhir("DELETE", "Patient/referred"), fhir("DELETE", "Patient?_id=referred")]

    named = ", ".join(f"Observation/referrer-{number}" for number in range(5))
    sentence = f"Patient/referred is referred to by {named} and others: delete that first."
    assert [(409, [sentence])] * 2 == [(answer.status_code, diagnostics(answer)) for answer in refused]
    fhir.update({**about({"display": "x"}), "id": ids[0]})
    for id in ids[1:]:
        fhir("DELETE", f"Observation/{id}")
    assert 204 == fhir("DELETE", "Patient/referred").status_code


def test_a_referrer_that_no_search_parameter_knows(fhir: Client) -> None:
    """Patient.contact.organization, which cannot be searched by, holds the Organization too."""
    fhir.update({"resourceType": "Organization", "id": "unsearched", "name": "x"})
    contact = [{"organization": {"reference": "Organization/unsearched"}}]
    fhir.update({**PATIENT, "id": "unsearched", "contact": contact})

    refused = fhir("DELETE", "Organization/unsearched")

    assert ["Organization/unsearched is referred to by Patient/unsearched: delete that first."] == diagnostics(refused)


def test_a_security_context(fhir: Client) -> None:
    """That of a Binary, as JSON and by its header, has to be there, and is held."""
    binary = {"resourceType": "Binary", "contentType": "text/plain"}
    fhir.update({**PATIENT, "id": "guard"})

    refused = [
        fhir("POST", "Binary", json={**binary, "securityContext": {"reference": "Patient/none"}}),
        fhir("POST", "Binary", data=b"x", headers={"Content-Type": "text/plain", "X-Security-Context": "Patient/none"}),
    ]
    id = fhir.create({**binary, "securityContext": {"reference": "Patient/guard"}})["id"]
    held = fhir("DELETE", "Patient/guard")

    sentence = "Binary.securityContext.reference is 'Patient/none', which is not there."
    assert [(422, [sentence])] * 2 == [(answer.status_code, diagnostics(answer)) for answer in refused]
    assert [f"Patient/guard is referred to by Binary/{id}: delete that first."] == diagnostics(held)
    assert 204 == fhir("DELETE", f"Binary/{id}").status_code
    assert 204 == fhir("DELETE", "Patient/guard").status_code


def test_bytes_of_a_slot(fhir: Client) -> None:
    """A photo that came as data goes with its patient, whose own Binary holds nobody up."""
    made = fhir.create({**PATIENT, "photo": [{"contentType": "image/png", "data": "aGk="}]})

    assert 204 == fhir("DELETE", f"Patient/{made['id']}").status_code


def test_off_and_warn(server: Server, start_server: StartServer) -> None:
    """off: nothing is said. warn: it is stored, and told where an OperationOutcome is answered; nothing holds a target."""
    told = {"Prefer": "return=OperationOutcome"}
    warning = Client(start_server(integrity="warn").base)

    quiet = Client(server.base)("POST", "Observation", json=about("Patient/none"), headers=told)
    warned = warning("POST", "Observation", json=about("Patient/none"), headers=told)

    assert (201, 1) == (quiet.status_code, len(diagnostics(quiet)))
    assert (201, 2) == (warned.status_code, len(diagnostics(warned)))
    issue = warned.json()["issue"][1]
    sentence = "Observation.subject.reference is 'Patient/none', which is not there."
    assert ("warning", "not-found", sentence) == (issue["severity"], issue["code"], issue["diagnostics"])
    warning.update({**PATIENT, "id": "free"})
    warning.create(about("Patient/free"))
    assert 204 == warning("DELETE", "Patient/free").status_code


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_reference_to_what_is_being_deleted(
    start_server: StartServer, request: pytest.FixtureRequest, database: str, fhir: Client
) -> None:
    """Either the patient goes and the references are refused, or it stays because of one."""
    if database == "postgresql":
        server: Server = start_server(database=request.getfixturevalue("fresh_postgresql_url"), integrity="enforce")
        fhir = Client(server.base)

    def call(each: tuple[str, str, Any]) -> int:
        return Client(fhir.base)(each[0], each[1], json=each[2]).status_code

    with ThreadPoolExecutor(4) as threads:
        for number in range(12):
            id = fhir.update({**PATIENT, "id": f"racing-{number}"})["id"]
            write, delete = ("POST", "Observation", about(f"Patient/{id}")), ("DELETE", f"Patient/{id}", None)
            calls = [write, delete, write, write] if number % 2 else [delete, write, write, write]
            answers = list(threads.map(call, calls))
            deleted = answers.pop(calls.index(delete))

            there = fhir.get(f"Patient/{id}").status_code
            assert deleted in (204, 409) and set(answers) <= {201, 422}
            assert (410 if deleted == 204 else 200) == there
            stored = fhir.fhir(f"Observation?subject=Patient/{id}&_summary=count")["total"]
            assert answers.count(201) == stored
            assert deleted == 409 or 0 == stored
