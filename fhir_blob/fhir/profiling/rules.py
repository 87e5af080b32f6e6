"""What a profile says of one element by itself: its value, its limits, its codes, its invariants.

Source: https://hl7.org/fhir/R4/elementdefinition-definitions.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot
from fhir_blob.fhir.paths import read_path
from fhir_blob.fhir.profiling import value_sets
from fhir_blob.fhir.profiling.tree import CORE, value_of
from fhir_blob.fhir.profiling.value_sets import Find
from fhir_blob.fhir.profiling.values import Incomparable, departs, is_beyond, limits

_QUOTED = 160
_LONGEST = 4000
# trace() gives what it is called on, and would print it.
# A pattern whose repetition is repeated may take for ever; resolve() is only known to tell a type.
_UNFIT = re.compile(r"\bresolve\s*\(")
_MAX_VALUE_SET = f"{CORE}elementdefinition-maxValueSet"
_ABSTRACT = ("Element", "BackboneElement", "Resource", "DomainResource")
_OF_EVERY = re.compile(r"(?:ele|ext|dom)-\d+\Z")


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about an element, `way` leads from there to the one that is meant."""

    code: str
    sentence: str
    severity: str = "error"
    way: str = ""


def unchecked(what: str) -> Finding:
    """What is not known to be right or wrong."""
    return Finding("not-supported", f"{what} was not checked.", "information")


def of_element(spot: Spot, definition: Mapping[str, Any], find: Find, until: float) -> Iterator[Finding]:
    """All that is not as the profile has it; `until` is a moment of time.monotonic()."""
    yield from _value(spot, definition)
    yield from _binding(spot, definition.get("binding", {}), find)
    yield from _limits(spot, definition)
    for constraint in definition.get("constraint", ()):
        yield from _invariant(spot, constraint, until)


def _value(spot: Spot, definition: Mapping[str, Any]) -> Iterator[Finding]:
    for kind in ("fixed", "pattern"):
        wanted = value_of(definition, kind)
        way = None if wanted is None else departs(spot.value, wanted, exactly=kind == "fixed")
        if way is not None:
            told = f"{quoted(spot.value)} is not {quoted(wanted)}, as the profile has it."
            if isinstance(spot.value, dict) or isinstance(wanted, dict):
                told = f"it is not as the {kind} value of the profile has it."
            yield Finding("value", told, way=way)


def _limits(spot: Spot, definition: Mapping[str, Any]) -> Iterator[Finding]:
    most = definition.get("maxLength")
    if isinstance(spot.value, str) and isinstance(most, int) and len(spot.value) > most:
        yield Finding("too-long", f"it has {len(spot.value)} characters; the profile allows {most}.")
    for kind, limit in limits(definition):
        if spot.value is None:
            continue
        try:
            if is_beyond(spot.value, kind, limit):
                told = "less than" if kind == "minValue" else "more than"
                yield Finding("value", f"it is {told} {_limit(limit)}, which the profile allows.")
        except Incomparable as error:
            yield unchecked(f"Its {kind}, {error},")


def _limit(limit: Any) -> str:
    return f"{limit.get('value')} {limit.get('code', '')}" if isinstance(limit, dict) else quoted(limit)


_OUTSIDE = {
    "required": ("error", "it has no code of {}, to which the profile binds it."),
    "extensible": ("warning", "it has no code of {}, as it should where one fits."),
    "preferred": ("information", "it has no code of {}, which the profile prefers."),
}


def _binding(spot: Spot, binding: Mapping[str, Any], find: Find) -> Iterator[Finding]:
    """https://hl7.org/fhir/R4/terminologies.html#strength"""
    if spot.value is None:
        return
    bound = [(str(binding.get("strength")), binding.get("valueSet"))]
    for each in binding.get("extension", ()):
        if each.get("url") == _MAX_VALUE_SET:
            bound.append(("required", each.get("valueCanonical") or each.get("valueUri")))
    for strength, url in bound:
        if strength not in _OUTSIDE or not isinstance(url, str):
            continue
        severity, told = _OUTSIDE[strength]
        found = value_sets.codes(url, find)
        if found is None and strength != "preferred":
            yield unchecked(f"Its {strength} binding to {quoted(url)}, whose codes cannot be listed here,")
        elif found is not None and not value_sets.is_bound(spot.value, found):
            yield Finding("code-invalid", told.format(quoted(url)), severity)


def _invariant(spot: Spot, constraint: Mapping[str, Any], until: float) -> Iterator[Finding]:
    """Those of R4 itself are no business of a profile."""
    key, expression, source = str(constraint.get("key")), constraint.get("expression"), constraint.get("source")
    if spot.value is None or (is_type(source) if isinstance(source, str) else _OF_EVERY.match(key)):
        return
    if not isinstance(expression, str):
        yield unchecked(f"The invariant {quoted(key)}, which has no FHIRPath,")
        return
    is_kept = holds_true(expression, spot, until)
    if is_kept is None:
        yield unchecked(f"The invariant {quoted(key)}, which takes too long or is not understood here,")
    elif not is_kept:
        severity = "error" if constraint.get("severity") == "error" else "warning"
        yield Finding("invariant", f"{constraint.get('human', 'an invariant is broken')} ({key})", severity)


def holds_true(expression: str, spot: Spot, until: float) -> bool | None:
    """None where it cannot be said. Nothing is not true: https://hl7.org/fhir/R4/fhirpath.html#bool"""
    found = evaluated(expression, spot, until)
    return None if found is None else bool(found) and found[0] is not False


def evaluated(expression: str, spot: Spot, until: float) -> list[Any] | None:
    """The values of FHIRPath at an element, None where it is not fit to be evaluated here."""
    top = spot
    if time.monotonic() > until or len(expression) > _LONGEST or _UNFIT.search(expression):
        return None
    while top.parent is not None and top.type not in definitions().types:
        top = top.parent
    if top.name != "contained":
        expression = expression.replace("%rootResource", "%resource")
    try:
        return [value for value, _ in read_path(expression)((spot.value, spot.type), (top.value, top.type))]
    except ValueError:
        return None


def is_type(url: str) -> bool:
    """Whether it is the definition of a type: what that says was checked before."""
    core = url.partition("|")[0].removeprefix(CORE)
    return core in definitions().types or bool(definitions().structure(core)) or core in _ABSTRACT


def is_instance(spot: Spot, url: str) -> bool:
    """Whether it is of the type that is_type() of the url tells."""
    return url.partition("|")[0].removeprefix(CORE) in (spot.type, *_ABSTRACT)


def quoted(value: Any) -> str:
    """The value, cut; of an object or list only that it is one."""
    if isinstance(value, dict | list):
        return "what is there" if value else "nothing"
    return repr(str(value)[:_QUOTED])
