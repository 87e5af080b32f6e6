"""Batches: each entry is a request of its own."""

from __future__ import annotations

import base64

import pytest

from tests.bundles import Json, batched, bundle, entry, new_url, statuses
from tests.client import Client, extension
from tests.services.server import Server

PATIENT = {"resourceType": "Patient", "name": [{"family": "Batched"}]}
BINARY = {"resourceType": "Binary", "contentType": "text/plain"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def told(answer: Json) -> tuple[str, str]:
    """Status and first sentence of a failed entry."""
    return answer["response"]["status"], answer["response"]["outcome"]["issue"][0]["diagnostics"]


def test_each_entry_has_its_own_answer(fhir: Client) -> None:
    """What fails says why in its place, and keeps nothing else from being done."""
    done = batched(
        fhir,
        entry("POST", "Patient", {**PATIENT, "gender": "mal"}),
        entry("GET", "Patient/never-there"),
        entry("PUT", "Patient/batch-put", {**PATIENT, "id": "batch-put"}),
        entry("GET", "Nothing/1"),
        entry("FETCH", "Patient/1"),
        {"resource": PATIENT},
        entry("POST", "/", bundle("batch")),
        entry("DELETE", "Patient/batch-put", ifMatch='W/"9"'),
        entry("GET", "Patient/batch-put"),
        entry("GET", "/Patient?_id=batch-put"),
        entry("GET", f"{fhir.base}/Patient/batch-put/_history/1"),
    )

    assert ["422", "404", "201", "404", "422", "422", "405", "412", "200", "200", "200"] == statuses(done)
    assert (
        "422 Unprocessable Entity",
        "Bundle.entry[0].resource.gender: 'mal' is not one of female, male, other, unknown.",
    ) == told(done[0])
    assert ("404 Not Found", "Bundle.entry[1]: Patient/never-there is not known.") == told(done[1])
    assert (
        "Bundle.entry[4].request.method: 'FETCH' is not one of DELETE, GET, HEAD, PATCH, POST, PUT." == told(done[4])[1]
    )
    assert "Bundle.entry[5].request: is missing." == told(done[5])[1]
    assert ("Patient/batch-put/_history/1", 'W/"1"') == (done[2]["response"]["location"], done[2]["response"]["etag"])
    assert ["batch-put", "searchset", "batch-put"] == [
        each["resource"].get("type", each["resource"].get("id")) for each in done[8:]
    ]


def test_every_interaction_is_an_entry(fhir: Client) -> None:
    """Conditions, patches and operations as well."""
    id = fhir.create({**PATIENT, "identifier": [{"value": "batch-condition"}]})["id"]
    uploaded = fhir.uploaded(b"Batch.")
    data = base64.b64encode(b'[{"op": "add", "path": "/gender", "value": "other"}]').decode()
    done = batched(
        fhir,
        entry("POST", "Patient", PATIENT, ifNoneExist="identifier=batch-condition"),
        entry("PATCH", f"Patient/{id}", {**BINARY, "contentType": "application/json-patch+json", "data": data}),
        entry("GET", f"Patient/{id}", ifNoneMatch='W/"2"'),
        entry("POST", f"Binary/{uploaded}/$complete"),
        entry("GET", f"Binary/{uploaded}"),
        entry("GET", "metadata"),
        entry("PUT", "Patient?identifier=batch-condition", {**PATIENT, "identifier": [{"value": "batch-condition"}]}),
        entry("DELETE", "Patient?identifier=batch-condition"),
        entry("HEAD", f"Patient/{id}"),
    )

    assert ["200", "200", "304", "200", "200", "200", "200", "204", "410"] == statuses(done)
    assert id == done[0]["resource"]["id"]
    assert "other" == done[1]["resource"]["gender"]
    assert "Binary" == done[4]["resource"]["resourceType"]
    assert "CapabilityStatement" == done[5]["resource"]["resourceType"]


def test_entries_do_not_know_each_other(fhir: Client) -> None:
    """A fullUrl is no name that others could use, and may come twice."""
    url = new_url()
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": url},
    }
    done = batched(
        fhir,
        entry("POST", "Patient", PATIENT, full_url=url),
        entry("POST", "Patient", PATIENT, full_url=url),
        entry("POST", "Observation", observation),
    )

    assert ["201", "201", "201"] == statuses(done)
    assert url == done[2]["resource"]["subject"]["reference"]


def test_prefer_counts_for_each_entry(fhir: Client) -> None:
    """return=minimal gives no resource but to what is read; attachments=reference signs nothing."""
    binary = fhir.create(BINARY)
    done = batched(
        fhir,
        entry("POST", "Patient", PATIENT),
        entry("GET", f"Binary/{binary['id']}"),
        Prefer="return=minimal, attachments=reference",
    )

    assert [False, True] == ["resource" in each for each in done]
    assert extension(done[1]["resource"].get("_data", {}), "presignedPutUrl") is None


def test_an_upload_is_offered_in_its_entry(fhir: Client) -> None:
    """A Binary without data has its PUT URL in the answer."""
    (done,) = batched(fhir, entry("POST", "Binary", BINARY))

    assert extension(done["resource"]["_data"], "presignedPutUrl").startswith("http")


def test_conditions_are_unicode(fhir: Client) -> None:
    """In a Bundle criteria need not be percent-encoded."""
    born = {**PATIENT, "identifier": [{"value": "☃-batch"}]}
    made = batched(fhir, entry("POST", "Patient", born, ifNoneExist="identifier=☃-batch"))
    again = batched(
        fhir,
        entry("POST", "Patient", born, ifNoneExist="identifier=☃-batch"),
        entry("GET", "Patient?identifier=☃-batch"),
    )

    assert ["201"] == statuses(made)
    assert ["200", "200"] == statuses(again)
    assert 1 == again[1]["resource"]["total"]
