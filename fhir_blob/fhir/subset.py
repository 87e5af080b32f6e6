"""_summary and _elements: a part of a resource, tagged as such.

Source: https://hl7.org/fhir/R4/search.html#summary and #elements
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.nodes import json_names

SUMMARIES = ("true", "text", "data", "count", "false")
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = {"resourceType", "id", "meta"}


def view(resource: Mapping[str, Any], summary: str, elements: Sequence[str]) -> dict[str, Any]:
    """The part of the resource that is asked for, with the tag SUBSETTED where anything may be missing."""
    type = resource["resourceType"]
    known = definitions().summary(type)
    if elements:
        return _tagged(_only(resource, {*_named(type, elements), *known.mandatory}))
    if summary == "true":
        return _tagged(_only(resource, {*known.summary, *known.mandatory}))
    if summary == "text":
        return _tagged(_only(resource, {"text", *known.mandatory}))
    if summary == "data":
        return _tagged({name: value for name, value in resource.items() if name != "text"})
    return dict(resource)


def _named(type: str, elements: Iterable[str]) -> Iterable[str]:
    """The names in JSON: of a choice, which is `value` or `value[x]`, or one of its types, each."""
    for each in elements:
        name = each.removesuffix("[x]")
        yield from [found for found, _ in json_names(type, name)] or [name]


def _only(resource: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    kept = _ALWAYS | set(names)
    return {name: value for name, value in resource.items() if name.removeprefix("_") in kept}


def _tagged(resource: dict[str, Any]) -> dict[str, Any]:
    meta = dict(resource.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    return {**resource, "meta": meta}
