"""The codes of a ValueSet, where they can be listed: https://hl7.org/fhir/R4/valueset.html"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir_blob.fhir.definitions import definitions

# (system, code); system None where only the codes are known.
Codes = frozenset[tuple[str | None, str]]
# The conformance resource of that type and canonical URL; None where it is not known.
Find = Callable[[str, str], Mapping[str, Any] | None]
_DEEPEST = 8


def codes(url: str, find: Find, depth: int = 0) -> Codes | None:
    """None where the ValueSet is unknown, or takes a terminology server: filters, systems that are not here."""
    bare = url.partition("|")[0]
    known = definitions().codes(bare)
    if known:
        system = definitions().system(bare) or None
        return frozenset((system, code) for code in known)
    value_set = find("ValueSet", url)
    if value_set is None or depth > _DEEPEST:
        return None
    if "expansion" in value_set:
        return frozenset(_expanded(value_set["expansion"].get("contains", ())))
    compose = value_set.get("compose", {})
    included = [_included(each, find, depth) for each in compose.get("include", ())]
    excluded = [_included(each, find, depth) for each in compose.get("exclude", ())]
    if not included or any(each is None for each in (*included, *excluded)):
        return None
    return _union(included) - _union(excluded)


def holds(found: Codes, system: str | None, code: str) -> bool:
    """Whether the code is among them; without a system wherever it comes from."""
    if (None, code) in found or (system is not None and (system, code) in found):
        return True
    return system is None and any(code == each for _, each in found)


def is_bound(value: Any, found: Codes) -> bool:
    """Whether one of the value's codes is among them; a Coding without a system means none of any system."""
    if isinstance(value, str):
        return holds(found, None, value)
    return any((system, code) in found or (None, code) in found for system, code in _codings(value))


def _codings(value: Any) -> Iterator[tuple[str | None, str]]:
    """Of a Coding, a CodeableConcept or a Quantity."""
    if isinstance(value, dict):
        if isinstance(value.get("code"), str):
            yield value.get("system"), value["code"]
        for each in value.get("coding", ()):
            yield from _codings(each)


def _union(parts: list[Codes | None]) -> Codes:
    return frozenset(each for part in parts if part is not None for each in part)


def _expanded(contains: Any) -> Iterator[tuple[str | None, str]]:
    for each in contains:
        if "code" in each and not each.get("abstract"):
            yield each.get("system"), each["code"]
        yield from _expanded(each.get("contains", ()))


def _included(include: Mapping[str, Any], find: Find, depth: int) -> Codes | None:
    """A system, and value sets, all of which have to have the code."""
    if "filter" in include:
        return None
    parts: list[Codes | None] = [codes(url, find, depth + 1) for url in include.get("valueSet", ())]
    if "system" in include:
        parts.append(_of_system(include, find))
    if not parts or any(part is None for part in parts):
        return None
    first, *others = [part for part in parts if part is not None]
    return frozenset(each for each in first if all(holds(other, *each) for other in others))


def _of_system(include: Mapping[str, Any], find: Find) -> Codes | None:
    system = include["system"]
    if "concept" in include:
        return frozenset((system, each["code"]) for each in include["concept"])
    return of_system(system, find)


def of_system(system: str, find: Find) -> Codes | None:
    """Every code of a CodeSystem; None where it is unknown, or has them elsewhere, or asks for no exact case."""
    code_system = find("CodeSystem", system)
    if code_system is None or code_system.get("content") != "complete" or code_system.get("caseSensitive") is False:
        return None
    return frozenset((system, code) for code in _concepts(code_system.get("concept", ())))


def _concepts(concepts: Any) -> Iterator[str]:
    for each in concepts:
        yield each["code"]
        yield from _concepts(each.get("concept", ()))
