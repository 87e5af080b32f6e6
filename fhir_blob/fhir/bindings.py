"""The code system that a search parameter's elements have without naming it: of `code` and `boolean`.

A `code` has no system beside it: its value set, required by the binding, says of which it is.
Source: https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from fhir_blob.fhir.definitions import Definitions, Element

_BOOLEANS = "http://hl7.org/fhir/special-values"
_COMPARES = re.compile(r"(?:\.exists\(\)|\.empty\(\)| (?:!?=|[<>]=?) [\w.']+)\Z")
_AS = re.compile(r"\(?([\w.]+?)(?: as (\w+)\)|\.as\((\w+)\))?\Z")


@lru_cache(4096)
def implied_system(known: Definitions, type: str, expression: str, within: str = "") -> str:
    """The one system of all codes that the expression finds in the type, '' where one may have another or none.

    `within` is the expression that this one starts at, as that of a composite's component does.
    """
    starts = [type] if not within else [each for found, _ in _ends(known, [type], within) for each in found]
    systems = {_system(known, *end) for end in _ends(known, starts, expression)}
    return systems.pop() if len(systems) == 1 else ""


# The types of a value, and the element that it stands in if it stands in one.
_End = tuple[tuple[str, ...], Element | None]


def _ends(known: Definitions, starts: Iterable[str], expression: str) -> list[_End]:
    """Where the alternatives lead; a type that nobody knows where one says more than a path."""
    return [end for each in expression.split("|") for start in starts for end in _end(known, start, each.strip())]


def _end(known: Definitions, start: str, path: str) -> list[_End]:
    if _COMPARES.search(path):
        return [(("boolean",), None)]
    found = _AS.match(path)
    if found is None:
        return [(("",), None)]
    names, wanted = found[1].split("."), found[2] or found[3]
    if names[0] == start:
        names = names[1:]
    ends: list[_End] = [((start,), None)]
    for name in names:
        elements = [_element(known, type, name) for types, _ in ends for type in types]
        ends = [(each.types, each) for each in elements if each is not None]
    return [((wanted,), of) for types, of in ends if wanted in types] if wanted else ends or [(("",), None)]


def _element(known: Definitions, type: str, name: str) -> Element | None:
    elements = known.structure(type)
    return elements.get(name) or elements.get(f"{name}[x]")


def _system(known: Definitions, types: tuple[str, ...], element: Element | None) -> str:
    if types == ("boolean",):
        return _BOOLEANS
    return known.system(element.codes) if types == ("code",) and element is not None else ""
