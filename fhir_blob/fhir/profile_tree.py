"""The elements of a StructureDefinition as a tree: children by name, slices by their name.

Source: https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.fhir.elements import fields

CORE = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(slots=True)
class Node:
    """What is said of an element; `definition` is {} where only of something below it."""

    definition: Mapping[str, Any] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    slices: dict[str, Node] = field(default_factory=dict)

    def below(self) -> Iterator[Node]:
        """It and all its children."""
        yield self
        for child in self.children.values():
            yield from child.below()


def tree(profile: Mapping[str, Any]) -> Node:
    """The snapshot, where there is one, else the differential."""
    listed = profile.get("snapshot", {}).get("element") or profile.get("differential", {}).get("element", [])
    root, ids = Node(), dict[str, str]()
    for element in listed:
        _place(root, _id(element, ids), profile.get("type", "")).definition = element
    return root


def _id(element: Mapping[str, Any], ids: dict[str, str]) -> str:
    """The id, made of path and slice name where it has none."""
    path = str(element["path"])
    above, _, name = path.rpartition(".")
    made = f"{ids.get(above, above)}.{name}" if above else name
    if "sliceName" in element:
        made += f":{element['sliceName']}"
    ids[path] = str(element.get("id", made))
    return ids[path]


def _place(root: Node, id: str, type: str) -> Node:
    node, steps = root, id.split(".")[1:]
    for number, step in enumerate(steps):
        name, _, slice = step.partition(":")
        stem = _choice(type, name) if number == 0 else ""
        if stem:  # Observation.valueQuantity: a type slice of value[x]
            node = node.children.setdefault(stem, Node()).slices.setdefault(name, Node())
        else:
            node = node.children.setdefault(name, Node())
        if slice:
            node = node.slices.setdefault(slice, Node())
    return node


def _choice(type: str, name: str) -> str:
    known = fields(type).get(name)
    return f"{known.stem}[x]" if known is not None and known.stem != name else ""


def value_of(definition: Mapping[str, Any], kind: str) -> Any:
    """The value of fixed[x] or pattern[x], None where there is none."""
    return next(
        (value for name, value in definition.items() if name.startswith(kind) and name[len(kind) :][:1].isupper()), None
    )


def types(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The allowed types by their code; those of FHIRPath itself are left out."""
    return {each["code"]: each for each in definition.get("type", ()) if "/" not in each.get("code", "/")}
