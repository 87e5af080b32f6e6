"""What the server answers to requests of every kind, some of them wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import requests

from tests.client import Client, extension

JSON, XML = "application/fhir+json", "application/fhir+xml"
PHOTO = base64.b64encode(b"a photo").decode()
SYSTEM = "urn:validator"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "validated",
    "identifier": [{"system": SYSTEM, "value": "1"}],
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Ada</div>'},
    "name": [{"family": "Validated"}],
    "photo": [{"contentType": "image/png", "data": PHOTO}],
}


def document(binary_id: str, **further: Any) -> dict[str, Any]:
    """A DocumentReference of the patient with one Binary."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/validated"},
        "content": [{"attachment": {"contentType": "application/pdf", "url": f"Binary/{binary_id}"}}],
        **further,
    }


def transaction() -> dict[str, Any]:
    """Created, created where there is none, changed, and searched for at once."""
    binary = {"resourceType": "Binary", "contentType": "text/plain"}
    attachment = {"contentType": "text/plain", "url": "urn:uuid:0d9b3b1c-1a7f-4a4e-9a3c-5b6d2f3f6c11"}
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:0d9b3b1c-1a7f-4a4e-9a3c-5b6d2f3f6c11",
                "resource": binary,
                "request": {"method": "POST", "url": "Binary"},
            },
            {
                "fullUrl": "urn:uuid:0d9b3b1c-1a7f-4a4e-9a3c-5b6d2f3f6c12",
                "resource": document("") | {"content": [{"attachment": attachment}]},
                "request": {"method": "POST", "url": "DocumentReference"},
            },
            {
                "fullUrl": "urn:uuid:0d9b3b1c-1a7f-4a4e-9a3c-5b6d2f3f6c13",
                "resource": {key: value for key, value in PATIENT.items() if key != "id"},
                "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={SYSTEM}|1"},
            },
            {"request": {"method": "GET", "url": "Patient?family=Validated&_unknown=1"}},
            {"request": {"method": "DELETE", "url": "Patient/of-nobody"}},
        ],
    }


def batch() -> dict[str, Any]:
    """Reads of which one fails, and an entry that cannot be stored."""
    return {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": "Patient/validated"}},
            {"request": {"method": "GET", "url": "Patient/unheard-of"}},
            {
                "resource": {"resourceType": "Patient", "gendre": "female"},
                "request": {"method": "POST", "url": "Patient"},
            },
        ],
    }


def prepare(client: Client) -> dict[str, str]:
    """A record with bytes in each of its states, changed and deleted; the ids of its Binaries."""
    client.update(PATIENT)
    client.update({**PATIENT, "gender": "female"})
    assert client("DELETE", f"Patient/{client.create({**PATIENT, 'active': False})['id']}").ok
    ids = {"available": client.uploaded(b"a document"), "pending": _pending(client), "rejected": _rejected(client)}
    for each in ids.values():
        client.create(document(each))
    client.create(document(ids["available"], relatesTo=[{"code": "appends", "target": {"display": "another"}}]))
    return ids


def _pending(client: Client) -> str:
    return str(client.create({"resourceType": "Binary", "contentType": "application/pdf"})["id"])


def _rejected(client: Client) -> str:
    """Declared with a length that the bytes do not have, by way of a DocumentReference."""
    declared = {"contentType": "application/pdf", "size": 3}
    made = client.create(
        document("") | {"content": [{"attachment": declared}]}, Prefer="return=representation, attachments=upload"
    )
    attachment = made["content"][0]["attachment"]
    sent = requests.put(extension(attachment, "presignedPutUrl"), data=b"far longer", timeout=60)
    assert sent.status_code in (200, 400, 403)
    return str(attachment["url"].split("/")[1])


def answers(client: Client) -> dict[str, requests.Response]:
    """By name of the file what the server answers."""
    ids = prepare(client)
    read = {name: f"Binary/{each}" for name, each in ids.items()} | {
        "metadata": "metadata",
        "patient": "Patient/validated",
        "patient-summary": "Patient/validated?_summary=true",
        "patient-elements": "Patient/validated?_elements=name",
        "patient-url": "Patient/validated?_attachments=url",
        "patient-inline": "Patient/validated?_attachments=inline",
        "document-summary": "DocumentReference?contenttype=application/pdf&_summary=true&patient=validated",
        "search": "DocumentReference?patient=validated&_include=DocumentReference:subject&_unknown=1&_total=accurate",
        "search-revinclude": "Patient?_id=validated&_revinclude=DocumentReference:subject",
        "search-page": "DocumentReference?patient=validated&_count=1",
        "search-count": "Patient?_summary=count",
        "search-nothing": "Patient?family=nobody-has-this-name",
        "search-system": "?_type=Patient,DocumentReference&_count=3",
        "search-binary": "Binary?_count=2",
        "compartment": "Patient/validated/DocumentReference",
        "everything": "Patient/validated/$everything",
        "docref": "DocumentReference/$docref?patient=validated",
        "history": "Patient/validated/_history",
        "history-type": "Patient/_history?_count=5",
        "history-system": "_history?_count=10",
        "not-found": "Patient/unheard-of",
        "not-known": "Patience/1",
        "bad-date": "Patient?birthdate=yesterday",
        "bad-cursor": "Patient?_cursor=none",
    }
    found = {f"{name}.json": client.get(path, Accept=JSON) for name, path in read.items()}
    found |= {
        f"{name}.xml": client.get(read[name], Accept=XML) for name in ("patient", "search", "history", "not-found")
    }
    gone = next(each for each in client.fhir("Patient/_history")["entry"] if "resource" not in each)
    writes: dict[str, Callable[[], requests.Response]] = {
        "transaction": lambda: client("POST", "", json=transaction()),
        "batch": lambda: client("POST", "", json=batch()),
        "gone": lambda: client.get(gone["fullUrl"].removeprefix(f"{client.base}/")),
        "strict": lambda: client.get("Patient?_unknown=1", Prefer="handling=strict"),
        "invalid": lambda: client("POST", "Patient", json={"resourceType": "Patient", "gender": "1", "contact": [{}]}),
        "not-json": lambda: client("POST", "Patient", data=b"{", headers={"Content-Type": JSON}),
        "not-acceptable": lambda: client.get("Patient/validated", Accept="image/png"),
        "outcome": lambda: client(
            "PUT", "Patient/validated", json=PATIENT, headers={"Prefer": "return=OperationOutcome"}
        ),
        "complete": lambda: client("POST", f"Binary/{ids['available']}/$complete"),
        "complete-nothing": lambda: client("POST", f"Binary/{ids['pending']}/$complete"),
        "complete-rejected": lambda: client("POST", f"Binary/{ids['rejected']}/$complete"),
        "presigned-url": lambda: client.get(f"Binary/{ids['available']}/$presigned-url"),
        "conditional": lambda: client("DELETE", "Patient"),
        "upload": lambda: client("POST", "Patient", json=PATIENT, headers={"Prefer": "attachments=upload"}),
    }
    return found | {f"{name}.json": ask() for name, ask in writes.items()}
