"""Where an extension may stand, by its definition: https://hl7.org/fhir/R4/defining-extensions.html#context"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot, fields
from fhir_blob.fhir.profiling.evaluation import Means, evaluated, holds_true
from fhir_blob.fhir.profiling.rules import Finding, quoted, unchecked
from fhir_blob.fhir.profiling.tree import CORE, Node, extension_url

_BASES = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
    **dict.fromkeys(("Age", "Count", "Distance", "Duration"), "Quantity"),
}


def of_extension(extension: Spot, profiles: Sequence[Mapping[str, Any]], root: Node, means: Means) -> Iterator[Finding]:
    """What is wrong with its place, by the definitions of it, the last the most special one; `root` is their tree."""
    yield from _modifies(extension, root)
    told_in = (each["context"] for each in reversed(profiles) if each.get("context"))
    contexts: Sequence[Mapping[str, Any]] = next(told_in, [])
    allowed = [_is_allowed(extension, each, means) for each in contexts]
    if contexts and not any(allowed):
        if None in allowed:
            yield unchecked("Whether the extension may stand here")
        else:
            told = ", ".join(quoted(each.get("expression")) for each in contexts[:5])
            yield Finding("extension", f"the extension may stand in {told}, not here.")
    for expression in (each for profile in profiles for each in profile.get("contextInvariant", ())):
        is_kept = holds_true(expression, extension.parent, means) if extension.parent else None
        if is_kept is None:
            yield unchecked("The invariant of the place where the extension stands")
        elif not is_kept:
            yield Finding("extension", f"the extension may not stand here: {quoted(expression)} is not true.")


def _modifies(extension: Spot, root: Node) -> Iterator[Finding]:
    """https://hl7.org/fhir/R4/extensibility.html#modifierExtension"""
    is_modifier = root.definition.get("isModifier") is True
    if is_modifier and extension.name == "extension":
        yield Finding("extension", "this modifies what it stands in, so it is a modifierExtension.")
    elif not is_modifier and extension.name == "modifierExtension":
        yield Finding("extension", "this modifies nothing, so it is no modifierExtension.")


def of_parts(extension: Spot, parts: Sequence[Spot], root: Node) -> Iterator[tuple[Spot, Finding]]:
    """The extensions in one have a relative url that its definition knows, or an own definition."""
    known = {extension_url(each) for each in root.children.get("extension", Node()).slices.values()}
    for part in parts:
        url = part.value.get("url") if isinstance(part.value, dict) else None
        if isinstance(url, str) and ":" not in url and url not in known:
            yield part, Finding("extension", f"the extension that it stands in knows no {quoted(url)}.")


def _is_allowed(extension: Spot, context: Mapping[str, Any], means: Means) -> bool | None:
    """None where that cannot be said."""
    kind, expression, holder = context.get("type"), str(context.get("expression", "")), extension.parent
    if holder is None:
        return None
    if kind == "element":
        return _is_element(holder, expression)
    if kind == "extension":
        return holder.type == "Extension" and holder.value.get("url") == expression
    if kind == "fhirpath":
        top = _resource_of(holder)
        found = evaluated(expression, top, means)
        if found is None or not isinstance(holder.value, dict):
            return None
        return any(each is holder.value for each in found)
    return None


def _is_element(holder: Spot, expression: str) -> bool | None:
    named, _, path = expression.rpartition("#")
    if named and not named.startswith(CORE):
        return None  # an element of a profile
    wanted = path.removeprefix(CORE).removesuffix("[x]")
    return wanted in ("Element", *_names(holder))


def _names(spot: Spot) -> Iterator[str]:
    """All that the element can be called: its types, and its path from each element that it is in."""
    yield spot.type
    if spot.type in _BASES:
        yield _BASES[spot.type]
    if spot.type in definitions().types:
        yield "Resource"
        yield "DomainResource"
    elif "." in spot.type:
        yield "BackboneElement"
    path, here = "", spot
    while here.parent is not None and here.type not in definitions().types:
        known = fields(here.parent.node[1]).get(here.name)
        path = f".{known.stem if known else here.name}{path}"
        here = here.parent
        yield f"{here.type}{path}"


def _resource_of(spot: Spot) -> Spot:
    while spot.parent is not None and spot.type not in definitions().types:
        spot = spot.parent
    return spot
