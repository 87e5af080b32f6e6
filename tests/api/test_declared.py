"""What the CapabilityStatement declares is done, and what it does not declare is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_blob.api.fhir import ROUTES
from fhir_blob.fhir.definitions import definitions
from tests.client import Client
from tests.services.server import Server

PATIENT = {"resourceType": "Patient", "active": True}
STRICT = {"Prefer": "handling=strict"}
JSON_PATCH = [{"op": "replace", "path": "/active", "value": False}]
FHIRPATH_PATCH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Patient.active"}],
        }
    ],
}
PATCHES: dict[str, Any] = {
    "application/json-patch+json": JSON_PATCH,
    "application/merge-patch+json": {"active": None},
    "application/fhir+json": FHIRPATH_PATCH,
}
# (method, path, status) of each operation; {id} is that of a Patient, {binary} that of a Binary with bytes.
OPERATIONS = {
    "complete": ("POST", "Binary/{binary}/$complete", 200),
    "presigned-url": ("GET", "Binary/{binary}/$presigned-url", 200),
    "everything": ("GET", "Patient/{id}/$everything", 200),
    "docref": ("GET", "DocumentReference/$docref?patient={id}", 200),
    "validate": ("GET", "Patient/{id}/$validate", 200),
    "meta": ("GET", "Patient/{id}/$meta", 200),
    "meta-add": ("POST", "Patient/{id}/$meta-add", 400),  # there, but not without a meta
    "meta-delete": ("POST", "Patient/{id}/$meta-delete", 400),
    "expunge": ("POST", "Patient/{id}/$expunge?expungePreviousVersions=true", 200),
    "erase": ("POST", "Patient/{id}/$erase", 200),
    "reindex": ("POST", "$reindex?type=Basic", 202),
}
# An owner of each compartment, and one that has none.
OWNERS: tuple[dict[str, Any], ...] = (
    PATIENT,
    {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}},
    {"resourceType": "RelatedPerson", "patient": {"display": "Ada"}},
    {"resourceType": "Practitioner", "active": True},
    {"resourceType": "Device", "lotNumber": "1"},
    {"resourceType": "Organization", "active": True},
)


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.base)


@pytest.fixture(scope="module")
def statement(client: Client) -> dict[str, Any]:
    return client.fhir("metadata")


@pytest.fixture(scope="module")
def rest(statement: dict[str, Any]) -> dict[str, Any]:
    return dict(statement["rest"][0])


def resources(rest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By type what is declared of it."""
    return {each["type"]: each for each in rest["resource"]}


def bundle(type: str) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": type,
        "entry": [{"request": {"method": "GET", "url": "Patient?_count=1"}}],
    }


def test_types(client: Client, rest: dict[str, Any]) -> None:
    """Each type of R4 is there, with the same interactions, and has a history."""
    declared = resources(rest)
    without = [type for type in declared if not client.get(f"{type}/_history?_count=1").ok]

    assert (list(definitions().types), []) == (list(declared), without)
    assert 1 == len({str(each["interaction"]) for each in declared.values()})


def test_interactions(client: Client, rest: dict[str, Any]) -> None:
    """Each interaction with a type is done."""
    id = client.create(PATIENT)["id"]
    path, patch = f"Patient/{id}", {"Content-Type": "application/json-patch+json"}
    asked: dict[str, tuple[str, str, dict[str, Any], int]] = {
        "create": ("POST", "Patient", {"json": PATIENT}, 201),
        "read": ("GET", path, {}, 200),
        "vread": ("GET", f"{path}/_history/1", {}, 200),
        "update": ("PUT", path, {"json": {**PATIENT, "id": id}}, 200),
        "patch": ("PATCH", path, {"json": JSON_PATCH, "headers": patch}, 200),
        "history-instance": ("GET", f"{path}/_history", {}, 200),
        "history-type": ("GET", "Patient/_history?_count=1", {}, 200),
        "search-type": ("GET", "Patient?_count=1", {}, 200),
        "delete": ("DELETE", path, {}, 204),
    }
    answered = {code: client(method, path, **given).status_code for code, (method, path, given, _) in asked.items()}

    assert {code: row[3] for code, row in asked.items()} == answered
    assert set(asked) == {each["code"] for each in resources(rest)["Patient"]["interaction"]}


def test_system_interactions(client: Client, rest: dict[str, Any]) -> None:
    """Each interaction with the whole server is done."""
    answered = {
        "transaction": client("POST", "", json=bundle("transaction")).status_code,
        "batch": client("POST", "", json=bundle("batch")).status_code,
        "history-system": client.get("_history?_count=1").status_code,
        "search-system": client.get("?_type=Patient&_count=1").status_code,
    }

    assert {each["code"]: 200 for each in rest["interaction"]} == answered


def test_formats(client: Client, statement: dict[str, Any]) -> None:
    """Each format is answered, and taken."""
    id = client.create(PATIENT)["id"]
    for format in statement["format"]:
        read = client("GET", f"Patient/{id}", params={"_format": format})
        kind = read.headers["Content-Type"].split(";")[0]
        sent = client("POST", "Patient", data=read.content, headers={"Content-Type": kind})

        assert ("json" in format, 200, 201) == ("json" in kind, read.status_code, sent.status_code)


def test_patch_formats(client: Client, statement: dict[str, Any]) -> None:
    """Each form of a patch is done."""
    paths = {kind: f"Patient/{client.create(PATIENT)['id']}" for kind in PATCHES}
    answered = {
        kind: client("PATCH", path, json=PATCHES[kind], headers={"Content-Type": kind}).status_code
        for kind, path in paths.items()
    }

    assert dict.fromkeys(statement["patchFormat"], 200) == answered


def test_conditions(client: Client, rest: dict[str, Any]) -> None:
    """What is declared of conditions is so: a delete is of one resource, and a read may know what it would get."""
    declared = resources(rest)["Patient"]
    twins = [client.create({**PATIENT, "identifier": [{"system": "urn:declared", "value": "1"}]}) for _ in range(2)]
    one = f"_id={twins[0]['id']}"
    known = {"If-None-Match": 'W/"1"'}
    statuses = (
        client("GET", f"Patient/{twins[0]['id']}", headers=known).status_code,
        client("POST", "Patient", json=PATIENT, headers={"If-None-Exist": one}).status_code,
        client("PUT", f"Patient?{one}", json=twins[0] | {"active": False}).status_code,
        client("DELETE", "Patient?identifier=urn:declared|1").status_code,
        client("DELETE", f"Patient?{one}").status_code,
        client("PUT", "Patient/declared", json={**PATIENT, "id": "declared"}).status_code,
    )

    assert ("full-support", True, True, "single", True) == tuple(
        declared[name]
        for name in ("conditionalRead", "conditionalCreate", "conditionalUpdate", "conditionalDelete", "updateCreate")
    )
    assert (304, 200, 200, 412, 204, 201) == statuses


def test_conditions_on_a_binary(client: Client, rest: dict[str, Any]) -> None:
    """A Binary is written on conditions as every type is."""
    declared, binary = resources(rest)["Binary"], {"resourceType": "Binary", "contentType": "text/plain"}

    made = [
        client("PUT", "Binary?_id=declared", json={**binary, "id": "declared"}).status_code,
        client("POST", "Binary", json=binary, headers={"If-None-Exist": "_id=declared"}).status_code,
    ]

    assert (True, True, [201, 200]) == (declared["conditionalCreate"], declared["conditionalUpdate"], made)


def test_operations(client: Client, rest: dict[str, Any]) -> None:
    """Each operation is done, and each that has a route is declared."""
    declared = [each["name"] for part in (rest, *rest["resource"]) for each in part.get("operation", ())]
    names = {"id": client.create(PATIENT)["id"], "binary": client.uploaded(b"bytes")}
    answered = {
        name: client(method, path.format(**names)).status_code for name, (method, path, _) in OPERATIONS.items()
    }
    routed = {interaction[1:] for _, by in ROUTES for interaction, _ in by.values() if interaction.startswith("$")}

    assert {name: status for name, (_, _, status) in OPERATIONS.items()} == answered
    assert set(OPERATIONS) == routed == set(declared)


def test_compartments(client: Client, rest: dict[str, Any]) -> None:
    """Each compartment is searched, whole and by type; other types have none."""
    searched = []
    for owner in OWNERS:
        path = f"{owner['resourceType']}/{client.create(owner)['id']}"
        if all(client.get(f"{path}/{below}").ok for below in ("*", "Observation")):
            searched.append(owner["resourceType"].lower())

    assert [each.rpartition("/")[2] for each in rest["compartment"]] == searched


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "Patience", {}, 404),
        ("GET", "Patient?shoe-size=43", STRICT, 400),
        ("GET", "Patient?_include=Patient:shoe-size", STRICT, 400),
        ("GET", "Patient/1/$unheard-of", {}, 404),
        ("POST", "$unheard-of", {}, 404),
        ("GET", "Patient?_format=text/turtle", {}, 406),
        ("PATCH", "Patient/1", {"Content-Type": "text/plain"}, 415),
        ("DELETE", "", {}, 405),
    ],
)
def test_undeclared(client: Client, method: str, path: str, headers: dict[str, str], status: int) -> None:
    """What is not declared is refused, and the answer says why."""
    refused = client(method, path, headers=headers)

    assert (status, "OperationOutcome") == (refused.status_code, refused.json()["resourceType"])
