"""The Postman collection: it walks the main job against a real server, and looks at every answer."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_blob.api.fhir import ROUTES, Router
from tests.services import newman
from tests.services.server import ROOT, Server

POSTMAN = ROOT / "postman"
COLLECTION = json.loads((POSTMAN / "fhir_blob.postman_collection.json").read_text())
ENVIRONMENTS = sorted(path.name for path in POSTMAN.glob("*.postman_environment.json"))


def requests_in(folder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in folder["item"]:
        if "item" in item:
            yield from requests_in(item)
        else:
            yield item


@pytest.mark.parametrize("item", list(requests_in(COLLECTION)), ids=lambda item: item["name"])
def test_request_is_tested(item: dict[str, Any]) -> None:
    """Every request has a test of its status."""
    script = "\n".join(line for event in item["event"] if event["listen"] == "test" for line in event["script"]["exec"])

    assert "pm.response.to.have.status(" in script


def test_every_interaction() -> None:
    """The collection has each interaction and operation of the server."""
    router = Router(ROUTES)
    asked = [item["request"] for item in requests_in(COLLECTION)]
    paths = [(each["method"], "/".join(each["url"].get("path", ()))) for each in asked if is_to_fhir(each)]
    walked = {router.find(method, re.sub(r"{{\w+}}", "some", path))[0] for method, path in paths}

    assert {interaction for _, methods in ROUTES for interaction, _ in methods.values()} == walked


def is_to_fhir(asked: dict[str, Any]) -> bool:
    """Not to S3, or by a URL that an answer held."""
    return isinstance(asked["url"], dict) and asked["url"]["host"] == ["{{base_url}}"]


def test_environments() -> None:
    """One environment for each deployment, all with the same variables and none with a secret."""
    known = {name: json.loads((POSTMAN / name).read_text())["values"] for name in ENVIRONMENTS}

    assert ["dev", "local", "prod"] == [name.partition(".")[0] for name in ENVIRONMENTS]
    assert [["server_url", "base_url", "token", "user", "password"]] * 3 == [
        [each["key"] for each in values] for values in known.values()
    ]
    assert {""} == {each["value"] for values in known.values() for each in values if each["type"] == "secret"}


def test_walk(server: Server) -> None:
    """newman runs the whole collection, and no test in it fails."""
    done = subprocess.run(
        [
            newman(),
            "run",
            POSTMAN / "fhir_blob.postman_collection.json",
            "--environment",
            POSTMAN / "local.postman_environment.json",
            "--env-var",
            f"server_url={server.url}",
            "--color",
            "off",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
