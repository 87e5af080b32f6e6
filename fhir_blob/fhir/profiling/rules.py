"""What a profile says of one element by itself: its value, its limits, its codes, its invariants.

Source: https://hl7.org/fhir/R4/elementdefinition-definitions.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot
from fhir_blob.fhir.profiling.evaluation import Means, holds_true
from fhir_blob.fhir.profiling.tree import CORE, value_of
from fhir_blob.fhir.profiling.value_sets import Terms, codings
from fhir_blob.fhir.profiling.values import Incomparable, departs, is_beyond, limits

_QUOTED = 160
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


def of_element(spot: Spot, definition: Mapping[str, Any], means: Means) -> Iterator[Finding]:
    """All that is not as the profile has it."""
    yield from _value(spot, definition)
    yield from _binding(spot, definition.get("binding", {}), means.terms)
    yield from _limits(spot, definition)
    for constraint in definition.get("constraint", ()):
        yield from _invariant(spot, constraint, means)


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
    "required": ("error", "{} is no code of {}, to which the profile binds it."),
    "extensible": ("warning", "{} is no code of {}, as it should be where one fits."),
    "preferred": ("information", "{} is no code of {}, which the profile prefers."),
}


def _binding(spot: Spot, binding: Mapping[str, Any], terms: Terms) -> Iterator[Finding]:
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
        is_bound = terms.is_bound(spot.value, url)
        if is_bound is None and strength != "preferred":
            told_of = f"Whether {coded(spot.value)} is in {quoted(url)}"
            yield unchecked(f"{told_of} ({strength}), which is not all known here,")
        elif is_bound is False:
            yield Finding("code-invalid", told.format(coded(spot.value), quoted(url)), severity)


def coded(value: Any) -> str:
    """The codes of a value, as system|code."""
    if isinstance(value, str):
        return quoted(value)
    return ", ".join(quoted(f"{system or ''}|{code}") for system, code in codings(value)) or "a value without a code"


def _invariant(spot: Spot, constraint: Mapping[str, Any], means: Means) -> Iterator[Finding]:
    """Those of R4 itself are no business of a profile."""
    key, expression, source = str(constraint.get("key")), constraint.get("expression"), constraint.get("source")
    if spot.value is None or (is_type(source) if isinstance(source, str) else _OF_EVERY.match(key)):
        return
    if not isinstance(expression, str):
        yield unchecked(f"The invariant {quoted(key)}, which has no FHIRPath,")
        return
    is_kept = holds_true(expression, spot, means)
    if is_kept is None:
        yield unchecked(f"The invariant {quoted(key)}, which takes too long or is not understood here,")
    elif not is_kept:
        severity = "error" if constraint.get("severity") == "error" else "warning"
        yield Finding("invariant", f"{constraint.get('human', 'an invariant is broken')} ({key})", severity)


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
