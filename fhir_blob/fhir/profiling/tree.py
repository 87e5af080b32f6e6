"""The elements of a StructureDefinition as a tree: children by name, slices by their name.

Source: https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        """It and all its children, each once: an element may contain itself."""
        left, seen = [self], set[int]()
        while left:
            node = left.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                left.extend(node.children.values())


def tree(profiles: Sequence[Mapping[str, Any]]) -> Node:
    """Of a profile and, before it, those that it is derived from: each says what those before it do not say."""
    root, referring = Node(), list[tuple[Node, str, str]]()
    for profile in profiles:
        ids, type = dict[str, str](), str(profile.get("type", ""))
        for element in _listed(profile):
            node = _place(root, _id(element, ids), type)
            node.definition = _derived(node.definition, element)
            reference = element.get("contentReference", "")
            if isinstance(reference, str) and reference.startswith("#"):
                referring.append((node, reference[1:], type))
    for node, id, type in referring:
        _refer(node, _place(root, id, type))
    return root


def _listed(profile: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The snapshot, where there is one, else the differential."""
    found = profile.get("snapshot", {}).get("element") or profile.get("differential", {}).get("element", [])
    return [each for each in found if "path" in each]


def _derived(base: Mapping[str, Any], element: Mapping[str, Any]) -> Mapping[str, Any]:
    constraints = [*base.get("constraint", ()), *element.get("constraint", ())]
    return {**base, **element, "constraint": constraints}


def _refer(node: Node, meant: Node) -> None:
    """What has its content from another element of the profile is as that says, but for the cardinality.

    Source: https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.contentReference
    """
    if node is not meant and not node.children:
        node.children, node.slices = meant.children, meant.slices
        node.definition = _derived({"constraint": meant.definition.get("constraint", ())}, node.definition)


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
    """Its place in the tree, made where it is not there; a reslice `a/b` is a slice of the slice `a`."""
    node = root
    for step in id.split(".")[1:]:
        name, _, slice = step.partition(":")
        known = fields(type).get(name)
        if known is not None and known.stem != name:  # Observation.valueQuantity: a type slice of value[x]
            node = node.children.setdefault(f"{known.stem}[x]", Node()).slices.setdefault(name, Node())
        else:
            node = node.children.setdefault(name, Node())
        for part in slice.split("/") if slice else ():
            node = node.slices.setdefault(part, Node())
        below = fields(type).get(slice if name.endswith("[x]") else name)
        type = below.type if below is not None else ""
    return node


def value_of(definition: Mapping[str, Any], kind: str) -> Any:
    """The value of fixed[x] or pattern[x], None where there is none."""
    return next((value for _, value in values_of(definition, kind)), None)


def values_of(definition: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    """The type's name as it ends that of the property, and the value."""
    for name, value in definition.items():
        if name.startswith(kind) and name[len(kind) :][:1].isupper():
            yield name[len(kind) :], value


def types(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The allowed types by their code; those of FHIRPath itself are left out."""
    return {each["code"]: each for each in definition.get("type", ()) if "/" not in each.get("code", "/")}


def extension_url(node: Node) -> str:
    """A slice of extensions names the definition of one; '' where it does not."""
    fixed = value_of(node.children["url"].definition, "fixed") if "url" in node.children else None
    named = types(node.definition).get("Extension", {}).get("profile", [])
    return str(fixed or (named[0].partition("|")[0] if named else ""))
