"""Where a patch names the entries of its transaction, or what a conditional reference stands for.

It is the patch that is looked through, not what it makes: what was stored before means what it meant then.
Source: https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from fhir_blob.fhir.bundle import Mention, held, mentions, table_of
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.patch import FHIR_JSON, JSON_PATCH, MERGE_PATCH, Patch, kind

_UNKNOWN = ""
_TEXTS = ("valueString", "valueUri", "valueUrl")


def patch_mentions(patch: Patch, type: str, full_urls: Container[str], base: str) -> list[Mention]:
    """Those in a patch of a resource of that type, which need not be a valid patch; see bundle.mentions."""
    return list(_FOUND[kind(patch)](patch.document, type, full_urls, base))


def _in_merge_patch(document: Any, type: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    if isinstance(document, dict):
        yield from held({"patch": document}, "patch", type, full_urls, base)


def _in_json_patch(document: Any, type: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    for operation in document if isinstance(document, list) else ():
        if isinstance(operation, dict) and "value" in operation:
            found = _kind_at(type, str(operation.get("path")), operation["value"])
            yield from held(operation, "value", found, full_urls, base)


def _kind_at(type: str, pointer: str, value: Any) -> str:
    """What stands at the pointer; in a contained resource, whose type is not known, what it looks like."""
    found, name = type, ""
    for part in pointer.split("/")[1:]:
        if not (part.isdigit() or part == "-"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = _UNKNOWN if found in (_UNKNOWN, "Resource") else table_of(found).get(name, _UNKNOWN)
    if found == _UNKNOWN:
        is_reference = isinstance(value, dict) and "reference" in value
        return "reference" if name == "reference" else "Reference" if is_reference else "Element"
    return found


def _in_parameters(document: Any, type: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    if not isinstance(document, dict) or document.get("resourceType") != "Parameters":
        return
    yield from mentions(document, full_urls, base)
    for operation in _dicts(document.get("parameter")):
        yield from _in_operation(operation, full_urls, base)


def _in_operation(operation: Mapping[str, Any], full_urls: Container[str], base: str) -> Iterator[Mention]:
    """A literal reference is a string: known by the path, or the name, of what it is put into."""
    parts = {str(part.get("name")): part for part in _dicts(operation.get("part"))}
    path, name = (str(parts.get(each, {}).get("valueString", "")) for each in ("path", "name"))
    target = name or path.rpartition(".")[2]
    if "value" in parts:
        yield from _in_part(parts["value"], target, full_urls, base)


def _in_part(part: dict[str, Any], name: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    for text in _TEXTS:
        if name == "reference" and isinstance(part.get(text), str):
            yield Mention(part, text, is_reference=True)
    resource = part.get("resource")
    if isinstance(resource, dict) and resource.get("resourceType") in definitions().types:
        yield from mentions(resource, full_urls, base)
    for below in _dicts(part.get("part")):
        yield from _in_part(below, str(below.get("name")), full_urls, base)


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


_FOUND: Mapping[str, Callable[[Any, str, Container[str], str], Iterator[Mention]]] = {
    JSON_PATCH: _in_json_patch,
    MERGE_PATCH: _in_merge_patch,
    FHIR_JSON: _in_parameters,
}
