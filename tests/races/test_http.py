"""Races and lost parts, as clients see them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.client import Client, extension
from tests.services.server import Server, StartServer

ROUNDS = 25


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def test_one_of_sixteen_replaces_a_version(fhir: Client) -> None:
    """Of sixteen PUTs with the same If-Match one is 200, the others 412."""
    made = fhir.create({"resourceType": "Patient"})

    def put(_: int) -> int:
        return Client(fhir.base)("PUT", f"Patient/{made['id']}", json=made, headers={"If-Match": 'W/"1"'}).status_code

    with ThreadPoolExecutor(16) as threads:
        assert [200] + [412] * 15 == sorted(threads.map(put, range(16)))


def test_many_make_the_same_id(fhir: Client) -> None:
    """Eight PUTs to an id that is not there: one makes it, the others are its next versions."""

    def put(_: int) -> int:
        return Client(fhir.base)("PUT", "Patient/race", json={"resourceType": "Patient", "id": "race"}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert [200] * 7 + [201] == sorted(threads.map(put, range(8)))
    versions = [entry["resource"]["meta"]["versionId"] for entry in fhir.fhir("Patient/race/_history")["entry"]]
    assert [str(number) for number in range(8, 0, -1)] == versions


def test_a_reference_to_what_is_being_deleted(fhir: Client) -> None:
    """Either the Binary goes and the reference is refused, or it stays because of the reference."""
    for number in range(ROUNDS):
        id = fhir("POST", "Binary", data=b"bytes", headers={"Content-Type": "image/png"}).json()["id"]
        patient = {"resourceType": "Patient", "photo": [{"url": f"Binary/{id}"}]}
        calls = [("DELETE", f"Binary/{id}", None), ("POST", "Patient", patient)]
        with ThreadPoolExecutor(2) as threads:
            ordered = calls if number % 2 else calls[::-1]
            answers = list(threads.map(lambda call: Client(fhir.base)(call[0], call[1], json=call[2]), ordered))
        by_method = {answer.request.method: answer.status_code for answer in answers}

        assert by_method in ({"DELETE": 204, "POST": 409}, {"DELETE": 409, "POST": 201})
        assert (200 if by_method["DELETE"] == 409 else 410) == fhir.get(f"Binary/{id}").status_code


def test_two_completers(fhir: Client) -> None:
    """Both hear the truth, and the bytes are those that were uploaded."""
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    requests.put(extension(binary["_data"], "presignedPutUrl"), data=b"once", timeout=60)

    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda _: Client(fhir.base)("POST", f"Binary/{binary['id']}/$complete").status_code, range(4))
        )

    assert set(answers) <= {200, 202} and 200 in answers
    assert b"once" == fhir.get(f"Binary/{binary['id']}", Accept="image/png").content


def test_s3_away(start_server: StartServer, tmp_path: Path) -> None:
    """503 with Retry-After in bounded time for what needs the bytes; all else goes on, and nothing is half-written."""
    server = start_server(s3_timeout=2)
    fhir = Client(server.base)
    children = psutil.Process(server.process.pid).children()
    next(each for each in children if each.name() == "weed").kill()
    before = fhir.fhir("Binary/_history")["total"]

    began = time.monotonic()
    refused = [
        fhir("POST", "Binary", data=b"x", headers={"Content-Type": "image/png"}),
        fhir("POST", "Patient", json={"resourceType": "Patient", "photo": [{"contentType": "x/y", "data": "aGk="}]}),
    ]

    assert time.monotonic() - began < 30
    assert [503, 503] == [answer.status_code for answer in refused]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert 201 == fhir("POST", "Patient", json={"resourceType": "Patient"}).status_code
    assert 201 == fhir("POST", "Binary", json={"resourceType": "Binary", "contentType": "x/y"}).status_code
    assert before + 1 == fhir.fhir("Binary/_history?_attachments=reference")["total"]
    assert 503 == requests.get(f"{server.url}/health/ready", timeout=60).status_code
