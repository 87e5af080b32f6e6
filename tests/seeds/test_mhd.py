"""IHE Mobile access to Health Documents: ITI-65 Provide Document Bundle, ITI-68 Retrieve Document.

Source: https://profiles.ihe.net/ITI/MHD/ITI-65.html and ITI-68.html
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.bundles import Json, bundle, entry, new_url
from tests.client import Client
from tests.services.server import Server

PROFILES = "https://profiles.ihe.net/ITI/MHD/StructureDefinition"
CONTENT = b"%PDF-1.7 a discharge summary"


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def provided(style: str, subject: str, *, data: bool = True) -> Json:
    """The Bundle of a Document Source: SubmissionSet, DocumentReference and Binary; `style` is its profile."""
    reference, binary = new_url(), new_url()
    content: Json = {"resourceType": "Binary", "contentType": "application/pdf"}
    if data:
        content["data"] = base64.b64encode(CONTENT).decode()
    made = bundle(
        "transaction",
        entry("POST", "List", _submission_set(style, subject, reference), full_url=new_url()),
        entry("POST", "DocumentReference", _document(style, subject, binary), full_url=reference),
        entry("POST", "Binary", content, full_url=binary),
    )
    return {**made, "meta": {"profile": [f"{PROFILES}/IHE.MHD.{style}.ProvideBundle"]}}


def _submission_set(style: str, subject: str, document: str) -> Json:
    source = f"{PROFILES}/ihe-sourceId"
    return {
        "resourceType": "List",
        "meta": {"profile": [f"{PROFILES}/IHE.MHD.{style}.SubmissionSet"]},
        "extension": [{"url": source, "valueIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"}}],
        "identifier": [{"use": "official", "system": "urn:ietf:rfc:3986", "value": new_url()}],
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": f"{PROFILES[:-20]}/CodeSystem/MHDlistTypes", "code": "submissionset"}]},
        "subject": {"reference": subject},
        "date": "2026-01-02T03:04:05Z",
        "entry": [{"item": {"reference": document}}],
    }


def _document(style: str, subject: str, binary: str) -> Json:
    digest = base64.b64encode(hashlib.sha1(CONTENT, usedforsecurity=False).digest()).decode()
    attachment = {
        "contentType": "application/pdf",
        "language": "en",
        "url": binary,
        "size": len(CONTENT),
        "hash": digest,
        "title": "Discharge summary",
        "creation": "2026-01-02T03:04:05Z",
    }
    return {
        "resourceType": "DocumentReference",
        "meta": {"profile": [f"{PROFILES}/IHE.MHD.{style}.DocumentReference"]},
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": new_url()},
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
        "subject": {"reference": subject},
        "date": "2026-01-02T03:04:05Z",
        "content": [{"attachment": attachment}],
    }


def retrieve(fhir: Client, url: str, accept: str) -> Any:
    """ITI-68: an HTTP GET on DocumentReference.content.attachment.url."""
    return fhir.get(url.removeprefix(f"{fhir.base}/"), Accept=accept)


@pytest.fixture(scope="module")
def stored(fhir: Client) -> Json:
    """A DocumentReference that was provided in a Comprehensive Bundle."""
    subject = fhir.create({"resourceType": "Patient", "name": [{"family": "Mobile"}]})
    done = fhir("POST", "", json=provided("Comprehensive", f"Patient/{subject['id']}"))
    assert 200 == done.status_code, done.text
    return dict(done.json()["entry"][1]["resource"])


@pytest.mark.parametrize("style", ["Comprehensive", "Minimal", "UnContained.Comprehensive"])
def test_the_recipient_accepts_a_provided_bundle(fhir: Client, style: str) -> None:
    """ "The Document Recipient shall accept the media type application/fhir+json", and answers with a
    transaction-response of one entry for each of the request, "in the same order", status 201.
    """
    subject = fhir.create({"resourceType": "Patient", "name": [{"family": "Mobile"}]})
    headers = {"Content-Type": "application/fhir+json"}
    done = fhir("POST", "", json=provided(style, f"Patient/{subject['id']}"), headers=headers)

    assert (200, "transaction-response") == (done.status_code, done.json()["type"])
    answers = done.json()["entry"]
    assert ["201 Created"] * 3 == [each["response"]["status"] for each in answers]
    types = [each["response"]["location"].split("/")[0] for each in answers]
    assert ["List", "DocumentReference", "Binary"] == types
    documents, binaries = ("/".join(each["response"]["location"].split("/")[:2]) for each in answers[1:])
    assert documents == fhir.fhir(answers[0]["response"]["location"])["entry"][0]["item"]["reference"]
    assert binaries == fhir.fhir(documents)["content"][0]["attachment"]["url"]
    assert 1 == fhir.fhir(f"DocumentReference?patient={subject['id']}&_summary=count")["total"]


def test_the_patient_may_be_found_by_its_identifier(fhir: Client) -> None:
    """The Patient of the SubmissionSet and of the DocumentReference as a conditional reference."""
    value = new_url()
    made = fhir.create({"resourceType": "Patient", "identifier": [{"system": "urn:test:mhd", "value": value}]})
    done = fhir("POST", "", json=provided("Minimal", f"Patient?identifier=urn:test:mhd|{value}"))

    subjects = [each["resource"]["subject"]["reference"] for each in done.json()["entry"][:2]]
    assert [f"Patient/{made['id']}"] * 2 == subjects


def test_an_unprocessable_bundle_is_refused_whole(fhir: Client) -> None:
    """ "If necessary for processing" what is wrong is told, and "the Document Recipient shall" store none of it."""
    before = fhir.fhir("List?_summary=count")["total"]
    broken = provided("Minimal", "Patient/mobile")
    broken["entry"][1]["resource"]["content"][0]["attachment"]["hash"] = "AAAA"
    refused = fhir("POST", "", json=broken)

    assert (422, "OperationOutcome") == (refused.status_code, refused.json()["resourceType"])
    assert before == fhir.fhir("List?_summary=count")["total"]


def test_retrieve_document(fhir: Client, stored: Json) -> None:
    """ "The Document Responder shall return the document content in the requested mime type": 200."""
    found = retrieve(fhir, stored["content"][0]["attachment"]["url"], "application/pdf")

    assert (200, "application/pdf", CONTENT) == (found.status_code, found.headers["Content-Type"], found.content)


def test_a_document_that_is_not_available(fhir: Client) -> None:
    """ "Document URI not found": 404."""
    assert 404 == retrieve(fhir, "Binary/never-provided", "application/pdf").status_code


def test_a_document_in_another_form(fhir: Client, stored: Json) -> None:
    """ "Requested document type cannot be provided": 406."""
    assert 406 == retrieve(fhir, stored["content"][0]["attachment"]["url"], "image/png").status_code


def test_a_deprecated_document_that_is_gone(fhir: Client) -> None:
    """ "Document deleted": 410."""
    subject = fhir.create({"resourceType": "Patient", "name": [{"family": "Mobile"}]})
    made = fhir("POST", "", json=provided("Minimal", f"Patient/{subject['id']}")).json()["entry"]
    document, binary = (f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in made[1:])
    assert [204, 204] == [fhir("DELETE", path).status_code for path in (document, binary)]

    assert 410 == retrieve(fhir, binary, "application/pdf").status_code


def test_bytes_may_be_sent_to_the_storage(fhir: Client) -> None:
    """Without data in the Binary its entry has the URL to upload to: this server's own way."""
    subject = fhir.create({"resourceType": "Patient", "name": [{"family": "Mobile"}]})
    done = fhir("POST", "", json=provided("Minimal", f"Patient/{subject['id']}", data=False))

    assert "pending" == done.json()["entry"][2]["resource"]["_data"]["extension"][-1]["valueCode"]
