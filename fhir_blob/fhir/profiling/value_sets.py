"""Whether a code is one of a ValueSet, by what is known of it here: https://hl7.org/fhir/R4/valueset.html

Each answer is True, False, or None where it takes what is not here: a value set, the content of a code system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.fhir.profiling import code_systems
from fhir_blob.fhir.profiling.code_systems import CodeSystem, Filter
from fhir_blob.fhir.profiling.logic import all_of, any_of, negated

# The conformance resource of that type and canonical URL; None where it is not known.
Find = Callable[[str, str], Mapping[str, Any] | None]
_DEEPEST = 8
_SNOMED, _LOINC = "http://snomed.info/sct", "http://loinc.org"
_UNKNOWN = CodeSystem()


@dataclass(frozen=True, slots=True)
class Part:
    """An include or exclude of a value set: codes that are of the system, pass the filters and are in the sets."""

    system: str | None
    codes: frozenset[str] | None
    filters: tuple[Filter, ...]
    sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """`listed`: (system, code) of its expansion, which may be a part of it."""

    include: tuple[Part, ...]
    exclude: tuple[Part, ...]
    listed: frozenset[tuple[str | None, str]] = frozenset()


@dataclass(slots=True)
class Terms:
    """The value sets and code systems that can be found, each read once."""

    find: Find
    _systems: dict[str, CodeSystem] = field(default_factory=dict)
    _sets: dict[str, ValueSet | None] = field(default_factory=dict)

    def __call__(self, type: str, url: str) -> Mapping[str, Any] | None:
        return self.find(type, url)

    @classmethod
    def of(cls, find: Find) -> Terms:
        return find if isinstance(find, Terms) else cls(find)

    def is_bound(self, value: Any, url: str) -> bool | None:
        """Whether one of the value's codes is in the value set; a Coding without a system means none of any system."""
        if isinstance(value, str):
            return self.holds(url, None, value)
        return any_of(self.holds(url, system or "", code) for system, code in codings(value))

    def holds(self, url: str, system: str | None, code: str, depth: int = 0) -> bool | None:
        """Whether the code is in the value set; without a system (None) wherever it comes from."""
        found = self._set(url) if depth <= _DEEPEST else None
        if found is None:
            return None
        if (system, code) in found.listed or (system is None and any(code == each for _, each in found.listed)):
            return True
        if not found.include:
            return False if found.listed else None
        is_excluded = any_of(self._is_of(each, system, code, depth) for each in found.exclude)
        is_included = any_of(self._is_of(each, system, code, depth) for each in found.include)
        return all_of((is_included, negated(is_excluded)))

    def contains(self, system: str, code: str) -> bool | None:
        """Whether the code system has the code."""
        return self.system(system).contains(code)

    def system(self, url: str) -> CodeSystem:
        if url not in self._systems:
            resource = self.find("CodeSystem", url)
            read = code_systems.read(resource) if resource is not None else _UNKNOWN
            is_known = isinstance(read, code_systems.ListedCodeSystem)
            self._systems[url] = read if is_known else code_systems.RULED.get(url, read)
        return self._systems[url]

    def _is_of(self, part: Part, system: str | None, code: str, depth: int) -> bool | None:
        if part.system is not None and system not in (part.system, None):
            return False
        own = part.system if part.system is not None else system
        inside = (self.holds(url, own, code, depth + 1) for url in part.sets)
        return all_of((self._is_in_system(part, code), *inside))

    def _is_in_system(self, part: Part, code: str) -> bool | None:
        if part.system is None:
            return True
        if part.codes is not None:
            return code in part.codes or self.system(part.system).same(code) in part.codes
        system = self.system(part.system)
        return all_of((system.contains(code), *(system.passes(code, each) for each in part.filters)))

    def _set(self, url: str) -> ValueSet | None:
        if url not in self._sets:
            resource = self.find("ValueSet", url)
            self._sets[url] = _implicit(url) if resource is None else self._read(resource)
        return self._sets[url]

    def _read(self, resource: Mapping[str, Any]) -> ValueSet:
        composed = resource.get("compose", {})
        include, exclude = (tuple(map(self._part, composed.get(name, ()))) for name in ("include", "exclude"))
        return ValueSet(include, exclude, frozenset(_expanded(resource.get("expansion", {}).get("contains", ()))))

    def _part(self, said: Mapping[str, Any]) -> Part:
        system = said.get("system")
        codes = None
        if system is not None and "concept" in said:
            same = self.system(system).same
            codes = frozenset(same(each["code"]) for each in said["concept"] if "code" in each)
        return Part(system, codes, tuple(said.get("filter", ())), tuple(said.get("valueSet", ())))


def codings(value: Any) -> Iterator[tuple[str | None, str]]:
    """(system, code) of a Coding, a CodeableConcept or a Quantity."""
    if isinstance(value, dict):
        if isinstance(value.get("code"), str):
            yield value.get("system"), value["code"]
        for each in value.get("coding", ()):
            yield from codings(each)


def _expanded(contains: Any) -> Iterator[tuple[str | None, str]]:
    for each in contains:
        if "code" in each and not each.get("abstract"):
            yield each.get("system"), each["code"]
        yield from _expanded(each.get("contains", ()))


def _implicit(url: str) -> ValueSet | None:
    """Those that a URL alone says: https://hl7.org/fhir/R4/snomedct.html#implicit, https://hl7.org/fhir/R4/loinc.html"""
    bare, _, asked = url.partition("|")[0].partition("?fhir_vs")
    if bare.startswith(_SNOMED) and "?fhir_vs" in url:
        code = asked.removeprefix("=isa/")
        filters = ({"property": "concept", "op": "is-a", "value": code},) if code != asked else ()
        unknown = ("",) if asked and not filters else ()  # a reference set, or an expression
        return ValueSet((Part(_SNOMED, None, filters, unknown),), ())
    if bare == f"{_LOINC}/vs" or bare.startswith(f"{_LOINC}/vs/"):
        return ValueSet((Part(_LOINC, None, (), ("",) if bare != f"{_LOINC}/vs" else ()),), ())
    return None
