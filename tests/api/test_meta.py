"""$meta, $meta-add and $meta-delete over HTTP: https://hl7.org/fhir/R4/resource-operation-meta.html"""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.client import Client
from tests.services.server import Server

RED = {"system": "urn:colour", "code": "red", "display": "Red"}
BLUE = {"system": "urn:colour", "code": "blue"}
PROFILE = "http://example.org/StructureDefinition/tidy"


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.base)


def given(**meta: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def meta_of(response: requests.Response) -> dict[str, Any]:
    assert 200 == response.status_code, response.text
    (parameter,) = response.json()["parameter"]
    assert "return" == parameter["name"]
    return dict(parameter["valueMeta"])


def made(client: Client, **meta: Any) -> str:
    return str(client.create({"resourceType": "Basic", "code": {"text": "x"}, "meta": meta})["id"])


def test_add(client: Client) -> None:
    """What is new is added, in a new version; what is there already is not doubled, and makes none."""
    id = made(client, tag=[RED])
    added = meta_of(client("POST", f"Basic/{id}/$meta-add", json=given(tag=[RED, BLUE], profile=[PROFILE])))

    again = meta_of(client("POST", f"Basic/{id}/$meta-add", json=given(tag=[BLUE])))

    assert ([RED, BLUE], [PROFILE], "2") == (added["tag"], added["profile"], added["versionId"])
    assert again == added == client.fhir(f"Basic/{id}")["meta"]
    assert 1 == client.fhir(f"Basic?_id={id}&_tag=urn:colour|blue&_profile={PROFILE}")["total"]


def test_delete(client: Client) -> None:
    """A tag is known by its system and code; what the resource has beside meta stays."""
    id = made(client, tag=[RED, BLUE], security=[RED])
    deleted = {"system": "urn:colour", "code": "red"}

    meta = meta_of(client("POST", f"Basic/{id}/$meta-delete", json=given(tag=[deleted], security=[deleted])))

    assert ([BLUE], None, "2") == (meta.get("tag"), meta.get("security"), meta["versionId"])
    assert {"text": "x"} == client.fhir(f"Basic/{id}")["code"]
    assert 0 == client.fhir(f"Basic?_id={id}&_tag=urn:colour|red")["total"]


def test_versions(client: Client) -> None:
    """Each version has its own meta."""
    id = made(client, tag=[RED])
    client("POST", f"Basic/{id}/$meta-delete", json=given(tag=[RED]))

    metas = [meta_of(client.get(f"Basic/{id}{part}/$meta")) for part in ("", "/_history/1")]

    assert [("2", None), ("1", [RED])] == [(meta["versionId"], meta.get("tag")) for meta in metas]


def test_all(client: Client) -> None:
    """Of a type, and of everything, all that is in use."""
    made(client, tag=[{"system": "urn:of-basic", "code": "1"}], profile=["http://example.org/of-basic"])

    metas = [meta_of(client.get(path)) for path in ("Basic/$meta", "$meta", "Substance/$meta")]

    found = [{"system": "urn:of-basic", "code": "1"} in meta.get("tag", []) for meta in metas]
    assert ([True, True, False], [True, True, False]) == (
        found,
        ["http://example.org/of-basic" in meta.get("profile", []) for meta in metas],
    )


def test_if_match(client: Client) -> None:
    """A version that is not current is refused."""
    id = made(client, tag=[BLUE])

    refused = client("POST", f"Basic/{id}/$meta-add", json=given(tag=[RED]), headers={"If-Match": 'W/"7"'})

    assert (412, "1") == (refused.status_code, client.fhir(f"Basic/{id}")["meta"]["versionId"])


def test_binary(client: Client) -> None:
    """A Binary keeps its bytes."""
    id = client.uploaded(b"letter")

    meta = meta_of(client("POST", f"Binary/{id}/$meta-add", json=given(tag=[RED])))

    assert ([RED], b"letter") == (meta["tag"], client.get(f"Binary/{id}", Accept="*/*").content)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Basic/nobody/$meta-add", given(tag=[RED]), 404),
        ("Basic/nobody/$meta", None, 404),
        ("Basic/nobody/$meta-add", {"resourceType": "Parameters"}, 400),
        ("Basic/nobody/$meta-add", given(versionId="7"), 400),
        ("Basic/nobody/$meta-add", given(tag=[{"code": 7}]), 422),
        ("Basic/nobody/$meta-add", {"resourceType": "Basic"}, 400),
    ],
)
def test_refused(client: Client, path: str, body: Any, status: int) -> None:
    """What cannot be done is told."""
    refused = client("POST", path, **({} if body is None else {"json": body}))

    assert (status, "OperationOutcome") == (refused.status_code, refused.json()["resourceType"])
