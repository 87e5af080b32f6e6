"""The steps of a path as closures, from values to values: see paths.py, which puts them together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.primitives import CHECKS

# A value and its FHIR type; backbone elements have their path as type ('Patient.contact').
Pair = tuple[Any, str]
# From the values so far, and the resource that they are in, to the next ones.
Node = Callable[[list[Pair], Pair], list[Pair]]
# From the focus and the resource that it is in to the values.
Path = Callable[[Pair, Pair], list[Pair]]

ANY = frozenset({"Resource", "DomainResource"})
_TRUE: list[Pair] = [(True, "boolean")]
_FALSE: list[Pair] = [(False, "boolean")]
_QUANTITIES = frozenset({"Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"})
# https://hl7.org/fhir/R4/datatypes.html
_BASES = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
}
_REFERENCE_TYPE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?$")


def itself(nodes: list[Pair], resource: Pair) -> list[Pair]:
    return nodes


def root(name: str) -> Node:
    if name in ANY:
        return itself
    return lambda nodes, resource: nodes if nodes and nodes[0][1] == name else []


def literal(pair: Pair) -> Node:
    return lambda nodes, resource: [pair]


class _Children(dict[str, tuple[tuple[str, str], ...]]):
    """By the type of an element: the JSON names of one of its children, with their types."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, type: str) -> tuple[tuple[str, str], ...]:
        found = self[type] = json_names(type, self._name)
        return found


def json_names(type: str, name: str) -> tuple[tuple[str, str], ...]:
    """The JSON names of a child, with their types: several of a choice, none of what is unknown."""
    elements = definitions().structure(type)
    if name in elements:
        return ((name, elements[name].types[0]),)
    if f"{name}[x]" in elements:
        return tuple((name + each[0].upper() + each[1:], each) for each in elements[f"{name}[x]"].types)
    return ()


def child(inner: Node, names: tuple[str, ...], *, beside: bool = False) -> Node:
    """The children by one name after another; of primitives what stands `beside` them, where its children are meant."""
    asked = (*(name in ("extension", "id") for name in names[1:]), beside)
    steps = tuple((_Children(name), is_beside) for name, is_beside in zip(names, asked, strict=False))

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        nodes = inner(nodes, resource)
        for table, is_beside in steps:
            if not nodes:
                return nodes
            found: list[Pair] = []
            for value, type in nodes:
                if value.__class__ is dict:
                    for key, child in table[type]:
                        if is_beside and child in CHECKS:
                            key, child = f"_{key}", "Element"
                        content = value.get(key)
                        if content is not None:
                            _add(found, content, child)
            nodes = found
        return nodes

    return run


def _add(found: list[Pair], content: Any, type: str) -> None:
    if type == "Resource":
        items = content if isinstance(content, list) else [content]
        found += [(each, str(each.get("resourceType"))) for each in items]
    elif content.__class__ is list:
        found += [(each, type) for each in content if each is not None]
    else:
        found.append((content, type))


def union(inner: tuple[Node, ...]) -> Node:
    """What is there already is not added again."""

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        found = [pair for each in inner for pair in each(nodes, resource)]
        return found if len(found) < 2 else list({_identity(*pair): pair for pair in found}.values())

    return run


def _identity(value: Any, type: str) -> tuple[Any, str]:
    """Of an object that it is the same one: to compare them all would cost its square."""
    return (id(value) if isinstance(value, dict) else value), type


def item(inner: Node, index: int) -> Node:
    return lambda nodes, resource: inner(nodes, resource)[index : index + 1]


def is_of_type(type: str, wanted: str) -> bool:
    """Whether `as` takes a value of the type for one of the wanted."""
    return (
        type.lower() == wanted.lower()  # R4 itself writes DateTime for dateTime
        or (wanted == "Quantity" and type in _QUANTITIES)
        or (wanted in ANY and type in definitions().types)
    )


def as_type(inner: Node, wanted: str) -> Node:
    """On a collection too: R4's expressions mean it so."""
    return lambda nodes, resource: [pair for pair in inner(nodes, resource) if is_of_type(pair[1], wanted)]


def is_type(inner: Node, wanted: str) -> Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        found = inner(nodes, resource)
        return [(_is(found[0][1], wanted), "boolean")] if found else []

    return run


def _is(type: str, wanted: str) -> bool:
    """As HL7's own cases have it, a code is a string, but not taken as one."""
    return is_of_type(type, wanted) or _BASES.get(type) == wanted


def where(inner: Node, condition: Node) -> Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        return [pair for pair in inner(nodes, resource) if _is_true(condition([pair], resource))]

    return run


def _is_true(nodes: list[Pair]) -> bool:
    return len(nodes) == 1 and nodes[0][0] is True


def both(left: Node, right: Node) -> Node:
    """Three-valued: false wins over empty."""

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        sides = (left(nodes, resource), right(nodes, resource))
        if any(side and side[0][0] is False for side in sides):
            return _FALSE
        return _TRUE if all(sides) else []

    return run


def equals(left: Node, *, negated: bool, right: Node) -> Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        ours = [value for value, _ in left(nodes, resource)]
        theirs = [value for value, _ in right(nodes, resource)]
        if not ours or not theirs:
            return []
        return _TRUE if (ours == theirs) != negated else _FALSE

    return run


def exists(inner: Node) -> Node:
    return lambda nodes, resource: _TRUE if inner(nodes, resource) else _FALSE


def _empty(inner: Node) -> Node:
    return lambda nodes, resource: _FALSE if inner(nodes, resource) else _TRUE


def extension(inner: Node, url: str) -> Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        return [
            (each, "Extension")
            for value, _ in inner(nodes, resource)
            if isinstance(value, dict)
            for each in value.get("extension", ())
            if each.get("url") == url
        ]

    return run


def _resolve(inner: Node) -> Node:
    """What a reference points at, as far as its type: nothing but the contained is read."""

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        types = (referenced_type(value, resource[0]) for value, _ in inner(nodes, resource))
        return [({"resourceType": type}, type) for type in types if type]

    return run


def referenced_type(reference: Any, resource: Any) -> str:
    """The type that a Reference or uri points at, '' where it does not say so."""
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if not isinstance(text, str):
        return str(reference.get("type", "")) if isinstance(reference, dict) else ""
    if text.startswith("#"):
        contained = (each["resourceType"] for each in resource.get("contained", ()) if each.get("id") == text[1:])
        return str(next(contained, ""))
    found = _REFERENCE_TYPE.search(text)
    if found is not None and found[1] in definitions().types:
        return found[1]
    return str(reference.get("type", "")) if isinstance(reference, dict) else ""


PLAIN: dict[str, Callable[[Node], Node]] = {
    "exists": exists,
    "empty": _empty,
    "first": lambda inner: item(inner, 0),
    "resolve": _resolve,
}
