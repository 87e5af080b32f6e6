"""Which codes a system has, and which of them a filter of a value set lets through; None where that cannot be said.

Source: https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.fhir import ucum
from fhir_blob.fhir.patterns import pattern

Filter = Mapping[str, Any]
# Of those whose filters ask for a code alone.
_OF_THE_CODE = ("code", "concept")
_UP = frozenset({"parent", "subsumedBy"})
_DEFAULTS = {"inactive": ("false",), "notSelectable": ("false",)}
_KNOWN = frozenset({"code", "concept", "display", "parent", "child", *_DEFAULTS})


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A system of which nothing is known here but, where it has one, the rule of its codes."""

    is_code: Callable[[str], bool | None] = lambda code: None
    version: str = ""

    def contains(self, code: str) -> bool | None:
        return self.is_code(code)

    def same(self, code: str) -> str:
        """A form that is one for all spellings of a code."""
        return code

    def passes(self, code: str, filter: Filter) -> bool | None:
        operator, value = str(filter.get("op")), str(filter.get("value", ""))
        if filter.get("property") == "canonical" and operator == "=":
            return _are_comparable(code, value)
        if filter.get("property") not in _OF_THE_CODE:
            return None
        if operator in ("is-a", "generalizes", "descendent-of", "is-not-a"):
            is_itself = operator in ("is-a", "generalizes")
            return is_itself if code == value else None
        return _compares((code,), operator, value)


def _are_comparable(code: str, other: str) -> bool | None:
    """Units of UCUM that have the same canonical unit."""
    ours, theirs = (ucum.canonical(ucum.SYSTEM, each, 1.0) for each in (code, other))
    return None if theirs is None else ours is not None and ours[0] == theirs[0]


@dataclass(slots=True)
class Concept:
    """A code; `properties` are texts."""

    code: str
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    properties: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedCodeSystem(CodeSystem):
    """A CodeSystem resource, all of whose codes are there, or a part of them."""

    concepts: Mapping[str, Concept] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    is_whole: bool = True
    is_cased: bool = True

    def contains(self, code: str) -> bool | None:
        return True if self.same(code) in self.concepts else self._absent()

    def same(self, code: str) -> str:
        return code if self.is_cased else code.casefold()

    def _absent(self) -> bool | None:
        return False if self.is_whole else None

    def passes(self, code: str, filter: Filter) -> bool | None:
        """By one filter; of a property that the system does not have nothing can be said."""
        concept = self.concepts.get(self.same(code))
        if concept is None:
            return self._absent()
        name, operator, value = str(filter.get("property")), str(filter.get("op")), str(filter.get("value", ""))
        if operator in _HIERARCHICAL:
            return self._is_related(concept, operator, self.same(value)) if name in _OF_THE_CODE else None
        if name not in _KNOWN and name not in self.declared:
            return None
        if operator == "exists":
            return bool(concept.properties.get(name)) == (value == "true")
        return _compares(self._values(concept, name), operator, value)

    def _is_related(self, concept: Concept, operator: str, value: str) -> bool | None:
        own, wanted = self.same(concept.code), self.concepts.get(value)
        if wanted is None:
            return self._absent()
        if operator == "generalizes":
            return own == value or own in self._above(wanted)
        is_below = value in self._above(concept)
        if operator == "descendent-of":
            return is_below
        return (own == value or is_below) == (operator == "is-a")

    def _above(self, concept: Concept) -> set[str]:
        """Those that it is a kind of, however far; a circle ends."""
        found, left = set[str](), list(concept.parents)
        while left:
            code = left.pop()
            if code not in found and code in self.concepts:
                found.add(code)
                left += self.concepts[code].parents
        return found

    def _values(self, concept: Concept, name: str) -> Iterable[str]:
        if name in _OF_THE_CODE:
            return (concept.code,)
        if name in ("parent", "child"):
            return concept.parents if name == "parent" else concept.children
        return concept.properties.get(name) or _DEFAULTS.get(name) or ()


_HIERARCHICAL = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})


def _compares(values: Iterable[str], operator: str, value: str) -> bool | None:
    if operator == "=":
        return value in values
    if operator in ("in", "not-in"):
        listed = {each.strip() for each in value.split(",")}
        return any(each in listed for each in values) == (operator == "in")
    return _match(values, value) if operator == "regex" else None


def _match(values: Iterable[str], text: str) -> bool | None:
    """The whole of one of them: https://hl7.org/fhir/R4/valueset-filter-operator.html"""
    try:
        wanted = pattern(text)
    except ValueError:
        return None
    return any(wanted.fullmatch(each) is not None for each in values)


def read(resource: Mapping[str, Any]) -> CodeSystem:
    """A CodeSystem resource; a supplement has no codes of its own."""
    content, version = resource.get("content"), str(resource.get("version", ""))
    if content not in ("complete", "fragment", "example"):
        return CodeSystem(version=version)
    is_cased = resource.get("caseSensitive") is not False
    concepts = dict[str, Concept]()
    for concept in _concepts(resource.get("concept", ()), ""):
        concepts[concept.code if is_cased else concept.code.casefold()] = concept
    _relate(concepts)
    declared = frozenset(each["code"] for each in resource.get("property", ()) if "code" in each)
    return ListedCodeSystem(
        version=version,
        concepts=concepts,
        declared=declared | {name for each in concepts.values() for name in each.properties},
        is_whole=content == "complete",
        is_cased=is_cased,
    )


def _concepts(listed: Iterable[Mapping[str, Any]], parent: str) -> Iterator[Concept]:
    """Each with its parent, those below it after it; as deep as a resource may be."""
    for each in listed:
        if not isinstance(each.get("code"), str):
            continue
        concept = Concept(each["code"], [parent] if parent else [])
        for said in each.get("property", ()):
            concept.properties.setdefault(str(said.get("code")), []).extend(_texts(said))
        if "display" in each:
            concept.properties["display"] = [each["display"]]
        yield concept
        yield from _concepts(each.get("concept", ()), concept.code)


def _texts(said: Mapping[str, Any]) -> Iterator[str]:
    for name, value in said.items():
        if name.startswith("value"):
            text = value.get("code") if isinstance(value, dict) else value
            yield str(text).lower() if isinstance(text, bool) else str(text)


def _relate(concepts: Mapping[str, Concept]) -> None:
    """Parents and children that properties tell, from either side."""
    for key, concept in concepts.items():
        for name in _UP:
            concept.parents += concept.properties.get(name, [])
        for child in concept.properties.get("child", ()):
            if child in concepts:
                concepts[child].parents.append(key)
    for key, concept in concepts.items():
        for parent in dict.fromkeys(concept.parents):
            if parent in concepts:
                concepts[parent].children.append(key)


# https://www.rfc-editor.org/rfc/rfc5646#section-2.1, its grandfathered tags but for those that its grammar makes anyway
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?\Z"
    r"|x(?:-[a-z0-9]{1,8})+\Z"
    r"|(?:en-GB-oed|i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)"
    r"|sgn-(?:BE-FR|BE-NL|CH-DE))\Z",
    re.IGNORECASE | re.ASCII,
)
# https://www.rfc-editor.org/rfc/rfc6838#section-4.2, parameters as https://www.rfc-editor.org/rfc/rfc2045#section-5.1
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(
    rf"{_NAME}/{_NAME}(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[^\"\r\n]*\"))*\Z"
)
# Systems whose codes a rule makes.
RULED: Mapping[str, CodeSystem] = {
    ucum.SYSTEM: CodeSystem(ucum.is_unit),
    "urn:ietf:bcp:47": CodeSystem(lambda code: _LANGUAGE.match(code) is not None),
    "urn:ietf:bcp:13": CodeSystem(lambda code: _MEDIA_TYPE.match(code) is not None),
}
