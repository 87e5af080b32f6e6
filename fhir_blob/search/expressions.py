"""The expressions of a type's search parameters, most of them as one tree that a resource is walked along.

Nearly all of R4's are chains of elements, or unions of chains: `DocumentReference.content.attachment.url`. Each element
that a resource has is looked at once for all of them, and what it does not have is not asked for. The others are paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from fhir_blob.fhir.definitions import SearchParameter
from fhir_blob.fhir.nodes import ANY, Pair, Path, is_of_type, json_names
from fhir_blob.fhir.paths import compile_path

Leaf = TypeVar("Leaf")

# `Patient.deceased`, `(Patient.deceased as dateTime)`, `Patient.deceased.as(dateTime)`.
_CHAIN = re.compile(r"(\()?(\w+)((?:\.[a-z]\w*)+?)(?: as (\w+)|\.(?:as|ofType)\((\w+)\))?(?(1)\))\Z")
# Those of a primitive stand beside it.
_BESIDE = frozenset({"extension", "id"})


class Branch(NamedTuple, Generic[Leaf]):
    """An element of one type: what is to be done with each of its values, and its children by their JSON names."""

    type: str
    leaves: list[Leaf]
    below: dict[str, Branch[Leaf]]


Tree = dict[str, Branch[Leaf]]


class _Chain(NamedTuple):
    names: tuple[str, ...]
    wanted: str


def grow(tree: Tree[Leaf], type: str, parameter: SearchParameter, leaf: Leaf) -> bool:
    """Put the leaf where the expression finds its values in resources of the type; False where it is not of chains."""
    chains = [_chain(each.strip(), type) for each in parameter.expression.split("|")]
    if not all(chain is not None and _is_plain(type, chain.names) for chain in chains):
        return False
    for chain in chains:
        if chain is not None and chain.names:
            _put(tree, type, chain, leaf)
    return True


def path_of(parameter: SearchParameter) -> Path:
    """An added parameter that cannot be evaluated on some resource finds nothing in it: no write fails for it."""
    path = _targeted(parameter)
    if parameter.url.startswith("http://hl7.org/fhir/"):
        return path

    def run(focus: Pair, resource: Pair) -> list[Pair]:
        try:
            return path(focus, resource)
        except ValueError:
            return []

    return run


def _chain(expression: str, type: str) -> _Chain | None:
    """None for what is no chain; one without names is of another type."""
    found = _CHAIN.match(expression)
    if found is None:
        return None
    _, root, names, *wanted = found.groups()
    if root != type and root not in ANY:
        return _Chain((), "") if root[:1].isupper() else None
    return _Chain(tuple(names[1:].split(".")), wanted[0] or wanted[1] or "")


def _is_plain(type: str, names: Sequence[str]) -> bool:
    """Whether it stays within one resource and passes nothing that stands beside a primitive."""
    return _BESIDE.isdisjoint(names) and "Resource" not in _types(type, names)


def _types(type: str, names: Sequence[str]) -> Iterator[str]:
    for _, child in json_names(type, names[0]) if names else ():
        yield child
        yield from _types(child, names[1:])


def _put(tree: Tree[Leaf], type: str, chain: _Chain, leaf: Leaf) -> None:
    name, *further = chain.names
    for json_name, child in json_names(type, name):
        if not further and chain.wanted and not is_of_type(child, chain.wanted):
            continue
        branch = tree.setdefault(json_name, Branch(child, [], {}))
        if further:
            _put(branch.below, child, _Chain(tuple(further), chain.wanted), leaf)
        elif leaf not in branch.leaves:
            branch.leaves.append(leaf)


def _targeted(parameter: SearchParameter) -> Path:
    """Where an expression may end at whole resources (Bundle.entry[0].resource): those of the targets."""
    path = compile_path(parameter.expression)
    if parameter.type != "reference" or not parameter.expression.endswith(".resource"):
        return path
    targets = frozenset(parameter.targets)

    def run(focus: Pair, resource: Pair) -> list[Pair]:
        found = path(focus, resource)
        return [pair for pair in found if not isinstance(pair[0], dict) or pair[1] in targets or _is_reference(pair)]

    return run


def _is_reference(pair: Pair) -> bool:
    return pair[1] == "Reference"
