"""Patches of a resource: JSON Patch, JSON Merge Patch and FHIRPath Patch.

Source: https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from fhir_blob.errors import BadRequest, Conflict, TooLarge, Unprocessable, UnsupportedMediaType
from fhir_blob.fhir import codec
from fhir_blob.fhir.fhirpath_patch import fhirpath_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
FHIR_JSON = "application/fhir+json"
TYPES = (JSON_PATCH, MERGE_PATCH, FHIR_JSON)

_GENERIC = ("application/json", "text/json")
_DEPTH = 64
_QUOTED = 100


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch as it came: `media_type` says which kind the document is. `most_bytes` bounds what copies may add."""

    media_type: str
    document: Any
    most_bytes: int

    def apply(self, resource: dict[str, Any]) -> Any:
        """The patched resource, yet to be validated; `resource` itself is used up.

        Conflict where a test fails, Unprocessable where an operation cannot be done.
        """
        return _APPLIED[kind(self)](resource, self)


def check_type(media_type: str) -> None:
    """UnsupportedMediaType for what is no patch."""
    if media_type not in _APPLIED and media_type not in _GENERIC:
        taken = ", ".join(TYPES)
        raise UnsupportedMediaType(
            f"Content-Type is {media_type[:80]!r}: PATCH takes {taken}.", headers={"Accept-Patch": taken}
        )


def kind(patch: Patch) -> str:
    """application/json says nothing of the kind, so the document does."""
    check_type(patch.media_type)
    if patch.media_type not in _GENERIC:
        return patch.media_type
    if isinstance(patch.document, list):
        return JSON_PATCH
    is_parameters = isinstance(patch.document, dict) and patch.document.get("resourceType") == "Parameters"
    return FHIR_JSON if is_parameters else MERGE_PATCH


def _fhirpath_patch(resource: dict[str, Any], patch: Patch) -> Any:
    return fhirpath_patch(resource, patch.document)


def _json_patch(resource: dict[str, Any], patch: Patch) -> Any:
    """https://www.rfc-editor.org/rfc/rfc6902"""
    operations = patch.document
    if not isinstance(operations, list):
        raise BadRequest("A JSON Patch is an array of operations.")
    patched: Any = resource
    left = patch.most_bytes
    for number, operation in enumerate(operations):
        told = _told(number, operation)
        if not _is_operation(operation):
            raise BadRequest(f"{told} is no operation of JSON Patch.")
        try:
            step = jsonpatch.JsonPatch([operation])
            left -= _measured(patched, operation, left, told)
            patched = step.apply(patched, in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise Conflict(f"{told} failed: something else is there.") from error
        except _MISFITS as error:
            raise Unprocessable(f"{told} cannot be done: what its path or from names is not there.") from error
    return patched


# Beside its own the library lets Python's through, where a path goes into a string, a number or null.
_MISFITS: tuple[type[Exception], ...] = (
    jsonpatch.JsonPatchException,
    JsonPointerException,
    TypeError,
    KeyError,
    IndexError,
    ValueError,
    AttributeError,
)


def _is_operation(operation: Any) -> bool:
    if not isinstance(operation, dict) or str(operation.get("op")) not in _MEMBERS:
        return False
    pointers = [operation.get(name) for name in ("path", "from") if name in _MEMBERS[str(operation["op"])]]
    are_pointers = all(isinstance(each, str) and (not each or each[0] == "/") for each in pointers)
    return are_pointers and _MEMBERS[str(operation["op"])] <= set(operation)


_MEMBERS: Mapping[str, frozenset[str]] = {
    "add": frozenset({"path", "value"}),
    "replace": frozenset({"path", "value"}),
    "test": frozenset({"path", "value"}),
    "remove": frozenset({"path"}),
    "move": frozenset({"path", "from"}),
    "copy": frozenset({"path", "from"}),
}


def _told(number: int, operation: Any) -> str:
    if not isinstance(operation, dict):
        return f"Operation [{number}]"
    return f"Operation [{number}] ({str(operation.get('op'))[:20]} {str(operation.get('path'))[:_QUOTED]!r})"


def _measured(resource: Any, operation: Mapping[str, Any], left: int, told: str) -> int:
    """The bytes that a copy adds. Copies of copies grow without end, and so may depth."""
    name = operation["op"]
    if name not in ("add", "replace", "copy", "move"):
        return 0
    is_taken = name in ("copy", "move")
    value = JsonPointer(operation["from"]).resolve(resource) if is_taken else operation["value"]
    if _depth(value, _DEPTH) + operation["path"].count("/") > _DEPTH:
        raise Unprocessable(f"{told} would nest deeper than {_DEPTH} levels.")
    size = len(codec.dump(value)) if name == "copy" else 0
    if size > left:
        raise TooLarge(f"{told} would make the resource larger than what is taken here.")
    return size


def _depth(value: Any, most: int) -> int:
    """How many levels there are, counted up to `most`."""
    if most <= 0 or not isinstance(value, dict | list):
        return 0
    below = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(each, most - 1) for each in below), default=0)


def _merge_patch(resource: dict[str, Any], patch: Patch) -> Any:
    """https://www.rfc-editor.org/rfc/rfc7396"""
    if not isinstance(patch.document, dict):
        raise BadRequest("A JSON Merge Patch is an object with what is to change.")
    return _merged(resource, patch.document)


def _merged(target: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    found = target if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value) if isinstance(value, dict) else value
    return found


_APPLIED: Mapping[str, Callable[[dict[str, Any], Patch], Any]] = {
    JSON_PATCH: _json_patch,
    MERGE_PATCH: _merge_patch,
    FHIR_JSON: _fhirpath_patch,
}
