"""Settings as README.md and profiles/settings.schema.json document them.

`python -m tests.documented` writes both anew from settings.py; tests compare them.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from fhir_blob.settings import Settings, variable

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SCHEMA = ROOT / "profiles" / "settings.schema.json"
ROW = re.compile(r"(?:^\| `FHIR_BLOB_.*\n)+", re.MULTILINE)
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", type(Path()): "string"}


def table() -> str:
    """The rows of the README's table."""
    return "".join(_row(each) for each in fields(Settings))


def schema() -> dict[str, Any]:
    """The JSON Schema of the settings file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://fhir-blob.org/schema/settings",
        "title": "Settings",
        "description": "The settings file that FHIR_BLOB_SETTINGS names (TOML). "
        "An environment variable, FHIR_BLOB_ and the name in capitals, wins.",
        "type": "object",
        "properties": {each.name: _property(each) for each in fields(Settings)},
        "additionalProperties": False,
    }


def _row(each: Field[Any]) -> str:
    choices = ", ".join(f"`{choice}`" for choice in each.metadata["choices"])
    meaning = f"{each.metadata['help']} One of {choices}." if choices else each.metadata["help"]
    return f"| `{variable(each.name)}` | {_shown(each.default)} | {meaning} |\n"


def _shown(default: object) -> str:
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else ""


def _property(each: Field[Any]) -> dict[str, Any]:
    default = str(each.default) if isinstance(each.default, Path) else each.default
    described = {"description": each.metadata["help"], "type": KINDS[type(each.default)], "default": default}
    described |= {"enum": list(each.metadata["choices"])} if each.metadata["choices"] else {}
    described |= {"writeOnly": True} if each.metadata["secret"] else {}
    return described | (_limits(each) if described["type"] in ("integer", "number") else {})


def _limits(each: Field[Any]) -> dict[str, float]:
    most = each.metadata["most"]
    return {"minimum": each.metadata["least"]} | ({"maximum": most} if most < math.inf else {})


if __name__ == "__main__":
    rows = table()
    README.write_text(ROW.sub(lambda _: rows, README.read_text(), count=1))
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n")
