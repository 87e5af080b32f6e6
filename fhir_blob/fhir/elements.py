"""Elements of a resource with their FHIR types, and the places in the JSON where they stand.

Source: https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.definitions import definitions


@dataclass(frozen=True, slots=True)
class Field:
    """What a JSON property holds: `stem` is the element's name, without the type of a choice."""

    stem: str
    type: str
    is_list: bool


@dataclass(frozen=True, slots=True)
class Spot:
    """An element: `owner[name]`, or `owner[name][index]`; the resource itself has no owner.

    `value` is None for a primitive that has an id or extensions alone.
    """

    type: str
    value: Any
    owner: dict[str, Any]
    name: str = ""
    index: int | None = None
    parent: Spot | None = None

    @property
    def beside(self) -> Any:
        """The id and extensions of a primitive, None where it has none."""
        found = self.owner.get(f"_{self.name}")
        if self.index is None:
            return found
        return found[self.index] if isinstance(found, list) and self.index < len(found) else None

    @property
    def path(self) -> str:
        """The FHIRPath of the element."""
        if self.parent is None:
            return self.type
        name = fields(self.parent.node[1])[self.name].stem
        return f"{self.parent.path}.{name}" + ("" if self.index is None else f"[{self.index}]")

    @property
    def node(self) -> tuple[Any, str]:
        """The JSON object that holds its children, None where there is none, and the type that names them."""
        if isinstance(self.value, dict):
            return self.value, self.type
        return self.beside, "Element"


def root(resource: dict[str, Any]) -> Spot:
    return Spot(str(resource.get("resourceType")), resource, {})


def resources_in(resource: dict[str, Any]) -> Iterator[Spot]:
    """The resource and those in it, also in a Bundle or Parameters."""
    return _resources(root(resource))


def _resources(spot: Spot) -> Iterator[Spot]:
    yield spot
    for name in ("entry", "parameter", "contained"):
        for each in children(spot, name):
            inner = [each] if name == "contained" else children(each, "resource")
            for found in inner:
                if isinstance(found.value, dict) and found.type in definitions().types:
                    yield from _resources(found)


@lru_cache(None)
def fields(type: str) -> Mapping[str, Field]:
    """The properties of a type by their JSON names, 'valueString' for a choice."""
    found: dict[str, Field] = {}
    for element in definitions().structure(type).values():
        stem = element.name.removesuffix("[x]")
        for each in element.types:
            name = stem if stem == element.name else stem + each[0].upper() + each[1:]
            found.setdefault(name, Field(stem, each, element.is_list))
    return found


def children(spot: Spot, stem: str) -> list[Spot]:
    """The elements of that name in it, in their order."""
    node, type = spot.node
    if not isinstance(node, dict):
        return []
    named = [(name, field) for name, field in fields(type).items() if field.stem == stem]
    return [each for name, field in named for each in _spots(spot, node, name, field)]


def descendants(spot: Spot) -> Iterator[Spot]:
    """Every element in it, contained resources with theirs; but nothing of a resource in a Bundle or Parameters."""
    node, type = spot.node
    if not isinstance(node, dict):
        return
    known = fields(type)
    for name in list(node):
        field = known.get(name.removeprefix("_"))
        if field is None or (name[:1] == "_" and name[1:] in node):
            continue
        if field.type == "Resource" and field.stem != "contained":
            continue
        for each in _spots(spot, node, name.removeprefix("_"), field):
            yield each
            if isinstance(each.value, dict) or each.beside is not None:
                yield from descendants(each)


def _spots(spot: Spot, node: dict[str, Any], name: str, field: Field) -> list[Spot]:
    content, beside = node.get(name), node.get(f"_{name}")
    if not isinstance(content, list) and not isinstance(beside, list):
        there = content is not None or beside is not None
        return [Spot(_type(field, content), content, node, name, None, spot)] if there else []
    values = content if isinstance(content, list) else []
    length = max(len(values), len(beside) if isinstance(beside, list) else 0)
    padded = [*values, *[None] * (length - len(values))]
    return [Spot(_type(field, each), each, node, name, index, spot) for index, each in enumerate(padded)]


def _type(field: Field, value: Any) -> str:
    return str(value.get("resourceType")) if field.type == "Resource" and isinstance(value, dict) else field.type
