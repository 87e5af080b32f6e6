"""FHIRPath Patch: operations on the elements that a path names: https://hl7.org/fhir/R4/fhirpatch.html

Elements are replaced and moved whole: a primitive with its id and extensions. What becomes empty goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_blob.errors import BadRequest, FhirError, Invalid, Unprocessable
from fhir_blob.fhir.elements import Field, Spot, children, fields
from fhir_blob.fhir.locations import collection, locate
from fhir_blob.fhir.validation import validate

_QUOTED = 100
_WHOLE = ("valueInteger", "valueUnsignedInt", "valuePositiveInt")


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation; `told` begins the sentences about it, `value` is the part of that name."""

    told: str
    type: str
    path: str
    parts: Mapping[str, Mapping[str, Any]]

    def text(self, name: str) -> str:
        found = self.parts.get(name, {}).get("valueString")
        if not isinstance(found, str):
            raise BadRequest(f"{self.told} lacks the part {name!r}, a string.")
        return found

    def whole(self, name: str) -> int:
        part = self.parts.get(name, {})
        found = next((part[each] for each in _WHOLE if each in part), None)
        if found is None:
            raise BadRequest(f"{self.told} lacks the part {name!r}, an integer.")
        return int(found)

    @property
    def value(self) -> Mapping[str, Any]:
        if "value" not in self.parts:
            raise BadRequest(f"{self.told} lacks the part 'value'.")
        return self.parts["value"]

    def refused(self, why: str) -> FhirError:
        return Unprocessable(f"{self.told} cannot be done: {why}.", expression=self.path[:_QUOTED])


def fhirpath_patch(resource: dict[str, Any], parameters: Any) -> dict[str, Any]:
    """The resource after all operations of the Parameters; Unprocessable names the first that cannot be done."""
    for operation in _operations(parameters):
        _DONE[operation.type](operation, resource)
    return resource


def _operations(parameters: Any) -> list[_Operation]:
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise BadRequest("A FHIRPath Patch is a Parameters resource.", expression="resourceType")
    issues = validate(parameters)
    if issues:
        raise Invalid("The Parameters are not valid.", issues=issues)
    return [_operation(number, each) for number, each in enumerate(parameters.get("parameter", ()))]


def _operation(number: int, parameter: Mapping[str, Any]) -> _Operation:
    parts = {each["name"]: each for each in parameter.get("part", ())}
    type = parts.get("type", {}).get("valueCode") or parts.get("type", {}).get("valueString")
    if parameter["name"] != "operation" or type not in _DONE:
        raise BadRequest(
            f"Parameters.parameter[{number}] is no operation of FHIRPath Patch:"
            f" it takes the name 'operation' and a type of {', '.join(_DONE)}."
        )
    path = parts.get("path", {}).get("valueString")
    if not isinstance(path, str) or not path:
        raise BadRequest(f"Operation [{number}] ({type}) lacks the part 'path', a string.")
    return _Operation(f"Operation [{number}] ({type} {path[:_QUOTED]!r})", type, path, parts)


def _one(operation: _Operation, resource: dict[str, Any]) -> Spot:
    """The element that the path names."""
    found = locate(resource, operation.path)
    if len(found) != 1:
        raise operation.refused("nothing is there" if not found else f"{len(found)} elements are there, not one")
    return found[0]


def _add(operation: _Operation, resource: dict[str, Any]) -> None:
    spot, stem = _one(operation, resource), operation.text("name")
    node, type = _node_of(spot)
    name, value, beside = _given(operation, operation.value, type, stem)
    if fields(type)[name].is_list:
        values, besides = _lists(node, name)
        _keep(node, name, [*values, value], [*besides, beside])
    elif children(spot, stem):
        raise operation.refused(f"{stem[:_QUOTED]!r} is there already")
    else:
        _set(node, name, value, beside)


def _node_of(spot: Spot) -> tuple[dict[str, Any], str]:
    """The object for its children; a primitive that has none gets one beside it."""
    node, type = spot.node
    if isinstance(node, dict):
        return node, type
    made: dict[str, Any] = {}
    if spot.index is None:
        spot.owner[f"_{spot.name}"] = made
    else:
        values, besides = _lists(spot.owner, spot.name)
        besides[spot.index] = made
        _keep(spot.owner, spot.name, values, besides)
    return made, type


def _insert(operation: _Operation, resource: dict[str, Any]) -> None:
    owner, stem = _collection(operation, resource)
    node, type = _node_of(owner)
    name, value, beside = _given(operation, operation.value, type, stem)
    values, besides = _lists(node, name)
    index = _within(operation, "index", len(values) + 1)
    values.insert(index, value)
    besides.insert(index, beside)
    _keep(node, name, values, besides)


def _delete(operation: _Operation, resource: dict[str, Any]) -> None:
    """What is not there need not be deleted."""
    found = locate(resource, operation.path)
    if len(found) > 1:
        raise operation.refused(f"{len(found)} elements are there, not one")
    for spot in found:
        if spot.parent is None:
            raise operation.refused("a patch does not delete the resource")
        _take_out(spot)


def _take_out(spot: Spot) -> None:
    owner, name = spot.owner, spot.name
    if spot.index is None:
        owner.pop(name, None), owner.pop(f"_{name}", None)
    else:
        values, besides = _lists(owner, name)
        del values[spot.index], besides[spot.index]
        _keep(owner, name, values, besides)
    parent = spot.parent
    if not owner and parent is not None and parent.parent is not None:
        _empty(parent)


def _empty(spot: Spot) -> None:
    """The last child of the element is gone: so is the element, or of a primitive what stood beside it."""
    if spot.value is None or isinstance(spot.value, dict):
        _take_out(spot)
    elif spot.index is None:
        del spot.owner[f"_{spot.name}"]
    else:
        values, besides = _lists(spot.owner, spot.name)
        besides[spot.index] = None
        _keep(spot.owner, spot.name, values, besides)


def _replace(operation: _Operation, resource: dict[str, Any]) -> None:
    spot = _one(operation, resource)
    if spot.parent is None:
        raise operation.refused("a patch does not replace the resource")
    type = spot.parent.node[1]
    name, value, beside = _given(operation, operation.value, type, fields(type)[spot.name].stem)
    if spot.index is None:
        if name != spot.name:
            spot.owner.pop(spot.name, None)
        spot.owner.pop(f"_{spot.name}", None)
        _set(spot.owner, name, value, beside)
    else:
        values, besides = _lists(spot.owner, name)
        values[spot.index], besides[spot.index] = value, beside
        _keep(spot.owner, name, values, besides)


def _move(operation: _Operation, resource: dict[str, Any]) -> None:
    owner, stem = _collection(operation, resource)
    node, _ = _node_of(owner)
    values, besides = _lists(node, stem)
    source = _within(operation, "source", len(values))
    destination = _within(operation, "destination", len(values))
    values.insert(destination, values.pop(source))
    besides.insert(destination, besides.pop(source))
    _keep(node, stem, values, besides)


_DONE: Mapping[str, Callable[[_Operation, dict[str, Any]], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _collection(operation: _Operation, resource: dict[str, Any]) -> tuple[Spot, str]:
    """The element that owns the list which the path names, and the list's name."""
    owners, stem = collection(resource, operation.path)
    if len(owners) != 1:
        raise operation.refused("nothing is there" if not owners else "more than one list is there")
    field = fields(owners[0].node[1]).get(stem)
    if field is None or not field.is_list:
        raise operation.refused(f"{stem[:_QUOTED]!r} is no list of {owners[0].type}")
    return owners[0], stem


def _within(operation: _Operation, name: str, end: int) -> int:
    index = operation.whole(name)
    if not 0 <= index < end:
        raise operation.refused(f"the {name} {index} is outside of the list")
    return index


def _given(operation: _Operation, part: Mapping[str, Any], type: str, stem: str) -> tuple[str, Any, Any]:
    """The property of `type` that takes the part's value, the value, and the id and extensions beside it."""
    known = {name: field for name, field in fields(type).items() if field.stem == stem}
    if not known:
        raise operation.refused(f"{type} has no element {stem[:_QUOTED]!r}")
    if "part" in part or "resource" in part:
        name, field = next(iter(known.items()))
        return name, part["resource"] if "resource" in part else _built(operation, part["part"], field), None
    given = next((each.lstrip("_") for each in part if each.lstrip("_").startswith("value")), None)
    if given is None:
        raise BadRequest(f"{operation.told} has a part {part['name'][:_QUOTED]!r} without a value.")
    name = next(iter(known)) if len(known) == 1 else stem + given[5:]
    if name not in known:
        raise operation.refused(f"{stem} takes no {given[5:]}")
    return name, part.get(given), part.get(f"_{given}")


def _built(operation: _Operation, parts: Sequence[Mapping[str, Any]], field: Field) -> dict[str, Any]:
    """An element that has no type of its own name, from the parts that are its children."""
    made: dict[str, Any] = {}
    for part in parts:
        name, value, beside = _given(operation, part, field.type, part["name"])
        if fields(field.type)[name].is_list:
            values, besides = _lists(made, name)
            _keep(made, name, [*values, value], [*besides, beside])
        elif name in made or f"_{name}" in made:
            raise operation.refused(f"{name} is given twice")
        else:
            _set(made, name, value, beside)
    return made


def _lists(node: Mapping[str, Any], name: str) -> tuple[list[Any], list[Any]]:
    """The values of a list and what stands beside each, of one length."""
    values, besides = list(node.get(name) or ()), list(node.get(f"_{name}") or ())
    length = max(len(values), len(besides))
    return values + [None] * (length - len(values)), besides + [None] * (length - len(besides))


def _keep(node: dict[str, Any], name: str, values: list[Any], besides: list[Any]) -> None:
    for key, content in ((name, values), (f"_{name}", besides)):
        if any(each is not None for each in content):
            node[key] = content
        else:
            node.pop(key, None)


def _set(node: dict[str, Any], name: str, value: Any, beside: Any) -> None:
    for key, content in ((name, value), (f"_{name}", beside)):
        if content is not None:
            node[key] = content
