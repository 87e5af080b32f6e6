"""profiles/: valid R4, in agreement with the code, and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import requests
from fhir.resources.R4B import get_fhir_model_class

from fhir_blob.fhir import attachments, profiles
from fhir_blob.fhir.validation import validate
from fhir_blob.store import BlobState
from tests import documented
from tests.services.server import ROOT, Server

RESOURCES = profiles.resources()
EXTENSIONS = [each for each in RESOURCES if each["resourceType"] == "StructureDefinition"]
SCHEMAS = sorted(path.name for path in (ROOT / "profiles").glob("*.schema.json"))


def name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}-{resource['id']}"


@pytest.mark.parametrize("resource", RESOURCES, ids=name)
def test_valid(resource: dict[str, Any]) -> None:
    """Each resource is valid R4 by our own rules."""
    assert () == tuple(validate(resource))


@pytest.mark.parametrize("resource", RESOURCES, ids=name)
def test_valid_elsewhere(resource: dict[str, Any]) -> None:
    """fhir.resources reads each resource and gives the same one back."""
    model = get_fhir_model_class(resource["resourceType"])

    assert resource == json.loads(model.model_validate(resource).model_dump_json())


@pytest.mark.parametrize("resource", RESOURCES, ids=name)
def test_place(resource: dict[str, Any]) -> None:
    """A file is named after its type and id, and so is the canonical URL."""
    path = ROOT / "profiles" / f"{name(resource)}.json"

    assert path.exists()
    assert f"https://fhir-blob.org/{resource['resourceType']}/{resource['id']}" == resource["url"]


def test_extensions() -> None:
    """Each extension that answers carry is defined, and no other."""
    assert attachments.EXTENSIONS == {each["url"] for each in EXTENSIONS}


@pytest.mark.parametrize("definition", EXTENSIONS, ids=name)
def test_snapshot(definition: dict[str, Any]) -> None:
    """The snapshot says what the differential says, of every element that Extension has."""
    snapshot = {each["id"]: each for each in definition["snapshot"]["element"]}

    said = {
        each["id"]: {key: snapshot[each["id"]][key] for key in each} for each in definition["differential"]["element"]
    }

    assert {each["id"]: each for each in definition["differential"]["element"]} == said
    assert ["Extension", "Extension.id", "Extension.extension", "Extension.url", "Extension.value[x]"] == list(snapshot)


@pytest.mark.parametrize("definition", EXTENSIONS, ids=name)
def test_fixed_url(definition: dict[str, Any]) -> None:
    """Extension.url is fixed to the canonical URL of the definition."""
    fixed = [each["fixedUri"] for each in definition["snapshot"]["element"] if "fixedUri" in each]

    assert [definition["url"]] == fixed


def test_states() -> None:
    """The CodeSystem has each state that a client can see; what is being erased is not seen."""
    (states,) = (each for each in RESOURCES if each["resourceType"] == "CodeSystem")

    assert set(get_args(BlobState)) - {"deleting", "deleted"} == {each["code"] for each in states["concept"]}
    assert len(states["concept"]) == states["count"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schema(schema: str) -> None:
    """Each JSON Schema is one."""
    document = profiles.read(schema)

    jsonschema.Draft202012Validator.check_schema(document)
    assert f"https://fhir-blob.org/schema/{schema.removesuffix('.schema.json')}" == document["$id"]


def test_settings_schema() -> None:
    """The schema of the settings file has each setting with its type, default, choices and meaning."""
    assert documented.schema() == profiles.read("settings.schema.json")


def test_folder(tmp_path: Path) -> None:
    """A folder's FHIR resources are read in the order of their names, its JSON Schemas are not."""
    (tmp_path / "b.json").write_text('{"resourceType": "ValueSet", "id": "second"}')
    (tmp_path / "a.json").write_text('{"resourceType": "CodeSystem", "id": "first"}')
    (tmp_path / "c.schema.json").write_text('{"type": "object"}')

    assert ["first", "second"] == [each["id"] for each in profiles.resources(tmp_path)]


@pytest.mark.parametrize("resource", RESOURCES, ids=name)
def test_served(server: Server, resource: dict[str, Any]) -> None:
    """Each is found at its type by its url, as it stands in the file."""
    found = requests.get(f"{server.base}/{resource['resourceType']}", {"url": resource["url"]}, timeout=30).json()

    (entry,) = found["entry"]
    assert resource == {key: value for key, value in entry["resource"].items() if key != "meta"}
