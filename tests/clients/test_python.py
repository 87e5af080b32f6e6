"""Python's FHIR clients walk the main job as their documentation has it: fhirpy, sync and async, and fhirclient."""

from __future__ import annotations

import asyncio
from typing import Any

import fhirclient.models.bundle
import fhirclient.models.documentreference
import fhirclient.models.patient
import requests
from fhirclient.client import FHIRClient
from fhirpy import AsyncFHIRClient, SyncFHIRClient

from tests.client import extension
from tests.services.server import Server

MRN = "urn:clients:mrn"


def transaction(name: str) -> dict[str, Any]:
    """A Binary without its bytes and the document that shows it."""
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "description": name,
        "content": [
            {"attachment": {"contentType": "text/plain", "url": "urn:uuid:0b1cf1f5-6c40-4d2c-8a0b-1fd0e5d6a001"}}
        ],
    }
    binary = {"resourceType": "Binary", "contentType": "text/plain"}
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:0b1cf1f5-6c40-4d2c-8a0b-1fd0e5d6a001",
                "resource": binary,
                "request": {"method": "POST", "url": "Binary"},
            },
            {"resource": document, "request": {"method": "POST", "url": "DocumentReference"}},
        ],
    }


def uploaded(response: dict[str, Any]) -> str:
    """The id of the Binary in a transaction's response, its bytes put by its URL."""
    binary = response["entry"][0]["resource"]
    assert requests.put(extension(binary["_data"], "presignedPutUrl"), data=b"bytes", timeout=60).ok
    return str(binary["id"])


def test_fhirpy(server: Server) -> None:
    """Create, read, change, page, find on conditions, patch, delete, a transaction, and bytes."""
    client = SyncFHIRClient(server.base)
    for number in range(5):
        made = client.resource(
            "Patient", identifier=[{"system": MRN, "value": f"py{number}"}], name=[{"family": "Fhirpy"}]
        )
        made.save()
    found = client.resources("Patient").search(family="Fhirpy").limit(2).fetch_all()
    one = client.resources("Patient").search(identifier=f"{MRN}|py1").get()
    one["active"] = True
    one.save()
    one.patch(gender="female")
    same, created = (
        client.resources("Patient")
        .search(identifier=f"{MRN}|py1")
        .update(client.resource("Patient", **{**one.serialize(), "gender": "other"}))
    )
    mrn = {"identifier": [{"system": MRN, "value": "py-once"}]}
    once = [
        client.resources("Patient").search(identifier=f"{MRN}|py-once").get_or_create(client.resource("Patient", **mrn))
        for _ in range(2)
    ]
    history = client.execute(f"Patient/{one.id}/_history", method="get")
    response = client.execute("", data=transaction("by fhirpy"), method="post")
    binary_id = uploaded(response)
    binary = client.reference("Binary", binary_id).to_resource()
    made.delete()

    assert (5, 4) == (len(found), client.resources("Patient").search(family="Fhirpy").count())
    assert (once[0][0].id, [True, False]) == (once[1][0].id, [was_made for _, was_made in once])
    assert (one.id, False, True, "other") == (same.id, created, same["active"], same["gender"])
    assert ["4", "3", "2", "1"] == [each["resource"]["meta"]["versionId"] for each in history["entry"]]
    assert b"bytes" == requests.get(extension(binary["_data"], "presignedGetUrl"), timeout=60).content


def test_fhirpy_async(server: Server) -> None:
    """The same client in an event loop, twenty requests at a time."""

    async def walk() -> tuple[int, int, str]:
        client = AsyncFHIRClient(server.base)
        made = [client.resource("Patient", name=[{"family": "Fhirpyasync"}]) for _ in range(20)]
        await asyncio.gather(*(each.save() for each in made))
        found = await client.resources("Patient").search(family="Fhirpyasync").limit(7).fetch_all()
        await asyncio.gather(*(each.delete() for each in made[:5]))
        left = await client.resources("Patient").search(family="Fhirpyasync").count()
        response = await client.execute("", data=transaction("by fhirpy async"), method="post")
        return len(found), left, uploaded(response)

    found, left, binary_id = asyncio.run(walk())
    raw = requests.get(f"{server.base}/Binary/{binary_id}", headers={"Accept": "text/plain"}, timeout=60)

    assert (20, 15, b"bytes") == (found, left, raw.content)


def test_fhirclient(server: Server) -> None:
    """The SMART client reads the CapabilityStatement, and takes nothing that its models do not know."""
    smart = FHIRClient(settings={"app_id": "tests", "api_base": server.base})
    smart.prepare()
    patient = fhirclient.models.patient.Patient(
        {
            "resourceType": "Patient",
            "name": [{"family": "Fhirclient"}],
            "photo": [{"contentType": "image/png", "data": "iVBORw0="}],
        }
    )
    made = patient.create(smart.server)
    read = fhirclient.models.patient.Patient.read(made["id"], smart.server)
    read.gender = "other"
    read.update(smart.server)
    search = fhirclient.models.patient.Patient.where({"family": "Fhirclient", "gender": "other"})
    bundle = fhirclient.models.bundle.Bundle(transaction("by fhirclient"))
    response = smart.server.post_json("", bundle.as_json()).json()
    uploaded(response)
    document_id = response["entry"][1]["response"]["location"].split("/")[-3]
    document = fhirclient.models.documentreference.DocumentReference.read(document_id, smart.server)
    link = next(each for each in document.content[0].attachment.extension if each.url.endswith("presignedGetUrl"))

    assert [read.id] == [each.id for each in search.perform_resources_iter(smart.server)]
    assert b"bytes" == requests.get(link.valueUrl, timeout=60).content
    read.delete(smart.server)
    assert [] == list(search.perform_resources_iter(smart.server))
