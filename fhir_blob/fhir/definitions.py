"""What R4 says of its types: elements, attachments, references, search parameters, compartments.

Read from the distilled data in fhir/r4, lazily. Source: https://hl7.org/fhir/R4/definitions.json.zip
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "r4"
Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a composite search parameter; the expression starts at the composite's."""

    type: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """`expression` is FHIRPath from the resource, `type` one of token, string, reference, date, ..."""

    code: str
    type: str
    expression: str
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    url: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a structure; `codes` is the value set of a required binding, '' where there is none."""

    name: str
    types: tuple[str, ...]
    min: int
    max: str
    summary: bool
    codes: str

    @property
    def is_list(self) -> bool:
        return self.max not in ("0", "1")


@dataclass(frozen=True, slots=True)
class Summary:
    """Top-level elements: those of a summary, and those that may never be left out."""

    summary: frozenset[str]
    mandatory: frozenset[str]


class Definitions:
    """R4's definitions, and the search parameters that were added to them.

    `pending`: (type, code) of those that are written into the index, but cannot be asked for yet.
    """

    def __init__(
        self,
        added: Mapping[str, Mapping[str, SearchParameter]] | None = None,
        pending: Collection[tuple[str, str]] = (),
    ) -> None:
        self._added, self.pending = added or {}, frozenset(pending)
        self._parameters: dict[str, Mapping[str, SearchParameter]] = {}
        self._trees: dict[tuple[str, str], dict[str, Any]] = {}

    @cached_property
    def types(self) -> Mapping[str, None]:
        """Every resource type, in alphabetical order."""
        return dict.fromkeys(sorted(self._search))

    def search_parameters(self, type: str) -> Mapping[str, SearchParameter]:
        """The search parameters of the type by code, those of every resource among them."""
        found = self._parameters.get(type)
        if found is None:
            own = {code: _parameter(code, row) for code, row in self._search[type].items()}
            found = self._parameters[type] = {**own, **self._added.get(type, {})}
        return found

    def searchable(self, type: str) -> Mapping[str, SearchParameter]:
        """The search parameters that can be asked for."""
        known = self.search_parameters(type)
        if not self.pending:
            return known
        return {code: each for code, each in known.items() if (type, code) not in self.pending}

    def with_search_parameter(self, type: str, parameter: SearchParameter) -> Definitions:
        """These definitions, and one search parameter more."""
        return Definitions({**self._added, type: {**self._added.get(type, {}), parameter.code: parameter}})

    def structure(self, name: str) -> Mapping[str, Element]:
        """The elements of a type or backbone path by name, choices as 'value[x]'; empty for a primitive."""
        return self._structures.get(name, {})

    def element(self, structure: str, name: str) -> tuple[str, ...]:
        """The types of one element, () where the structure has no such element."""
        found = self.structure(structure).get(name) or self.structure(structure).get(f"{name}[x]")
        return found.types if found else ()

    def codes(self, value_set: str) -> tuple[str, ...]:
        """The codes of a required binding, () where they cannot be listed."""
        return tuple(self._codes.get(value_set, ()))

    def system(self, value_set: str) -> str:
        """The one code system of a required binding, '' where it has several, or none that is known."""
        return str(_read("systems.json").get(value_set, ""))

    def compartment(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """By type the search parameters that put a resource into a compartment such as Patient."""
        return {type: tuple(codes) for type, codes in _read("compartments.json")[name].items()}

    def attachment_tree(self, type: str) -> Tree:
        """The children that lead to an Attachment: None for the Attachment itself, else a tree again.

        Extensions are left out: an Attachment can be in any of them. A structure that contains itself
        is a tree that contains itself.
        """
        return self._tree(type, "Attachment")

    def summary(self, type: str) -> Summary:
        elements = self.structure(type).values()
        return Summary(
            frozenset(name for each in elements if each.summary for name in _names(each)),
            frozenset(name for each in elements if each.min > 0 for name in _names(each)),
        )

    def _tree(self, structure: str, wanted: str) -> dict[str, Any]:
        known = self._trees.get((structure, wanted))
        if known is not None:
            return known
        tree: dict[str, Any] = {}
        self._trees[structure, wanted] = tree
        for element in self.structure(structure).values():
            for type, name in zip(element.types, _names(element), strict=False):
                if type == wanted:
                    tree[name] = None
                elif type not in ("Extension", "Resource") and self._leads(type, wanted, frozenset()):
                    tree[name] = self._tree(type, wanted)
        return tree

    def _leads(self, structure: str, wanted: str, passed: frozenset[str]) -> bool:
        if structure in passed:
            return False
        below = passed | {structure, "Extension", "Resource"}
        types = {type for element in self.structure(structure).values() for type in element.types}
        return wanted in types or any(self._leads(type, wanted, below) for type in types)

    @cached_property
    def _search(self) -> dict[str, dict[str, list[Any]]]:
        return _read("search.json")

    @cached_property
    def _codes(self) -> dict[str, list[str]]:
        return _read("codes.json")

    @cached_property
    def _structures(self) -> dict[str, dict[str, Element]]:
        return {
            structure: {name: _element(name, row) for name, row in elements.items()}
            for structure, elements in _read("elements.json").items()
        }


def constraints() -> Mapping[str, Mapping[str, tuple[str, str, str]]]:
    """By the path of an element, such as Patient.contact, its constraints by key: severity, sentence, FHIRPath."""
    return _read("constraints.json")


def units() -> Mapping[str, Any]:
    """UCUM's table, as fhir/r4/distil_units.py makes it."""
    return _read("ucum.json")


@lru_cache
def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / name).read_bytes())
    return found


def _parameter(code: str, row: list[Any]) -> SearchParameter:
    type, expression, targets, components, url = row
    return SearchParameter(code, type, expression, tuple(targets), tuple(Component(*each) for each in components), url)


def _element(name: str, row: list[Any]) -> Element:
    types, minimum, maximum, summary, codes = row
    return Element(name, tuple(types), minimum, maximum, bool(summary), codes)


def _names(element: Element) -> list[str]:
    """The JSON names of an element: one for each type of a choice, in the order of its types."""
    stem = element.name.removesuffix("[x]")
    if stem == element.name:
        return [stem] * len(element.types)
    return [stem + type[0].upper() + type[1:] for type in element.types]


_active = Definitions()


def definitions() -> Definitions:
    """The definitions of this process."""
    return _active


def activate(
    added: Mapping[str, Mapping[str, SearchParameter]], pending: Collection[tuple[str, str]] = ()
) -> Definitions:
    """The definitions of this process from now on."""
    global _active
    _active = Definitions(added, pending)
    return _active
