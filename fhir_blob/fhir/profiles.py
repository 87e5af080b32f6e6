"""The files of profiles/: FHIR conformance resources, and JSON Schemas of what is not FHIR."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

# In a wheel they are a part of the package, in a checkout they stand beside it.
_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDER = next(folder for folder in (_PACKAGE / "profiles", _PACKAGE.parent / "profiles") if folder.is_dir())


@lru_cache
def read(name: str) -> Any:
    """One file of profiles/."""
    return json.loads((_FOLDER / name).read_text())


def resources(folder: Path = _FOLDER) -> tuple[dict[str, Any], ...]:
    """Every FHIR conformance resource of a folder, in the order of the file names."""
    found = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if ".schema." not in path.name)
    return tuple(found)
