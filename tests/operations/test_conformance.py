"""The server's conformance resources in its store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhir_blob import app
from fhir_blob.fhir import profiles
from fhir_blob.interactions import Services
from fhir_blob.operations import conformance
from fhir_blob.settings import Settings, SettingsError
from fhir_blob.store.sql import migrate


def services(tmp_path: Path, folder: str = "") -> Services:
    settings = Settings(data=tmp_path, profiles=folder, s3_bucket="never-asked", s3_endpoint="http://127.0.0.1:9")
    migrate(settings.database_url)
    return app.wire(settings)


def test_keep(tmp_path: Path) -> None:
    """All are stored once; where nothing changed nothing is written."""
    there = services(tmp_path)

    assert [len(profiles.resources()), 0] == [conformance.keep(there), conformance.keep(there)]


def test_changed_file(tmp_path: Path) -> None:
    """A file that was changed becomes the next version of its resource."""
    file = tmp_path / "profiles" / "ValueSet-colours.json"
    file.parent.mkdir()
    there = services(tmp_path, str(file.parent))
    colours = {"resourceType": "ValueSet", "id": "colours", "status": "draft"}
    for status in ("draft", "active"):
        file.write_text(json.dumps({**colours, "status": status}))
        conformance.keep(there)

    with there.store.read("default") as reader:
        version = reader.current("ValueSet", "colours")

    assert version is not None
    assert (2, "active") == (version.version, json.loads(version.body)["status"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "A file in FHIR_BLOB_PROFILES is not JSON"),
        ('{"resourceType": "ValueSet"}', "a resourceType and an id"),
        ('{"resourceType": "ValueSet", "id": "colours"}', "ValueSet/colours cannot be stored"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, sentence: str) -> None:
    """A file that is no valid resource stops the start with a sentence."""
    (tmp_path / "bad.json").write_text(text)

    with pytest.raises(SettingsError, match=sentence):
        conformance.keep(services(tmp_path, str(tmp_path)))
