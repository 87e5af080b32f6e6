"""FHIRPath at an element of a document: invariants, and where an extension may stand.

resolve() finds what is in the document or can be read, memberOf() asks the value sets that are known; where they
cannot tell, nothing is told. Source: https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot
from fhir_blob.fhir.interpreter import Functions, interpreted
from fhir_blob.fhir.nodes import Node, Path
from fhir_blob.fhir.paths import compiled
from fhir_blob.fhir.profiling import tree
from fhir_blob.fhir.profiling.conditions import condition
from fhir_blob.fhir.profiling.resolving import Resolver, type_of
from fhir_blob.fhir.profiling.value_sets import Terms

_LONGEST = 4000
_ASKS = re.compile(r"\b(?:resolve|memberOf|conformsTo)\s*\(")
# Of what a reference leads to only the type, which the reference tells.
_RESOLVES = re.compile(r"\bresolve\s*\(\s*\)")
_OF_TYPE = r"ofType\s*\(\s*[\w.]+\s*\)\s*\.\s*(?:exists|empty)\s*\(\s*\)"
_FOR_ITS_TYPE = re.compile(
    r"\bresolve\s*\(\s*\)[\s)]*(?:is\s+[\w.]+|\.\s*is\s*\(\s*[\w.]+\s*\)"
    rf"|\.\s*{_OF_TYPE}|\.\s*iif\s*\(\s*empty\(\)\s*,\s*true\s*,\s*{_OF_TYPE})"
)


@dataclass(frozen=True, slots=True)
class Means:
    """What a check may ask, until a moment of time.monotonic().

    `fits_profile` tells whether an element is by a profile, None where that is not known; `tree` what a profile says.
    """

    terms: Terms
    resolve: Resolver
    until: float
    fits_profile: Callable[[Spot, str], bool | None]
    tree: Callable[[str], tree.Node] = lambda url: tree.Node()


class Untold(ValueError):
    """A function that cannot answer here."""


def holds_true(expression: str, spot: Spot, means: Means) -> bool | None:
    """None where it cannot be said. Nothing is not true: https://hl7.org/fhir/R4/fhirpath.html#bool"""
    if len(expression) > _LONGEST:
        return None
    try:
        return condition(expression).holds(lambda text: _told(_values(text, spot, means))) is True
    except (ValueError, RecursionError):
        return None


def _told(values: list[Any]) -> bool | None:
    """https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections"""
    if len(values) > 1:
        raise ValueError("a condition has one value")
    return values[0] is not False if values else None


def evaluated(expression: str, spot: Spot, means: Means) -> list[Any] | None:
    """The values of FHIRPath at an element, None where it is not fit to be evaluated here."""
    try:
        return _values(expression, spot, means) if len(expression) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None


def _values(expression: str, spot: Spot, means: Means) -> list[Any]:
    """ValueError where it cannot be evaluated here, or not in time."""
    top = spot
    if time.monotonic() > means.until:
        raise Untold("it takes too long")
    while top.parent is not None and top.type not in definitions().types:
        top = top.parent
    if top.name != "contained":
        expression = expression.replace("%rootResource", "%resource")
    return [value for value, _ in _path(expression, spot, means)((spot.value, spot.type), (top.value, top.type))]


def _path(expression: str, spot: Spot, means: Means) -> Path:
    node = None if _ASKS.search(expression) else _compiled(expression)
    if node is not None:
        return lambda focus, resource: node([focus], resource)
    by_type = len(_RESOLVES.findall(expression)) == len(_FOR_ITS_TYPE.findall(expression))
    return interpreted(expression, _functions(spot, means, by_type=by_type), means.until)


@lru_cache(512)  # the invariants of a profile come again
def _compiled(expression: str) -> Node | None:
    return compiled(expression)


def _functions(spot: Spot, means: Means, *, by_type: bool) -> Functions:
    """`by_type`: of what a reference leads to nothing is asked but its type."""

    def resolve(values: list[Any]) -> list[Any]:
        return [_node(_target(each, spot, means, by_type=by_type)) for each in values if each is not None]

    def member_of(values: list[Any], url: str) -> list[bool]:
        if len(values) != 1:
            return []
        found = means.terms.is_bound(values[0], url)
        if found is None:
            raise Untold(f"not all codes of {url[:80]!r} are known")
        return [found]

    def conforms_to(values: list[Any], url: str) -> list[bool]:
        if len(values) != 1 or not isinstance(values[0], dict):
            return []
        type = str(values[0].get("resourceType") or spot.type)
        found = means.fits_profile(Spot(type, values[0], {}), url)
        if found is None:
            raise Untold(f"{url[:80]!r} is not known")
        return [found]

    return {
        "resolve": {"fn": resolve},
        "memberOf": {"fn": member_of, "arity": {1: ["String"]}},
        "conformsTo": {"fn": conforms_to, "arity": {1: ["String"]}},
    }


def _target(value: Any, spot: Spot, means: Means, *, by_type: bool) -> Mapping[str, Any]:
    reference = Spot("Reference", value, {}, parent=spot)
    found = means.resolve.anywhere(reference)
    if found is not None and isinstance(found.value, dict):
        return found.value
    type = type_of(reference)
    if not by_type or not type:
        raise Untold("a reference leads elsewhere")
    return {"resourceType": type}


def _node(resource: Mapping[str, Any]) -> Any:
    from fhirpathpy.engine.nodes import ResourceNode

    return ResourceNode.create_node(resource)  # type: ignore[no-untyped-call]
