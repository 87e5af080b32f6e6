"""Chains go into contained resources, and nothing else does: on SQLite, on PostgreSQL and on Elasticsearch."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_blob.search.contained import _MOST_ROWS
from fhir_blob.search.extraction import extract
from tests.contracts.indexes import TENANTS, Indexed, delete, found, put, store, tenant

__all__ = ["store", "tenant"]
CODES = "http://codes.example"


def document(id: str, *contained: dict[str, Any], **content: Any) -> dict[str, Any]:
    """Its subject and authors are what it contains, a patient and others."""
    of = {each["resourceType"]: {"reference": f"#{each['id']}"} for each in contained}
    authors = [{"reference": f"#{each['id']}"} for each in contained if each["resourceType"] != "Patient"]
    own = {"subject": of["Patient"]} if "Patient" in of else {}
    own |= {"author": authors} if authors else {}
    attachment = {"content": [{"attachment": {"title": "x"}}]}
    return {"resourceType": "DocumentReference", "id": id, "status": "current", "contained": list(contained)} | (
        attachment | own | content
    )


def practitioner(family: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": "author", "name": [{"family": family, "given": ["Zoë"]}], **content}


PATIENT = {
    "resourceType": "Patient",
    "id": "patient",
    "identifier": [{"system": CODES, "value": "p1", "type": {"coding": [{"system": "http://v2", "code": "MR"}]}}],
    "gender": "female",
    "birthDate": "1970-05-02",
    "managingOrganization": {"reference": "Organization/north"},
    "maritalStatus": {"coding": [{"system": CODES, "code": "M"}]},
}
DEVICE = {"resourceType": "Device", "id": "device", "url": "http://maker.example/devices/7", "status": "active"}
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "role",
    "organization": {"reference": "Organization/north"},
    "code": [{"coding": [{"system": CODES, "code": "doctor"}], "text": "Family doctor"}],
}


@pytest.fixture(scope="module")
def archive(store: Indexed) -> str:
    """A tenant with what stands in each other, and what refers to resources of their own."""
    tenant = next(TENANTS)
    put(
        store,
        tenant,
        {"resourceType": "Organization", "id": "north", "name": "Northern"},
        {"resourceType": "Patient", "id": "own", "gender": "male", "birthDate": "1980"},
        practitioner("Own") | {"id": "own"},
        document("inside", PATIENT, practitioner("Größe", active=True)),
        document("device", DEVICE, {**PATIENT, "gender": "male", "birthDate": "1990"}),
        document("role", ROLE),
        document("outside", subject={"reference": "Patient/own"}, author=[{"reference": "Practitioner/own"}]),
        document("nobody"),
    )
    return tenant


@pytest.mark.parametrize(
    ("name", "value", "ids"),
    [
        ("author.family", "grosse", ["inside"]),
        ("author:Practitioner.family", "gro", ["inside"]),
        ("author:Practitioner.family:exact", "Größe", ["inside"]),
        ("author:Practitioner.family:contains", "OSS", ["inside"]),
        ("author:Practitioner.given", "zoe", ["inside", "outside"]),
        ("author:Practitioner.active", "true", ["inside"]),
        ("author:Practitioner.active:missing", "true", ["outside"]),
        ("author:Practitioner.active:missing", "false", ["inside"]),
        ("author:Practitioner.name", "own,grosse", ["inside", "outside"]),
        ("author:Patient.family", "grosse", []),
        ("author:Device.url:below", "http://maker.example", ["device"]),
        ("author:Device.url", "http://maker.example/devices/7", ["device"]),
        ("author:PractitionerRole.role:text", "family", ["role"]),
        ("author:PractitionerRole.organization", "Organization/north", ["role"]),
        ("author:PractitionerRole.organization.name", "north", ["role"]),
        ("author:PractitionerRole.organization.name:missing", "true", []),
        ("subject.identifier", f"{CODES}|p1", ["inside", "device"]),
        ("subject:Patient.identifier:ofType", "http://v2|MR|p1", ["inside", "device"]),
        ("patient.identifier", "p1", ["inside", "device"]),
        ("subject:Patient.gender", "male", ["device", "outside"]),
        ("subject:Patient.gender", "http://hl7.org/fhir/administrative-gender|female", ["inside"]),
        ("subject:Patient.gender:not", "male", ["inside"]),
        ("subject:Patient.birthdate", "lt1975", ["inside"]),
        ("subject:Patient.birthdate", "ge1980", ["device", "outside"]),
        ("subject:Patient.organization.name", "north", ["inside", "device"]),
        ("subject:Patient._id", "patient", []),
        ("_filter", 'author.family sw "gro" or subject.birthdate gt 1985', ["inside", "device"]),
    ],
)
def test_chains(store: Indexed, archive: str, name: str, value: str, ids: list[str]) -> None:
    """What is contained is found as what is referred to is."""
    assert ids == found(store, archive, (name, value), type="DocumentReference")


@pytest.mark.parametrize(
    ("type", "pair", "ids"),
    [
        ("Practitioner", ("family", "grosse"), []),
        ("Practitioner", ("family", "own"), ["own"]),
        ("Patient", ("gender", "male,female"), ["own"]),
        ("Patient", ("_has:DocumentReference:subject:author.family", "grosse"), []),
        ("Organization", ("_has:PractitionerRole:organization:role", "doctor"), []),
        ("DocumentReference", ("subject:missing", "false"), ["inside", "device", "outside"]),
    ],
)
def test_nothing_else(store: Indexed, archive: str, type: str, pair: tuple[str, str], ids: list[str]) -> None:
    """What is contained is no match by itself, and refers to nothing by itself."""
    assert ids == found(store, archive, pair, type=type)


def test_updated_and_deleted(store: Indexed, tenant: str) -> None:
    """What a resource contained before is not found any more."""
    put(store, tenant, document("u", practitioner("Before")), document("d", practitioner("Before")))
    put(store, tenant, document("u", practitioner("After")))
    delete(store, tenant, ("DocumentReference", "d"))

    assert ([], ["u"]) == (
        found(store, tenant, ("author.family", "before"), type="DocumentReference"),
        found(store, tenant, ("author.family", "after"), type="DocumentReference"),
    )


def test_of_many(store: Indexed, tenant: str) -> None:
    """A resource that contains more than any has rows of the first alone, and is found nevertheless."""
    many = [{**practitioner(f"Name{number}"), "id": f"a{number}"} for number in range(1500)]
    put(store, tenant, document("many", *many))

    entries = extract(document("many", *many), base="")
    assert _MOST_ROWS == sum("#" in row[0] for rows in entries.values() for row in rows)
    assert (["many"], ["many"]) == (
        found(store, tenant, ("status", "current"), type="DocumentReference"),
        found(store, tenant, ("author:Practitioner.family", "name7"), type="DocumentReference"),
    )
