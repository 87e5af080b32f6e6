"""Distils the official R4 package into the JSON beside this file: `make definitions`.

- elements.json: {structure: {element: [types, min, max, summary, codes]}}, a structure being a type or
  the path of a backbone element; `codes` names the value set of a required binding.
- search.json: {type: {code: [type, expression, targets, components, url]}}, a component being
  [type, expression].
- codes.json: {value set: [codes]} of the required bindings that can be enumerated.
- systems.json: {value set: system} of the required bindings whose codes are all of one system.
- compartments.json: {compartment: {type: [search parameters]}}.
- constraints.json: {path of an element: {key: [severity, sentence, FHIRPath]}}, without those of every element.
- code_systems.json, value_sets.json, profiles.json, targets.json: see distil_published.py.
"""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fhir_blob.fhir.r4.distil_published import published, targets

Resources = Mapping[str, Mapping[str, Any]]

_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"

# In fhir/invariants.py.
_CHECKED = {"att-1", "bdl-7", "bdl-8", "per-1", "que-2", "qty-3", "ref-1", "txt-1", "txt-2"}

# As R4 words them, but its FHIRPath refuses its own examples.
_MEANT = {
    "que-7": "operator = 'exists' implies (answer is boolean)",
    "ras-2": "probability.ofType(decimal).empty() or probability.ofType(decimal) <= 100",
}


def main(package: str) -> None:
    """Write the files beside this module."""
    for name, content in distil(package).items():
        Path(__file__).with_name(name).write_text(content)


def distil(package: str) -> dict[str, str]:
    """The text of each file, made from a hl7.fhir.r4.core package."""
    found = _read(package)
    structures = _structures(found)
    elements = {name: each for structure in structures for name, each in _elements(structure).items()}
    bound = {element[4] for each in elements.values() for element in each.values() if element[4]}
    codes = {url: listed for url in sorted(bound) if (listed := _codes(found, url)) is not None}
    return {
        "elements.json": _text(elements),
        "search.json": _text(_search(found, structures)),
        "codes.json": _text(codes),
        "systems.json": _text(_one_system(found, bound)),
        "compartments.json": _text(_compartments(found)),
        "targets.json": _text(targets(structures)),
        "constraints.json": _text(_constraints(structures)),
        **{name: _text(content) for name, content in published(found.values()).items()},
    }


def _text(value: Mapping[str, Any]) -> str:
    """A line for each key, so that a change can be read."""
    rows = (f"{json.dumps(name)}:{json.dumps(value[name], separators=(',', ':'))}" for name in sorted(value))
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _read(package: str) -> Resources:
    """The package's resources by file name."""
    found = {}
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            folder, _, name = member.name.rpartition("/")
            file = archive.extractfile(member) if folder == "package" and name.endswith(".json") else None
            if file is not None and "-" in name:
                found[name] = json.load(file)
    return found


def _of(found: Resources, type: str) -> Iterable[Mapping[str, Any]]:
    return (each for _, each in sorted(found.items()) if each.get("resourceType") == type)


def _structures(found: Resources) -> list[Mapping[str, Any]]:
    """Data types and resources, abstract ones too; no profiles."""
    return [
        each
        for each in _of(found, "StructureDefinition")
        if each["kind"] in ("resource", "complex-type") and each.get("derivation") != "constraint"
    ]


def _elements(structure: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """The elements of the structure and of each backbone element in it."""
    made: dict[str, dict[str, list[Any]]] = {structure["type"]: {}}
    for element in structure["snapshot"]["element"][1:]:
        owner, _, name = element["path"].rpartition(".")
        made.setdefault(owner, {})[name] = [
            _types(element),
            element["min"],
            element["max"],
            int(element.get("isSummary", False)),
            _required(element),
        ]
    return made


def _constraints(structures: list[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Those that an element does not share with every other, and that code does not check without FHIRPath."""
    made: dict[str, dict[str, list[str]]] = {}
    for structure in structures:
        for element in structure["snapshot"]["element"]:
            for each in element.get("constraint", ()):
                key = each["key"]
                if "expression" in each and key not in _CHECKED and not key.startswith(("ele-", "ext-", "dom-")):
                    told = [each["severity"], each["human"], _MEANT.get(key, each["expression"])]
                    made.setdefault(element["path"], {})[key] = told
    return made


def _types(element: Mapping[str, Any]) -> list[str]:
    """FHIR type names; the path of a backbone element, or of the one whose content is meant."""
    if "contentReference" in element:
        return [element["contentReference"].lstrip("#")]
    codes = [_type(each) for each in element["type"]]
    return [element["path"] if code in ("BackboneElement", "Element") else code for code in codes]


def _type(given: Mapping[str, Any]) -> str:
    told = (each["valueUrl"] for each in given.get("extension", ()) if each["url"] == _FHIR_TYPE)
    return str(next(told, given["code"])).removeprefix("http://hl7.org/fhirpath/System.").replace("String", "string")


def _required(element: Mapping[str, Any]) -> str:
    binding = element.get("binding", {})
    return str(binding.get("valueSet", "")).partition("|")[0] if binding.get("strength") == "required" else ""


def _codes(found: Resources, url: str) -> list[str] | None:
    """Every code of the value set; None where it takes more than this package to know them."""
    value_set = next((each for each in _of(found, "ValueSet") if each.get("url") == url), None)
    if value_set is None or "exclude" in value_set.get("compose", {}):
        return None
    listed: set[str] = set()
    for include in value_set.get("compose", {}).get("include", ()):
        part = _included(found, include)
        if part is None:
            return None
        listed.update(part)
    return sorted(listed) or None


def _included(found: Resources, include: Mapping[str, Any]) -> list[str] | None:
    if "filter" in include:
        return None
    if "concept" in include:
        return [each["code"] for each in include["concept"]]
    if "valueSet" in include:
        parts = [_codes(found, url.partition("|")[0]) for url in include["valueSet"]]
        return None if None in parts or len(parts) != 1 else parts[0]
    system = next((each for each in _of(found, "CodeSystem") if each.get("url") == include.get("system")), None)
    if system is None or system.get("content") != "complete":
        return None
    return list(_concepts(system.get("concept", ())))


def _concepts(concepts: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for each in concepts:
        yield each["code"]
        yield from _concepts(each.get("concept", ()))


def _one_system(found: Resources, bound: Iterable[str]) -> dict[str, str]:
    every = {url: _systems(found, url) for url in bound}
    return {url: next(iter(systems)) for url, systems in every.items() if len(systems) == 1 and "" not in systems}


def _systems(found: Resources, url: str) -> set[str]:
    """The code systems that the value set takes codes of, '' for what this package does not say."""
    value_set = next((each for each in _of(found, "ValueSet") if each.get("url") == url.partition("|")[0]), {})
    systems: set[str] = set()
    for include in value_set.get("compose", {}).get("include", ()):
        parts = [_systems(found, each) for each in include.get("valueSet", ())]
        systems |= {include["system"]} if "system" in include else set().union(*parts)
    return systems or {""}


def _search(found: Resources, structures: list[Mapping[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    parameters = [each for each in _of(found, "SearchParameter") if each.get("expression") and not _is_example(each)]
    by_url = {each["url"]: each for each in parameters}
    served = [each["type"] for each in structures if each["kind"] == "resource" and not each["abstract"]]
    special = {"Parameters", "Bundle", "Binary"}
    made: dict[str, dict[str, list[Any]]] = {}
    for type in served:
        bases = {type, "Resource"} | (set() if type in special else {"DomainResource"})
        of_type = [each for each in parameters if bases & set(each["base"])]
        made[type] = {each["code"]: _parameter(each, type, by_url) for each in of_type}
    return made


def _is_example(definition: Mapping[str, Any]) -> bool:
    """The package has four among the real SearchParameters and CompartmentDefinitions, under their codes."""
    return str(definition["id"]).startswith("example")


def _parameter(each: Mapping[str, Any], type: str, by_url: Resources) -> list[Any]:
    components = [
        [by_url[part["definition"]]["type"], part["expression"]]
        for part in each.get("component", ())
        if part["definition"] in by_url
    ]
    return [each["type"], _expression(each["expression"], type), each.get("target", []), components, each["url"]]


def _expression(expression: str, type: str) -> str:
    """Those of its alternatives that start at this type."""
    parts = [part.strip() for part in _alternatives(expression)]
    own = [part for part in parts if _root(part) in (type, "Resource", "DomainResource")]
    return " | ".join(own or parts)


def _root(part: str) -> str:
    return part.lstrip("( ").partition(".")[0].partition(" ")[0].rstrip(")")


def _alternatives(expression: str) -> Iterable[str]:
    """Split at each `|` that is in no parenthesis."""
    depth, start = 0, 0
    for at, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            yield expression[start:at]
            start = at + 1
    yield expression[start:]


def _compartments(found: Resources) -> dict[str, dict[str, list[str]]]:
    return {
        each["code"]: {resource["code"]: resource["param"] for resource in each["resource"] if resource.get("param")}
        for each in _of(found, "CompartmentDefinition")
        if not _is_example(each)
    }


if __name__ == "__main__":
    main(sys.argv[1])
