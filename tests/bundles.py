"""Bundles for tests: their entries, and the record of a patient as a generator of synthetic patients makes it."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import requests

from tests.client import Client

Json = dict[str, Any]


def entry(method: str, url: str, resource: Json | None = None, *, full_url: str = "", **request: str) -> Json:
    """An entry of a batch or transaction; `request` are its conditions."""
    made: Json = {"request": {"method": method, "url": url, **request}}
    if full_url:
        made["fullUrl"] = full_url
    if resource is not None:
        made["resource"] = resource
    return made


def bundle(type: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def transact(fhir: Client, *entries: Json, **headers: str) -> requests.Response:
    return fhir("POST", "", json=bundle("transaction", *entries), headers=headers)


def transacted(fhir: Client, *entries: Json, **headers: str) -> list[Json]:
    """The entries of the answer to a transaction that has to succeed."""
    done = transact(fhir, *entries, **headers)
    assert 200 == done.status_code, done.text
    assert "transaction-response" == done.json()["type"]
    return list(done.json()["entry"])


def batched(fhir: Client, *entries: Json, **headers: str) -> list[Json]:
    done = fhir("POST", "", json=bundle("batch", *entries), headers=headers)
    assert 200 == done.status_code, done.text
    assert "batch-response" == done.json()["type"]
    return list(done.json()["entry"])


def statuses(entries: list[Json]) -> list[str]:
    """The number of each entry's status."""
    return [each["response"]["status"][:3] for each in entries]


def new_url() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def patient_record(encounters: int, *, observations: int = 20, note: int = 14_000) -> bytes:
    """A transaction with a patient and, for each encounter, what was seen, found and written down.

    `note` is the size of each document in bytes.
    """
    patient, entries = new_url(), []
    entries.append(entry("POST", "Patient", _patient(), full_url=patient))
    for number in range(encounters):
        visit = new_url()
        of: Json = {"subject": {"reference": patient}, "encounter": {"reference": visit}}
        time = f"{1990 + number % 30}-0{number % 9 + 1}-1{number % 10}T09:30:00+01:00"
        entries.append(entry("POST", "Encounter", _encounter(patient, time), full_url=visit))
        entries.append(entry("POST", "Condition", {"resourceType": "Condition", **_condition(number), **of}))
        entries += (
            entry("POST", "Observation", {**_observation(each, time), **of}, full_url=new_url())
            for each in range(observations)
        )
        entries.append(entry("POST", "DocumentReference", _document(number, patient, visit, note), full_url=new_url()))
    return json.dumps(bundle("transaction", *entries)).encode()


def _coded(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _patient() -> Json:
    return {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">A synthetic patient</div>'},
        "identifier": [{"system": "https://example.org/patients", "value": str(uuid.uuid4())}],
        "name": [{"use": "official", "family": "Record", "given": ["Ada", "B"], "prefix": ["Ms."]}],
        "telecom": [{"system": "phone", "value": "555-0100", "use": "home"}],
        "gender": "female",
        "birthDate": "1970-02-03",
        "address": [{"line": ["1 Main Street"], "city": "Springfield", "state": "MA", "country": "US"}],
    }


def _encounter(patient: str, time: str) -> Json:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [_coded("http://snomed.info/sct", "162673000", "General examination of patient (procedure)")],
        "subject": {"reference": patient, "display": "Ms. Ada B Record"},
        "participant": [{"individual": {"display": "Dr. Example"}, "period": {"start": time, "end": time}}],
        "period": {"start": time, "end": time},
        "serviceProvider": {"display": "Springfield General"},
    }


def _condition(number: int) -> Json:
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    return {
        "clinicalStatus": _coded(clinical, "resolved", "Resolved"),
        "code": _coded("http://snomed.info/sct", str(444814009 + number), "Viral sinusitis (disorder)"),
        "onsetDateTime": "2001-02-03T04:05:06Z",
    }


def _observation(number: int, time: str) -> Json:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [_coded(category, "vital-signs", "Vital Signs")],
        "code": _coded("http://loinc.org", f"{8300 + number}-2", "Body measurement of a synthetic patient"),
        "effectiveDateTime": time,
        "issued": time,
        "valueQuantity": {
            "value": number * 1.25,
            "unit": "cm",
            "system": "http://unitsofmeasure.org",
            "code": "cm",
        },
    }


def _document(number: int, patient: str, visit: str, size: int) -> Json:
    text = (f"Note {number} of {uuid.uuid4()}. ".encode() * size)[:size]
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": _coded("http://loinc.org", "34117-2", "History and physical note"),
        "subject": {"reference": patient},
        "content": [{"attachment": {"contentType": "text/plain", "data": base64.b64encode(text).decode()}}],
        "context": {"encounter": [{"reference": visit}]},
    }
