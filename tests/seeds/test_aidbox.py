"""Aidbox's S3 example, word for word: AwsAccount, an upload by file name, a photo with the bare URL."""

from __future__ import annotations

import pytest
import requests

from tests.client import Client, extension
from tests.services.server import Server

DOOR = "aws/storage/default/fhir-blob"


@pytest.fixture(scope="module")
def aidbox(server: Server) -> Client:
    return Client(server.url)


def test_the_account_never_tells_its_secret(aidbox: Client) -> None:
    """PUT as YAML or JSON, GET, DELETE; what is missing is said, what is secret is not."""
    yaml = (
        "id: my-account\naccess-key-id: ugQPrWcctDQuzdAzufXh\nsecret-access-key: bUqJWhOimudbEGUHj3ind\n"
        "region: us-east-1\nhost: 127.0.0.1:9000\npath-style: true\nuse-ssl: false\n"
    )
    expected = {
        "resourceType": "AwsAccount",
        "id": "my-account",
        "access-key-id": "ugQPrWcctDQuzdAzufXh",
        "region": "us-east-1",
        "host": "127.0.0.1:9000",
        "path-style": True,
        "use-ssl": False,
    }

    made = aidbox("PUT", "AwsAccount/my-account", data=yaml)
    refused = aidbox("PUT", "AwsAccount/other", json={"secret-access-key": "hidden", "region": "us-east-1"})

    assert (201, expected) == (made.status_code, made.json())
    assert expected == aidbox.get("AwsAccount/my-account").json()
    assert 422 == refused.status_code and "access-key-id is missing" in refused.text and "hidden" not in refused.text
    assert 200 == aidbox("DELETE", "AwsAccount/my-account").status_code
    assert 404 == aidbox.get("AwsAccount/my-account").status_code


@pytest.mark.parametrize("body", [{"json": {"filename": "a.png"}}, {"data": "filename: b.png"}])
def test_upload_and_download_by_name(aidbox: Client, body: dict[str, object]) -> None:
    """POST gives a PUT URL of that name, GET one to read from."""
    name = "a.png" if "json" in body else "b.png"
    url = aidbox("POST", DOOR, **body).json()["url"]
    assert f"/fhir-blob/{name}?" in url
    assert 404 == aidbox.get(f"{DOOR}/{name}").status_code
    assert 200 == requests.put(url, data=b"picture", timeout=60).status_code

    got = requests.get(aidbox.get(f"{DOOR}/{name}?expiration=60").json()["url"], timeout=60)

    assert (b"picture", "image/png") == (got.content, got.headers["Content-Type"])


def test_the_photo_of_the_example(aidbox: Client, server: Server) -> None:
    """Patient and DocumentReference name the object by its bare URL, and get it signed."""
    fhir = Client(server.base)
    url = aidbox("POST", DOOR, json={"filename": "John_Smith_20250226.png"}).json()["url"]
    requests.put(url, data=b"picture", timeout=60)
    bare = url.split("?")[0]
    attachment = {"url": bare, "title": "John_Smith_20250226.png", "contentType": "image/png"}

    patient = fhir.create(
        {"resourceType": "Patient", "name": [{"given": ["John"], "family": "Smith"}], "photo": [attachment]}
    )
    document = fhir.create(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": {**attachment, "url": url}}],
        }
    )

    for found in (patient["photo"][0], document["content"][0]["attachment"]):
        assert bare == found["url"]
        assert b"picture" == requests.get(extension(found, "presignedGetUrl"), timeout=60).content
    assert 409 == aidbox("DELETE", f"{DOOR}/John_Smith_20250226.png").status_code


def test_expiration(aidbox: Client) -> None:
    """Up to seven days, which is as long as S3 takes a signature; more, nothing or no number is refused."""
    longest = aidbox("POST", f"{DOOR}?expiration=604800", json={"filename": "long.txt"}).json()["url"]
    refused = ["604801", "0", "-1", "1.5", "week"]

    statuses = [aidbox("POST", f"{DOOR}?expiration={each}", json={"filename": "x"}).status_code for each in refused]

    assert "X-Amz-Expires=604800&" in longest
    assert [400] * len(refused) == statuses
    assert 400 == aidbox.get(f"{DOOR}/long.txt?expiration=604801").status_code


def test_delete(aidbox: Client) -> None:
    """The file is gone for good, and a URL comes that erases what stands under its name."""
    requests.put(aidbox("POST", DOOR, json={"filename": "gone.txt"}).json()["url"], data=b"x", timeout=60)

    url = aidbox("DELETE", f"{DOOR}/gone.txt").json()["url"]

    assert requests.delete(url, timeout=60).status_code in (200, 204)
    assert 404 == aidbox.get(f"{DOOR}/gone.txt").status_code


def test_nothing_of_unknown_origin_is_signed(aidbox: Client, server: Server) -> None:
    """A URL into the bucket that nobody uploaded here stays a URL; the server's own keys are refused."""
    fhir = Client(server.base)
    url = aidbox("POST", DOOR, json={"filename": "known.txt"}).json()["url"].split("?")[0].replace("known", "unknown")

    assert [{"url": url}] == fhir.create({"resourceType": "Patient", "photo": [{"url": url}]})["photo"]
    assert 404 == aidbox.get(f"{DOOR}/unknown.txt").status_code
    for name in ("objects/x", "pending/x", "", "../x", "a\n"):
        assert 400 == aidbox("POST", DOOR, json={"filename": name}).status_code, name
    assert 404 == aidbox("POST", "aws/storage/nobody/b", json={"filename": "x"}).status_code
