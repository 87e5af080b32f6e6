"""Bytes in a transaction: they come with the document that links them, and go where it fails."""

from __future__ import annotations

import base64
import sqlite3
import time
from typing import Any

import pytest
import requests

from tests.bundles import Json, entry, new_url, transact, transacted
from tests.client import Client, diagnostics, extension
from tests.services.server import Server, StartServer

DATA = base64.b64encode(b"Letter.").decode()
BINARY = {"resourceType": "Binary", "contentType": "text/plain"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def document(url: str, **attachment: Any) -> Json:
    attached = {"contentType": "text/plain", "url": url, **attachment}
    return {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attached}]}


def test_a_document_and_its_bytes_come_together(fhir: Client) -> None:
    """A Binary with data: the link becomes Binary/<id>, and its size, hash and URL are answered."""
    url = new_url()
    made = transacted(
        fhir,
        entry("POST", "DocumentReference", document(url)),
        entry("POST", "Binary", {**BINARY, "data": DATA}, full_url=url),
    )

    attachment = made[0]["resource"]["content"][0]["attachment"]
    binary = made[1]["resource"]["id"]
    assert (f"Binary/{binary}", 7) == (attachment["url"], attachment["size"])
    assert b"Letter." == requests.get(extension(attachment, "presignedGetUrl"), timeout=60).content
    assert b"Letter." == fhir.get(f"Binary/{binary}").content
    refused = fhir("DELETE", f"Binary/{binary}")
    assert (409, f"DocumentReference/{made[0]['resource']['id']}" in refused.text) == (refused.status_code, True)


def test_bytes_may_come_later(fhir: Client) -> None:
    """A Binary without data: its PUT URL is in its entry, and the document is complete once it was used."""
    url = new_url()
    made = transacted(
        fhir,
        entry("POST", "Binary", BINARY, full_url=url),
        entry("POST", "DocumentReference", document(url, size=7)),
        entry(
            "POST", "DocumentReference", {**document(""), "content": [{"attachment": {"contentType": "text/plain"}}]}
        ),
        Prefer="attachments=upload",
    )

    put = extension(made[0]["resource"]["_data"], "presignedPutUrl")
    assert put == extension(made[1]["resource"]["content"][0]["attachment"], "presignedPutUrl")
    assert extension(made[2]["resource"]["content"][0]["attachment"], "presignedPutUrl") is not None
    assert 200 == requests.put(put, data=b"Letter.", timeout=60).status_code
    found = fhir.fhir(f"DocumentReference/{made[1]['resource']['id']}")
    assert "available" == extension(found["content"][0]["attachment"], "uploadState")


def test_a_binary_on_conditions(fhir: Client) -> None:
    """Created and updated where its criteria say so; what links it gets the one that is there."""
    url, tag = new_url(), {"meta": {"tag": [{"code": "once"}]}}
    entries = [
        entry("POST", "Binary", {**BINARY, **tag, "data": DATA}, full_url=url, ifNoneExist="_tag=once"),
        entry("PUT", "Binary?_tag=again", {**BINARY, "meta": {"tag": [{"code": "again"}]}, "data": DATA}),
        entry("POST", "DocumentReference", document(url)),
    ]

    first, second = (transact(fhir, *entries).json()["entry"] for _ in range(2))

    assert ["201 Created"] * 3 == [each["response"]["status"] for each in first]
    assert ["200 OK", "200 OK", "201 Created"] == [each["response"]["status"] for each in second]
    assert [each["fullUrl"] for each in first[:2]] == [each["fullUrl"] for each in second[:2]]
    linked = fhir.fhir(second[2]["fullUrl"].removeprefix(f"{fhir.base}/"))["content"][0]["attachment"]["url"]
    assert second[0]["fullUrl"].endswith(linked)


def test_a_hash_that_is_not_that_of_the_bytes_is_refused(fhir: Client) -> None:
    """Also where the bytes are those of another entry."""
    url = new_url()
    refused = transact(
        fhir,
        entry("POST", "Binary", {**BINARY, "data": DATA}, full_url=url),
        entry("POST", "DocumentReference", document(url, size=8)),
    )

    assert (422, ["Bundle.entry[1].resource: Attachment.size is '8', but that of the bytes is '7'."]) == (
        refused.status_code,
        diagnostics(refused),
    )
    assert ["Bundle.entry[1].resource"] == refused.json()["issue"][0]["expression"]


def test_a_failed_transaction_leaves_nothing_behind(start_server: StartServer) -> None:
    """No resource, no object in S3, and no blob that is not given up."""
    server = start_server()
    fhir = Client(server.base)
    url = new_url()
    refused = transact(
        fhir,
        entry("POST", "Binary", {**BINARY, "data": DATA}, full_url=url),
        entry("POST", "DocumentReference", document(url)),
        entry(
            "POST",
            "DocumentReference",
            {**document(""), "content": [{"attachment": {"contentType": "text/plain", "data": DATA}}]},
        ),
        entry("GET", "Patient/never-there"),
    )

    assert 404 == refused.status_code
    assert [0, 0] == [fhir.fhir(f"{type}?_summary=count")["total"] for type in ("Binary", "DocumentReference")]
    with sqlite3.connect(server.data / "metadata.sqlite") as database:
        until = time.monotonic() + 20
        while (states := database.execute("SELECT state, count(*) FROM blob GROUP BY state").fetchall()) != [
            ("deleted", 2)
        ]:
            assert time.monotonic() < until, states
            time.sleep(0.2)
