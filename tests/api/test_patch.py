"""PATCH as clients see it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.client import Client, diagnostics, extension
from tests.services.server import Server

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
FHIR_JSON = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def patch(fhir: Client, path: str, *operations: dict[str, Any], **headers: str) -> Any:
    return fhir("PATCH", path, json=list(operations), headers=JSON_PATCH | headers)


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def test_json_patch(fhir: Client) -> None:
    """200 with the next version, which history calls a PATCH."""
    id = fhir.create({"resourceType": "Patient", "birthDate": "1970-01-01"})["id"]

    done = patch(fhir, f"Patient/{id}", replace("/birthDate", "1970-01-02"))

    assert (200, 'W/"2"') == (done.status_code, done.headers["ETag"])
    assert "1970-01-02" == done.json()["birthDate"] == fhir.fhir(f"Patient/{id}")["birthDate"]
    assert ["PATCH", "POST"] == [entry["request"]["method"] for entry in fhir.fhir(f"Patient/{id}/_history")["entry"]]
    assert [id] == [entry["resource"]["id"] for entry in fhir.fhir(f"Patient?_id={id}&birthdate=1970-01-02")["entry"]]


@pytest.mark.parametrize("content_type", ["application/fhir+json", "application/json"])
def test_fhirpath_patch(fhir: Client, content_type: str) -> None:
    """Parameters are a FHIRPath Patch."""
    id = fhir.create({"resourceType": "Patient", "name": [{"family": "Before"}]})["id"]
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.name.where(family = 'Before').family"},
        {"name": "value", "valueString": "After"},
    ]
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}

    done = fhir("PATCH", f"Patient/{id}", json=parameters, headers={"Content-Type": content_type})

    assert (200, [{"family": "After"}]) == (done.status_code, done.json()["name"])


def test_merge_patch(fhir: Client) -> None:
    """An object is merged, by application/json too."""
    id = fhir.create({"resourceType": "Patient", "active": True, "gender": "male"})["id"]

    first = fhir("PATCH", f"Patient/{id}", json={"gender": "other"}, headers=MERGE_PATCH)
    second = fhir("PATCH", f"Patient/{id}", json={"active": None})

    assert ("other", True) == (first.json()["gender"], first.json()["active"])
    assert "active" not in second.json()


def test_decimals_keep_their_digits(fhir: Client) -> None:
    """1.00 stays 1.00 where something beside it is patched, and 2.50 comes as 2.50."""
    observation = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    id = fhir("POST", "Observation", data=observation, headers=FHIR_JSON).json()["id"]
    operations = (
        b'[{"op":"replace","path":"/status","value":"amended"},'
        b'{"op":"add","path":"/component","value":[{"code":{"text":"y"},"valueQuantity":{"value":2.50}}]}]'
    )

    text = fhir("PATCH", f"Observation/{id}", data=operations, headers=JSON_PATCH).text

    assert '"value":1.00}' in text and '"value":2.50}' in text


@pytest.mark.parametrize(
    ("operation", "status", "sentence"),
    [
        (replace("/gender", "mal"), 422, "Patient.gender: 'mal' is not one of female, male, other, unknown."),
        (replace("/id", "other"), 422, "The patch changes the id of Patient/{id}."),
        ({"op": "remove", "path": "/id"}, 422, "The patch changes the id of Patient/{id}."),
        (replace("/resourceType", "Group"), 422, "The patch makes something else of the Patient."),
        (replace("", []), 422, "The patch makes something else of the Patient."),
        (
            {"op": "test", "path": "/gender", "value": "female"},
            409,
            "Operation [0] (test '/gender') failed: something else is there.",
        ),
    ],
)
def test_refusals(fhir: Client, operation: dict[str, Any], status: int, sentence: str) -> None:
    """What cannot be done, or would not be valid, is refused with a sentence, and nothing is changed."""
    id = fhir.create({"resourceType": "Patient", "gender": "male"})["id"]

    refused = patch(fhir, f"Patient/{id}", operation)

    assert (status, [sentence.format(id=id)]) == (refused.status_code, diagnostics(refused))
    assert "1" == fhir.fhir(f"Patient/{id}")["meta"]["versionId"]


def test_every_problem_of_the_outcome_is_listed(fhir: Client) -> None:
    """422 names each element by its FHIRPath."""
    id = fhir.create({"resourceType": "Patient"})["id"]

    refused = fhir("PATCH", f"Patient/{id}", json={"shoe": 42, "birthDate": "soon"}, headers=MERGE_PATCH)

    assert 422 == refused.status_code
    assert ["Patient.birthDate", "Patient.shoe"] == sorted(issue["expression"][0] for issue in refused.json()["issue"])


def test_meta_is_the_servers(fhir: Client) -> None:
    """A patched versionId or lastUpdated does not count; a tag does."""
    id = fhir.create({"resourceType": "Patient"})["id"]

    done = patch(
        fhir,
        f"Patient/{id}",
        replace("/meta/versionId", "99"),
        replace("/meta/lastUpdated", "1970-01-01T00:00:00Z"),
        {"op": "add", "path": "/meta/tag", "value": [{"code": "patched"}]},
    )

    assert ("2", [{"code": "patched"}]) == (done.json()["meta"]["versionId"], done.json()["meta"]["tag"])
    assert done.json()["meta"]["lastUpdated"] > "2020"


def test_what_is_not_there(fhir: Client) -> None:
    """404 for an id that never was, 410 for a deleted one, 415 for what is no patch."""
    id = fhir.create({"resourceType": "Patient"})["id"]
    no_patch = fhir("PATCH", f"Patient/{id}", data=b"<diff/>", headers={"Content-Type": "application/xml-patch+xml"})
    fhir("DELETE", f"Patient/{id}")

    statuses = [patch(fhir, path).status_code for path in ("Patient/never-was", f"Patient/{id}")]

    assert [404, 410] == statuses
    assert 415 == no_patch.status_code
    assert "application/json-patch+json" in no_patch.headers["Accept-Patch"]


def test_if_match(fhir: Client) -> None:
    """412 for another version than the current one."""
    id = fhir.create({"resourceType": "Patient"})["id"]
    change = {"op": "add", "path": "/active", "value": True}

    done, refused = (patch(fhir, f"Patient/{id}", change, **{"If-Match": 'W/"1"'}) for _ in range(2))

    assert (200, 412) == (done.status_code, refused.status_code)
    assert [f'If-Match is W/"1", but Patient/{id} is W/"2".'] == diagnostics(refused)


def test_attachments_stay_what_they_were(fhir: Client) -> None:
    """Beside a patched element a photo keeps its bytes and its form; a patched one goes to S3 as any other."""
    data = "cGhvdG8="
    made = fhir.create({"resourceType": "Patient", "photo": [{"contentType": "image/png", "data": data}]})
    path = f"Patient/{made['id']}"

    beside = patch(fhir, path, {"op": "add", "path": "/active", "value": True})
    more = patch(
        fhir, path, {"op": "add", "path": "/photo/-", "value": {"contentType": "image/png", "data": "bW9yZQ=="}}
    )

    assert made["photo"] == beside.json()["photo"]
    assert [data, "bW9yZQ=="] == [photo["data"] for photo in more.json()["photo"]]
    signed = fhir.get(f"{path}?_attachments=extension").json()["photo"]
    assert all(extension(photo, "presignedGetUrl") for photo in signed)
    stored = fhir.get(f"{path}?_attachments=reference").text
    assert "X-Amz" not in stored and '"data"' not in stored


def test_an_answer_can_be_patched_in(fhir: Client) -> None:
    """A presigned URL, and the extensions of answers, come back as what they were."""
    id = fhir.uploaded(b"bytes", "image/png")
    made = fhir.create({"resourceType": "Patient", "photo": [{"url": f"Binary/{id}"}]})
    path = f"Patient/{made['id']}"
    answered = fhir.get(f"{path}?_attachments=url").json()["photo"]

    patch(fhir, path, replace("/photo", answered))

    assert f"Binary/{id}" == fhir.get(f"{path}?_attachments=reference").json()["photo"][0]["url"]
    assert "X-Amz" not in fhir.get(f"{path}?_attachments=reference").text


def test_a_binary_can_be_patched(fhir: Client) -> None:
    """Its security context changes, its bytes stay."""
    id = fhir("POST", "Binary", data=b"stays", headers={"Content-Type": "text/plain"}).json()["id"]
    change = {"op": "add", "path": "/securityContext", "value": {"reference": "Patient/x"}}

    done = patch(fhir, f"Binary/{id}", change, Accept="application/fhir+json")

    assert (200, {"reference": "Patient/x"}) == (done.status_code, done.json()["securityContext"])
    assert b"stays" == fhir.get(f"Binary/{id}", Accept="text/plain").content
    methods = [entry["request"]["method"] for entry in fhir.fhir(f"Binary/{id}/_history")["entry"]]
    assert ["PATCH", "POST"] == methods


def test_eight_patch_at_once(fhir: Client) -> None:
    """Without If-Match every patch is done, on what the others made."""
    id = fhir.create({"resourceType": "Patient", "identifier": [{"value": "first"}]})["id"]

    def add(number: int) -> int:
        change = {"op": "add", "path": "/identifier/-", "value": {"value": str(number)}}
        return int(patch(Client(fhir.base), f"Patient/{id}", change).status_code)

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(add, range(24)))

    assert [200] * 24 == statuses
    values = {each["value"] for each in fhir.fhir(f"Patient/{id}")["identifier"]}
    assert {"first", *map(str, range(24))} == values


def test_the_capability_statement_tells(fhir: Client) -> None:
    """Its patchFormats are taken, and every type can be patched."""
    statement = fhir.fhir("metadata")
    id = fhir.create({"resourceType": "Patient"})["id"]
    bodies = {
        "application/json-patch+json": "[]",
        "application/merge-patch+json": "{}",
        "application/fhir+json": '{"resourceType":"Parameters"}',
    }

    statuses = [
        fhir("PATCH", f"Patient/{id}", data=bodies[each], headers={"Content-Type": each}).status_code
        for each in statement["patchFormat"]
    ]

    assert [200] * 3 == statuses
    assert all({"code": "patch"} in each["interaction"] for each in statement["rest"][0]["resource"])


def test_json_patch_of_numbers(fhir: Client) -> None:
    """A test asks what a number is worth and leaves its digits; an operation that is two at once is refused."""
    coded = {"code": {"text": "a"}, "status": "final", "valueQuantity": {"value": 0}}
    body = json.dumps({"resourceType": "Observation", **coded}).replace('"value": 0', '"value": 1.00')
    id = fhir("POST", "Observation", data=body, headers=FHIR_JSON).json()["id"]
    tested = b'[{"op":"test","path":"/valueQuantity/value","value":1.0},{"op":"add","path":"/language","value":"en"}]'
    twice = b'[{"op":"add","path":"/language","value":"de","op":"remove"}]'

    done = fhir("PATCH", f"Observation/{id}", data=tested, headers=JSON_PATCH)
    refused = fhir("PATCH", f"Observation/{id}", data=twice, headers=JSON_PATCH)

    assert (200, True) == (done.status_code, '"value":1.00' in fhir.get(f"Observation/{id}").text)
    assert (400, ["The key 'op' stands twice in one object."]) == (refused.status_code, diagnostics(refused))
