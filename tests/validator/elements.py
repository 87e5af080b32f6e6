"""Short ways to write a StructureDefinition, its elements and what they are bound to."""

from __future__ import annotations

import re
from typing import Any

BASE = "http://example.org/fhir"
CORE = "http://hl7.org/fhir/StructureDefinition"
COLOUR = f"{BASE}/CodeSystem/colour"
RED = {"system": COLOUR, "code": "red"}
GREEN = {"system": COLOUR, "code": "green"}


def url(name: str) -> str:
    return f"{BASE}/StructureDefinition/{name}"


def element(id: str, **said: Any) -> dict[str, Any]:
    """An ElementDefinition by its id, from which path and slice name follow."""
    last = id.rpartition(".")[2].partition(":")[2]
    named = {"sliceName": last} if last else {}
    return {"id": id, "path": re.sub(r":[^.]+", "", id), **named, **said}


def profile(name: str, type: str, *elements: dict[str, Any], base: str = "", **more: Any) -> dict[str, Any]:
    root = more.pop("root", {})
    kind = "resource" if type not in ("Extension", "HumanName", "Quantity", "Identifier") else "complex-type"
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": url(name),
        "version": "1",
        "name": "".join(part.title() for part in name.split("-")),
        "status": "active",
        "fhirVersion": "4.0.1",
        "kind": kind,
        "abstract": False,
        "type": type,
        "baseDefinition": url(base) if base else f"{CORE}/{type}",
        "derivation": "constraint",
        **more,
        "differential": {"element": [element(type, **root), *elements]},
    }


def extension(name: str, *elements: dict[str, Any], context: str = "Patient", **more: Any) -> dict[str, Any]:
    """A simple extension, unless its elements say otherwise."""
    kind = more.pop("kind", "element")
    fixed = element("Extension.url", fixedUri=url(name))
    told = profile(name, "Extension", *elements, fixed, context=[{"type": kind, "expression": context}], **more)
    listed = told["differential"]["element"]
    listed.sort(key=lambda each: _ORDER.index(each["id"].split(".")[1].split(":")[0]) if "." in each["id"] else -1)
    return told


_ORDER = ["extension", "url", "value[x]"]


def value_set(name: str, *codes: str) -> dict[str, Any]:
    include = {"system": COLOUR, "concept": [{"code": code} for code in codes]}
    return {
        "resourceType": "ValueSet",
        "id": name,
        "url": f"{BASE}/ValueSet/{name}",
        "name": name.title(),
        "status": "active",
        "compose": {"include": [include]},
    }


def binding(strength: str, **more: Any) -> dict[str, Any]:
    return {"strength": strength, "valueSet": f"{BASE}/ValueSet/warm", **more}


def slicing(kind: str, path: str, rules: str = "open", **more: Any) -> dict[str, Any]:
    return {"discriminator": [{"type": kind, "path": path}], "rules": rules, **more}


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": COLOUR, "code": code}]}


def constraint(key: str, expression: str, severity: str = "error") -> dict[str, Any]:
    return {"key": key, "severity": severity, "human": f"the rule {key}", "expression": expression}


COMPONENT = "Observation.component"
MAX_VALUE_SET = [{"url": f"{CORE}/elementdefinition-maxValueSet", "valueCanonical": f"{BASE}/ValueSet/warm"}]


def components(kind: str = "pattern", rules: str = "open", **more: Any) -> list[dict[str, Any]]:
    """Components sliced by their code: low once, high at most once and with a value."""
    said = "patternCodeableConcept" if kind == "pattern" else "fixedCodeableConcept"
    return [
        element(COMPONENT, slicing=slicing(kind, "code", rules, **more)),
        element(f"{COMPONENT}:low", min=1, max="1"),
        element(f"{COMPONENT}:low.code", **{said: coded("red")}),
        element(f"{COMPONENT}:high", min=0, max="1"),
        element(f"{COMPONENT}:high.code", **{said: coded("green")}),
        element(f"{COMPONENT}:high.value[x]", min=1),
    ]


def entries(kind: str, path: str, **type: Any) -> list[dict[str, Any]]:
    """A Bundle with one entry of a Patient."""
    return [
        element("Bundle.entry", slicing=slicing(kind, path)),
        element("Bundle.entry:patient", min=1, max="1"),
        element("Bundle.entry:patient.resource", min=1, type=[{"code": "Patient", **type}]),
    ]


def subject(**type: Any) -> dict[str, Any]:
    return element("Observation.subject", type=[{"code": "Reference", **type}])
