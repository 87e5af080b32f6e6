"""The constraints of R4 itself, in FHIRPath, and its required bindings of more than a code: too slow for every write.

Source: the constraints of each StructureDefinition, https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from fhir_blob.errors import Issue
from fhir_blob.fhir.definitions import Element, constraints, definitions
from fhir_blob.fhir.elements import Spot, descendants, fields, resources_in
from fhir_blob.fhir.profiling import coherence, published
from fhir_blob.fhir.profiling.evaluation import Means, holds_true
from fhir_blob.fhir.profiling.resolving import Resolver, text_of, type_of
from fhir_blob.fhir.profiling.rules import coded
from fhir_blob.fhir.profiling.value_sets import Find, Terms

_SECONDS = 3.0
# In coherence.py.
_BY_HAND = frozenset({"rng-2"})
_CODED = frozenset({"CodeableConcept", "Coding", "Quantity", "Age", "Count", "Distance", "Duration"})


def check(resource: dict[str, Any], find: Find) -> Iterator[Issue]:
    """What a resource that is valid as fhir/validation.py sees it breaks beyond that."""
    until, terms = time.monotonic() + _SECONDS, Terms.of(find)
    means = Means(terms, Resolver(), until, lambda spot, url: None)
    for each in resources_in(resource):
        yield from coherence.of_resource(each)
        if each.name == "contained":
            continue  # it is a part of what contains it
        for spot in (each, *descendants(each)):
            if time.monotonic() > until:
                told = "What would take longer than a validation may was not checked."
                yield Issue("information", "not-supported", f"{spot.path}: {told}", spot.path)
                return
            yield from _constraints(spot, means)
            yield from _binding(spot, terms)
            yield from _target(spot, means)
            yield from coherence.of_element(spot, terms)


def _constraints(spot: Spot, means: Means) -> Iterator[Issue]:
    if spot.value is None:
        return
    owner = spot.parent.node[1] if spot.parent is not None else ""
    for key, (severity, sentence, expression) in _said(owner, spot.name, spot.type).items():
        is_kept = holds_true(expression, spot, means)
        if is_kept is None:
            told = f"{spot.path}: The constraint {key} was not checked."
            yield Issue("information", "not-supported", told, spot.path)
        elif not is_kept:
            yield Issue(severity, "invariant", f"{spot.path}: {sentence} ({key})", spot.path)


@lru_cache(4096)
def _said(owner: str, name: str, type: str) -> Mapping[str, tuple[str, str, str]]:
    """Of a type or backbone element, and of its place in another."""
    known, found = constraints(), fields(owner).get(name) if owner else None
    paths = [type, *((f"{owner}.{found.stem}", f"{owner}.{found.stem}[x]") if found is not None else ())]
    return {key: each for path in paths for key, each in known.get(path, {}).items() if key not in _BY_HAND}


def _binding(spot: Spot, terms: Terms) -> Iterator[Issue]:
    if spot.type not in _CODED or spot.parent is None:
        return
    element = _element(spot.parent.node[1], spot.name)
    if element is None or not element.codes:
        return
    is_bound = terms.is_bound(spot.value, element.codes)
    if is_bound is None:
        told = f"{spot.path}: Whether {coded(spot.value)} is in {element.codes!r} was not checked."
        yield Issue("information", "not-supported", told, spot.path)
    elif not is_bound:
        told = f"{spot.path}: {coded(spot.value)} is no code of {element.codes!r}, to which it is bound."
        yield Issue("error", "code-invalid", told, spot.path)


def _target(spot: Spot, means: Means) -> Iterator[Issue]:
    """What a reference leads to, as far as it tells its type or is in the document."""
    if spot.type != "Reference" or spot.parent is None:
        return
    owner, found = spot.parent.node[1], fields(spot.parent.node[1]).get(spot.name)
    allowed = published.targets().get(f"{owner}.{found.stem}") if found is not None else None
    if allowed:
        target = means.resolve(spot)
        type = target.type if target is not None else type_of(spot)
        if type and type not in allowed:
            told = f"{spot.path}: {text_of(spot)[:120]!r} refers to a {type}; R4 allows {', '.join(allowed)}."
            yield Issue("error", "structure", told, spot.path)


def _element(owner: str, name: str) -> Element | None:
    structure, found = definitions().structure(owner), fields(owner).get(name)
    return structure.get(name) or (structure.get(f"{found.stem}[x]") if found is not None else None)
