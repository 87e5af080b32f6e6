"""$expunge and $erase over HTTP: https://hl7.org/fhir/R4/operations.html"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests

from tests.client import Client, diagnostics, extension
from tests.services.server import Server, StartServer

ALL = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "expungeDeletedResources", "valueBoolean": True},
        {"name": "expungePreviousVersions", "valueBoolean": True},
    ],
}
PREVIOUS, DELETED = "$expunge?expungePreviousVersions=true", "$expunge?expungeDeletedResources=true"


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.base)


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "active": True, **more}


def document(subject: str, **attachment: Any) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{subject}"},
        "content": [{"attachment": {"contentType": "text/plain", **attachment}}],
    }


def data(content: bytes) -> str:
    return base64.b64encode(content).decode()


def values(response: requests.Response, name: str) -> list[Any]:
    """The values of an answered parameter."""
    assert 200 == response.status_code, response.text
    found = [each for each in response.json()["parameter"] if each["name"] == name]
    return [next((value for key, value in each.items() if key != "name"), None) for each in found]


def erased(response: requests.Response) -> dict[str, set[str]]:
    """By type the ids that went."""
    return {parts[0]["valueCode"]: {each["valueId"] for each in parts[2:]} for parts in values(response, "erased")}


def eventually(status: Callable[[], int], wanted: int, *, seconds: float = 20, pause: float = 0.2) -> int:
    """The status, as soon as it is the one that is waited for."""
    until = time.monotonic() + seconds
    while (found := status()) != wanted and time.monotonic() < until:
        time.sleep(pause)
    return found


def url_of(binary: dict[str, Any]) -> str:
    return str(extension(binary["_data"], "presignedGetUrl"))


def versions(client: Client, path: str) -> list[str]:
    entries = client.fhir(f"{path}/_history").get("entry", [])
    return [each["response"]["etag"] for each in entries]


def test_previous_versions(client: Client) -> None:
    """The current version stays, and the history has only that; the limit takes the oldest."""
    id = client.create(patient())["id"]
    for active in (False, True, False):
        client.update(patient(id=id, active=active))

    first = client("POST", f"Patient/{id}/{PREVIOUS}&limit=1")
    middle = versions(client, f"Patient/{id}")
    rest = client("POST", f"Patient/{id}/$expunge", json=ALL)

    assert ([1], [2]) == (values(first, "count"), values(rest, "count"))
    assert ['W/"4"', 'W/"3"', 'W/"2"'] == middle
    assert (['W/"4"'], 404) == (versions(client, f"Patient/{id}"), client.get(f"Patient/{id}/_history/3").status_code)


def test_deleted(client: Client) -> None:
    """What is not deleted is refused; of what is the deletion stays, and it can be made again."""
    id = client.create(patient())["id"]
    refused = client("POST", f"Patient/{id}/{DELETED}")
    client("DELETE", f"Patient/{id}")

    done = client("POST", f"Patient/{id}/{DELETED}")

    assert (409, [1]) == (refused.status_code, values(done, "count"))
    assert f"Patient/{id} is not deleted" in diagnostics(refused)[0]
    assert (410, ['W/"2"']) == (client.get(f"Patient/{id}").status_code, versions(client, f"Patient/{id}"))
    assert "3" == client.update(patient(id=id))["meta"]["versionId"]


def test_bytes_of_previous_versions(client: Client) -> None:
    """The bytes of a Binary's old version go out of S3, those of its current one stay."""
    old = client("POST", "Binary", data=b"old", headers={"Content-Type": "text/plain"}).json()
    path = f"Binary/{old['id']}"
    client("PUT", path, data=b"new", headers={"Content-Type": "text/plain"})
    urls = [url_of(client.fhir(f"{path}/_history/{number}")) for number in (1, 2)]

    done = client("POST", f"{path}/{PREVIOUS}")

    assert [1] == values(done, "count")
    assert 404 == eventually(lambda: requests.get(urls[0], timeout=30).status_code, 404)
    assert (200, b"new") == (requests.get(urls[1], timeout=30).status_code, client.get(path, Accept="*/*").content)


def test_bytes_of_a_document(client: Client) -> None:
    """With a version go the bytes that came in it, unless a later version has them too."""
    subject = client.create(patient())["id"]
    made = client.create(document(subject, data=data(b"first")))
    client.update({**document(subject, data=data(b"second")), "id": made["id"]})
    path = f"DocumentReference/{made['id']}"
    linked = [client.fhir(f"{path}/_history/{number}?_attachments=url") for number in (1, 2)]
    urls = [each["content"][0]["attachment"]["url"] for each in linked]

    done = client("POST", f"{path}/{PREVIOUS}")

    assert [1] == values(done, "count")
    assert 404 == eventually(lambda: requests.get(urls[0], timeout=30).status_code, 404)
    assert b"second" == requests.get(urls[1], timeout=30).content


def test_referred_binary(client: Client) -> None:
    """A Binary that something refers to keeps its versions."""
    binary = client.uploaded(b"letter")
    owner = client.create(document(client.create(patient())["id"], url=f"Binary/{binary}"))

    refused = client("POST", f"Binary/{binary}/{PREVIOUS}")

    assert 409 == refused.status_code
    assert [f"Binary/{binary} is referred to by DocumentReference/{owner['id']}: its versions stay."] == diagnostics(
        refused
    )


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Patient/nobody/$expunge?expungePreviousVersions=true", None, 404),
        ("Patient/nobody/$expunge", None, 400),
        ("Patient/nobody/$expunge?expungePreviousVersions=maybe", None, 400),
        ("Patient/nobody/$expunge?expungePreviousVersions=true&limit=0", None, 400),
        ("Patient/nobody/$expunge?expungeEverything=true", None, 400),
        ("Patient/nobody/$expunge", patient(), 400),
        ("Patient/nobody/$expunge", {"resourceType": "Parameters", "parameter": [{"valueBoolean": True}]}, 422),
        ("Patient/nobody/$expunge", {"resourceType": "Parameters", "parameter": {}}, 400),
        ("Patient/nobody/$erase", None, 404),
        ("Patient/nobody/$erase?now=true", None, 400),
        ("Observation/nobody/$erase", None, 404),
    ],
)
def test_refused(client: Client, path: str, body: Any, status: int) -> None:
    """What cannot be done is told."""
    refused = client("POST", path, json=body) if body is not None else client("POST", path)

    assert (status, "OperationOutcome") == (refused.status_code, refused.json()["resourceType"])


def test_erase(client: Client) -> None:
    """The compartment goes with the bytes of all versions, what was deleted before too, and the report tells it."""
    id = client.create(patient(photo=[{"contentType": "image/png", "data": data(b"photo")}]))["id"]
    photo = client.fhir(f"Patient/{id}?_attachments=url")["photo"][0]["url"]
    letter = client.create(document(id, data=data(b"letter")))["id"]
    url = client.fhir(f"DocumentReference/{letter}?_attachments=url")["content"][0]["attachment"]["url"]
    client.update({**document(id, data=data(b"second")), "id": letter})
    gone = client.create({**document(id), "description": "deleted"})["id"]
    client("DELETE", f"DocumentReference/{gone}")
    secured = client(
        "POST", "Binary", data=b"x", headers={"Content-Type": "text/plain", "X-Security-Context": f"Patient/{id}"}
    ).json()["id"]

    done = client("POST", f"Patient/{id}/$erase")
    again = client("POST", f"Patient/{id}/$erase")

    went = erased(done)
    assert {"Patient": {id}, "DocumentReference": {letter, gone}} == {
        name: went[name] for name in went if name != "Binary"
    }
    assert (4, True) == (len(went["Binary"]), secured in went["Binary"])
    assert ([4], [len(b"photo" + b"letter" + b"second" + b"x")]) == (values(done, "objects"), values(done, "bytes"))
    assert [410] * 3 == [
        client.get(path).status_code for path in (f"Patient/{id}", f"DocumentReference/{letter}", f"Binary/{secured}")
    ]
    assert [404, 404] == [
        eventually(lambda each=each: requests.get(each, timeout=30).status_code, 404) for each in (photo, url)
    ]
    assert ({}, [0], [0]) == (erased(again), values(again, "versions"), values(again, "objects"))


def test_kept(client: Client) -> None:
    """What is another patient's too is kept and named, as is a Binary that something outside refers to."""
    id, other = client.create(patient())["id"], client.create(patient())["id"]
    linked = client.create(patient(link=[{"other": {"reference": f"Patient/{id}"}, "type": "seealso"}]))["id"]
    shared = client.uploaded(b"shared")
    client.create(document(id, url=f"Binary/{shared}"))
    kept = client.create(document(other, url=f"Binary/{shared}"))["id"]
    members = [{"entity": {"reference": f"Patient/{each}"}} for each in (id, other)]
    group = client.create({"resourceType": "Group", "type": "person", "actual": True, "member": members})["id"]
    focus = {"resourceType": "Task", "status": "draft", "intent": "order", "focus": {"reference": f"Patient/{id}"}}
    task = client.create(focus)["id"]

    done = client("POST", f"Patient/{id}/$erase")

    reasons = {parts[0]["valueReference"]["reference"]: parts[1]["valueString"] for parts in values(done, "kept")}
    assert {
        f"Patient/{linked}": "It is another patient's record.",
        f"Group/{group}": f"It is in the compartment of Patient/{other} too.",
        f"Binary/{shared}": f"DocumentReference/{kept} refers to it.",
    } == reasons
    assert {f"Task/{task}", f"Group/{group}", f"Patient/{linked}"} == {
        each["reference"] for each in values(done, "referrer")
    }
    assert b"shared" == client.get(f"Binary/{shared}", Accept="*/*").content


def test_a_version_from_before(client: Client) -> None:
    """A document that was filed under the patient and is another's now loses that version alone."""
    id, other = client.create(patient())["id"], client.create(patient())["id"]
    made = client.create(document(id))["id"]
    client.update({**document(other), "id": made})

    done = client("POST", f"Patient/{id}/$erase")

    assert ({made}, [2]) == (erased(done)["DocumentReference"], values(done, "versions"))
    assert ['W/"2"'] == versions(client, f"DocumentReference/{made}")


def test_killed(start_server: StartServer, fresh_postgresql_url: str) -> None:
    """kill -9 in the middle of it: once a server runs again it goes on, though nobody asks."""
    server = start_server(database=fresh_postgresql_url)
    client = Client(server.base)
    id = client.create(patient())["id"]
    made = [client.create(document(id, data=data(f"letter {number}".encode())))["id"] for number in range(20)]
    read = client.fhir(f"DocumentReference?subject=Patient/{id}&_attachments=url")["entry"]
    paths = [each["resource"]["content"][0]["attachment"]["url"] for each in read]

    def ask() -> None:
        with suppress(requests.RequestException):
            client("POST", f"Patient/{id}/$erase")

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: client.get(f"DocumentReference/{min(made)}").status_code, 410, pause=0.002)
    server.kill()
    asking.join()
    again = start_server(database=fresh_postgresql_url, port=server.url.rpartition(":")[2], **_same_s3(paths[0]))
    client = Client(again.base)

    gone = eventually(lambda: client.get(f"Patient/{id}").status_code, 410, seconds=60)
    bytes_left = {eventually(lambda each=each: requests.get(each, timeout=30).status_code, 404) for each in paths}

    assert 410 == gone
    assert {404} == bytes_left
    assert {410} == {client.get(f"DocumentReference/{each}").status_code for each in made}


def _same_s3(url: str) -> dict[str, int]:
    """So that what was signed before the kill leads to the same S3 after it."""
    return {"s3_embedded_port": int(url.split("/")[2].rpartition(":")[2])}
