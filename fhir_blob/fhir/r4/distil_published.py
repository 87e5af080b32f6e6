"""Distils what only a validation asks for: code systems, value sets, profiles, extensions, and references' targets.

- code_systems.json, value_sets.json, profiles.json: {canonical URL: the resource}, of which only that is left which a
  validation asks for. A profile has its differential alone.
- targets.json: {path of an element: [types]} of the references that may not lead to every type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
_KEPT = frozenset(
    {"id", "path", "sliceName", "min", "max", "maxLength", "contentReference", "isModifier", "slicing", "type"}
)
_VALUES = ("fixed", "pattern", "minValue", "maxValue")
_RESOURCE = ("resourceType", "url", "version")
_CORE = "http://hl7.org/fhir/StructureDefinition/"
# Where R4 4.0.1 uses these extensions itself, though their definitions forget it.
_FURTHER = {
    f"{_CORE}structuredefinition-fhir-type": "ElementDefinition.type",
    f"{_CORE}structuredefinition-standards-status": "Element",
    f"{_CORE}regex": "ElementDefinition.type",
}


def published(found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The content of each file by its name, made from the resources of a package."""
    made: dict[str, dict[str, Any]] = {name: {} for name in ("code_systems.json", "value_sets.json", "profiles.json")}
    for resource in found:
        kind = resource.get("resourceType")
        if kind == "CodeSystem":
            made["code_systems.json"][resource["url"]] = _code_system(resource)
        elif kind == "ValueSet":
            made["value_sets.json"][resource["url"]] = _value_set(resource)
        elif kind == "StructureDefinition" and resource.get("derivation") == "constraint":
            made["profiles.json"][resource["url"]] = _profile(resource)
    return made


def _only(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _code_system(resource: Mapping[str, Any]) -> dict[str, Any]:
    kept = _only(resource, *_RESOURCE, "caseSensitive", "content")
    declared = [_only(each, "code", "type") for each in resource.get("property", ())]
    concepts = list(_concepts(resource.get("concept", ())))
    return {**kept, **({"property": declared} if declared else {}), **({"concept": concepts} if concepts else {})}


def _concepts(concepts: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in concepts:
        below = list(_concepts(each.get("concept", ())))
        properties = [said for said in each.get("property", ()) if said["code"] != "deprecationDate"]
        more = {"property": properties, "concept": below}
        yield {"code": each["code"], **{name: value for name, value in more.items() if value}}


def _value_set(resource: Mapping[str, Any]) -> dict[str, Any]:
    composed = {
        name: [_include(each) for each in resource["compose"][name]]
        for name in ("include", "exclude")
        if name in resource.get("compose", {})
    }
    contained = list(_contained(resource.get("expansion", {}).get("contains", ())))
    kept = {"compose": composed, "expansion": {"contains": contained} if contained else {}}
    return {**_only(resource, *_RESOURCE), **{name: value for name, value in kept.items() if value}}


def _include(include: Mapping[str, Any]) -> dict[str, Any]:
    codes = [_only(each, "code") for each in include.get("concept", ())]
    return {**_only(include, "system", "valueSet", "filter"), **({"concept": codes} if codes else {})}


def _contained(contains: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in contains:
        below = list(_contained(each.get("contains", ())))
        yield {**_only(each, "system", "code", "abstract"), **({"contains": below} if below else {})}


def _profile(resource: Mapping[str, Any]) -> dict[str, Any]:
    elements = [_element(each) for each in resource["differential"]["element"]]
    kept = _only(resource, *_RESOURCE, "type", "baseDefinition", "context", "contextInvariant")
    if resource["url"] in _FURTHER:
        kept["context"] = [*kept["context"], {"type": "element", "expression": _FURTHER[resource["url"]]}]
    return {**kept, "derivation": "constraint", "differential": {"element": elements}}


def targets(structures: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The types that a Reference may lead to, by the path of its element; of an element without [x]."""
    made: dict[str, list[str]] = {}
    for element in (each for structure in structures for each in structure["snapshot"]["element"]):
        for type in element.get("type", ()):
            named = [url.rpartition("/")[2] for url in type.get("targetProfile", ())]
            if type["code"] == "Reference" and named and "Resource" not in named:
                made[element["path"].removesuffix("[x]")] = named
    return made


def _element(element: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in element.items() if name in _KEPT or name.startswith(_VALUES)}
    if "constraint" in element:
        names = ("key", "severity", "human", "expression", "source")
        kept["constraint"] = [_only(each, *names) for each in element["constraint"]]
    if "binding" in element:
        kept["binding"] = _binding(element["binding"])
    return kept


def _binding(binding: Mapping[str, Any]) -> dict[str, Any]:
    most = [each for each in binding.get("extension", ()) if each["url"] == _MAX_VALUE_SET]
    return {**_only(binding, "strength", "valueSet"), **({"extension": most} if most else {})}
