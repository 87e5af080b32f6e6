"""What only a validation asks of R4: code systems, value sets, profiles and extensions by URL, references' targets.

Source: https://hl7.org/fhir/R4/terminologies.html, https://hl7.org/fhir/R4/profilelist.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fhir_blob.fhir import codec, r4

_FOLDER = Path(r4.__file__).parent
_FILES = {
    "CodeSystem": "code_systems.json",
    "ValueSet": "value_sets.json",
    "StructureDefinition": "profiles.json",
}


def find(type: str, url: str) -> Mapping[str, Any] | None:
    """The resource of that type and URL, without what only people read; None where R4 has none, or no such version."""
    bare, _, version = url.partition("|")
    line = _lines(_FILES[type]).get(bare) if type in _FILES else None
    found = None if line is None else _resource(line)
    return found if found is None or not version or version == found.get("version") else None


@lru_cache
def targets() -> Mapping[str, tuple[str, ...]]:
    """By the path of a Reference the types that it may lead to, where those are not all."""
    found = codec.parse((_FOLDER / "targets.json").read_bytes())
    return {path: tuple(types) for path, types in found.items()}


@lru_cache
def _lines(name: str) -> Mapping[str, bytes]:
    """Each file has a line for each URL: only what is asked for is parsed."""
    rows = (line.removesuffix(b",").split(b":{", 1) for line in (_FOLDER / name).read_bytes().splitlines()[1:-1])
    return {codec.parse(url): b"{" + body for url, body in rows}


@lru_cache(512)
def _resource(line: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = codec.parse(line)
    return found
