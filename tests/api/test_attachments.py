"""Patient.photo and every other Attachment: answered as the client wants it, written back as it was."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import requests

from tests.client import Client, diagnostics, extension
from tests.services.server import Server

FACE = b"not really a png"
DATA = base64.b64encode(FACE).decode()
SHA1 = base64.b64encode(hashlib.sha1(FACE).digest()).decode()
MODES = ("default", "extension", "url", "inline", "reference")


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


@pytest.fixture(scope="module")
def face(fhir: Client) -> str:
    return fhir.uploaded(FACE, "image/png")


def photo(fhir: Client, path: str, mode: str = "default") -> dict[str, Any]:
    return dict(fhir.fhir(f"{path}?_attachments={mode}")["photo"][0])


def test_modes_of_a_link(fhir: Client, face: str) -> None:
    """A link gets the extension; other modes replace the url, or bring the data, or sign nothing."""
    patient = fhir.create({"resourceType": "Patient", "photo": [{"url": f"Binary/{face}", "title": "x"}]})
    found = {mode: photo(fhir, f"Patient/{patient['id']}", mode) for mode in MODES}

    assert f"Binary/{face}" == found["default"]["url"] == found["reference"]["url"] == found["inline"]["url"]
    assert FACE == requests.get(extension(found["default"], "presignedGetUrl"), timeout=60).content
    assert FACE == requests.get(found["url"]["url"], timeout=60).content
    assert DATA == found["inline"]["data"]
    assert "extension" not in found["reference"]
    assert (len(FACE), SHA1) == (found["default"]["size"], found["default"]["hash"])


def test_data_comes_back_as_data(fhir: Client) -> None:
    """An Attachment with data is stored in S3, and answered with its data."""
    patient = fhir.create({"resourceType": "Patient", "photo": [{"contentType": "image/png", "data": DATA}]})
    found = {mode: photo(fhir, f"Patient/{patient['id']}", mode) for mode in MODES}

    assert DATA == found["default"]["data"] == found["inline"]["data"]
    assert "url" not in found["default"]
    assert found["extension"]["url"].endswith("/_history/1") and "data" not in found["extension"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["link", "data", "versioned"])
def test_what_was_read_can_be_written_back(fhir: Client, face: str, mode: str, kind: str) -> None:
    """GET and PUT in any mode change nothing but the version; no URL that expires is stored."""
    sent = {
        "link": {"url": f"Binary/{face}", "title": "x"},
        "data": {"contentType": "image/png", "data": DATA, "title": "x"},
        "versioned": {"url": f"{fhir.base}/Binary/{face}/_history/1", "title": "x"},
    }[kind]
    patient = fhir.create({"resourceType": "Patient", "photo": [sent]})
    path = f"Patient/{patient['id']}"
    before = photo(fhir, path, "reference"), photo(fhir, path).get("data")

    fhir.update(fhir.fhir(f"{path}?_attachments={mode}"))

    assert before == (photo(fhir, path, "reference"), photo(fhir, path).get("data"))
    assert "X-Amz" not in fhir.get(f"{path}?_attachments=reference").text


def test_attachments_of_any_depth(fhir: Client, face: str) -> None:
    """Backbone elements, contained resources, and extensions, also those of a primitive."""
    link = {"contentType": "image/png", "url": f"Binary/{face}"}
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "_status": {"extension": [{"url": "http://x.example/a", "valueAttachment": dict(link)}]},
        "contained": [{"resourceType": "Patient", "id": "p", "photo": [dict(link)]}],
        "subject": {"reference": "#p"},
        "content": [
            {"attachment": {**link, "extension": [{"url": "http://x.example/b", "valueAttachment": dict(link)}]}}
        ],
    }
    read = fhir.fhir(f"DocumentReference/{fhir.create(document)['id']}")

    found = [
        read["_status"]["extension"][0]["valueAttachment"],
        read["contained"][0]["photo"][0],
        read["content"][0]["attachment"],
        read["content"][0]["attachment"]["extension"][0]["valueAttachment"],
    ]
    assert [FACE] * 4 == [requests.get(extension(each, "presignedGetUrl"), timeout=60).content for each in found]


def test_a_url_for_every_empty_attachment(fhir: Client) -> None:
    """`Prefer: attachments=upload` offers one; without it an empty Attachment says that there is no content."""
    patient = {"resourceType": "Patient", "photo": [{"contentType": "image/png", "size": len(FACE), "hash": SHA1}]}
    made = fhir.create(patient, Prefer="attachments=upload")
    path = f"Patient/{made['id']}"

    requests.put(extension(made["photo"][0], "presignedPutUrl"), data=FACE, timeout=60)

    assert FACE == requests.get(extension(photo(fhir, path), "presignedGetUrl"), timeout=60).content
    assert "extension" not in fhir.create(patient)["photo"][0]


def test_other_bytes_than_declared_are_rejected(fhir: Client) -> None:
    """The upload is refused when it is completed, and the Attachment says so."""
    patient = {"resourceType": "Patient", "photo": [{"contentType": "image/png", "size": 3}]}
    made = fhir.create(patient, Prefer="attachments=upload")
    requests.put(extension(made["photo"][0], "presignedPutUrl"), data=FACE, timeout=60)

    binary = made["photo"][0]["url"].split("/")[1]
    refused = fhir("POST", f"Binary/{binary}/$complete")

    assert 422 == refused.status_code
    assert [f"The upload for Binary/{binary} was rejected: 3 bytes were declared, 16 came."] == diagnostics(refused)
    assert "rejected" == extension(photo(fhir, f"Patient/{made['id']}"), "uploadState")


@pytest.mark.parametrize(("name", "value"), [("size", 4), ("hash", "AAAA")])
def test_a_wrong_declaration_is_refused(fhir: Client, face: str, name: str, value: Any) -> None:
    """422 for data and for a link whose size or hash is not that of the bytes."""
    for attachment in ({"contentType": "image/png", "data": DATA}, {"url": f"Binary/{face}"}):
        refused = fhir("POST", "Patient", json={"resourceType": "Patient", "photo": [{**attachment, name: value}]})

        assert 422 == refused.status_code, refused.text
        assert str(value) in diagnostics(refused)[0]


def test_urls_are_stable_inside_a_window(fhir: Client, face: str) -> None:
    """Two reads give the same URL, so that browsers cache the photo."""
    patient = fhir.create({"resourceType": "Patient", "photo": [{"url": f"Binary/{face}"}]})

    first, second = (photo(fhir, f"Patient/{patient['id']}", "url")["url"] for _ in range(2))

    assert first == second


def test_an_answer_with_urls_is_never_304(fhir: Client, face: str) -> None:
    """What is signed changes with time, though the version does not."""
    patient = fhir.create({"resourceType": "Patient", "photo": [{"url": f"Binary/{face}"}]})

    again = fhir("GET", f"Patient/{patient['id']}", headers={"If-None-Match": 'W/"1"'})

    assert 200 == again.status_code


def test_a_binary_in_use_is_kept(fhir: Client) -> None:
    """409 names who refers to it; without them it goes."""
    id = fhir.uploaded(b"in use")
    patient = fhir.create({"resourceType": "Patient", "photo": [{"url": f"Binary/{id}"}]})

    refused = fhir("DELETE", f"Binary/{id}")

    expected = f"Binary/{id} is referred to by Patient/{patient['id']}: delete that first."
    assert (409, [expected]) == (refused.status_code, diagnostics(refused))
    fhir("DELETE", f"Patient/{patient['id']}")
    assert 204 == fhir("DELETE", f"Binary/{id}").status_code
    assert (
        409 == fhir("POST", "Patient", json={"resourceType": "Patient", "photo": [{"url": f"Binary/{id}"}]}).status_code
    )


def test_a_binary_made_for_a_slot_ends_with_its_owner(fhir: Client) -> None:
    """It was never the client's own."""
    made = fhir.create({"resourceType": "Patient", "photo": [{"contentType": "image/png", "data": DATA}]})
    url = photo(fhir, f"Patient/{made['id']}", "extension")["url"]

    fhir("DELETE", f"Patient/{made['id']}")

    assert 410 == fhir.get(url.split("/_history")[0]).status_code


def test_foreign_urls_stay_as_they_are(fhir: Client) -> None:
    """Nothing is signed that this server does not know."""
    sent = [{"contentType": "image/png", "url": "https://elsewhere.example/Binary/1"}, {"url": "Binary/unknown"}]

    made = fhir.create({"resourceType": "Patient", "photo": sent})

    assert sent == made["photo"]
