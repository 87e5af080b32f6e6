"""By which slice of a profile an element goes: https://hl7.org/fhir/R4/profiling.html#discriminator"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir_blob.fhir.elements import Spot, children
from fhir_blob.fhir.profile_tree import Node, types, value_of
from fhir_blob.fhir.value_sets import Codes, Find, codes, holds

_SIMPLE = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*\Z")
FitsProfile = Callable[[Spot, str], bool]


class Unclear(Exception):
    """A discriminator that cannot be evaluated here."""


def slice_of(spot: Spot, node: Node, stem: str, fits_profile: FitsProfile, find: Find) -> str:
    """The name of the first slice that it matches, '' where it matches none. Unclear where that cannot be said."""
    discriminators = node.definition.get("slicing", {}).get("discriminator") or _implied(node, stem)
    if not discriminators:
        raise Unclear("there is no discriminator")
    for name, slice in node.slices.items():
        if all(_matches(spot, slice, name, stem, each, fits_profile, find) for each in discriminators):
            return name
    return ""


def _implied(node: Node, stem: str) -> list[Mapping[str, str]]:
    """Extensions are told by url, choices by type, also where it is not said."""
    if stem in ("extension", "modifierExtension"):
        return [{"type": "value", "path": "url"}]
    is_choice = any(name.startswith(stem) and name[len(stem) :][:1].isupper() for name in node.slices)
    return [{"type": "type", "path": "$this"}] if is_choice else []


def _matches(
    spot: Spot,
    slice: Node,
    name: str,
    stem: str,
    discriminator: Mapping[str, str],
    fits_profile: FitsProfile,
    find: Find,
) -> bool:
    kind, path = discriminator.get("type"), discriminator.get("path", "")
    if path == "url" and (url := _extension_url(slice)):
        return isinstance(spot.value, dict) and spot.value.get("url") == url
    found, nodes = _at(spot, slice, path)
    node = nodes[0]
    if kind in ("value", "pattern"):
        said = [node] if _discriminates(node) else [each for each in nodes if _discriminates(each)]
        if not said:
            raise Unclear(f"the slice {name!r} has no value at {path!r}")
        return any(_fits(each, wanted, find) for each in found for wanted in said)
    if kind == "type":
        allowed = types(node.definition) or ({name[len(stem) :]: {}} if path == "$this" else {})
        if not allowed:
            raise Unclear(f"the slice {name!r} has no type at {path!r}")
        return any(each.type.lower() in {type.lower() for type in allowed} for each in found)
    if kind == "exists":
        return bool(found) is (str(node.definition.get("max", "*")) != "0")
    if kind == "profile":
        urls = [url for each in types(node.definition).values() for url in each.get("profile", ())]
        if not urls:
            raise Unclear(f"the slice {name!r} has no profile at {path!r}")
        return any(fits_profile(each, url) for each in found for url in urls)
    raise Unclear(f"a discriminator by {str(kind)!r}")


def _extension_url(slice: Node) -> str:
    """A slice of extensions names the definition of one."""
    fixed = value_of(slice.children["url"].definition, "fixed") if "url" in slice.children else None
    named = types(slice.definition).get("Extension", {}).get("profile", [])
    return str(fixed or (named[0].partition("|")[0] if named else ""))


def _at(spot: Spot, node: Node, path: str) -> tuple[list[Spot], list[Node]]:
    """The elements at the path, and what the slice says of them: of all first, then of those in slices again."""
    path = path.removeprefix("$this.")
    if path == "$this":
        return [spot], [node]
    if not _SIMPLE.match(path):
        raise Unclear(f"the path {path[:60]!r}")
    found, nodes = [spot], [node]
    for step in path.split("."):
        found = [each for above in found for each in children(above, step)]
        below = [each.children.get(step) or each.children.get(f"{step}[x]") or Node() for each in nodes]
        nodes = [*below, *(slice for each in below for slice in each.slices.values())]
    return found, nodes


def _discriminates(node: Node) -> bool:
    return any(_says(each.definition) for each in node.below())


def _says(definition: Mapping[str, Any]) -> bool:
    is_bound = definition.get("binding", {}).get("strength") == "required"
    return is_bound or value_of(definition, "fixed") is not None or value_of(definition, "pattern") is not None


def _fits(spot: Spot, node: Node, find: Find) -> bool:
    """The element and what is below it are as the slice fixes, patterns or binds it."""
    fixed, pattern = value_of(node.definition, "fixed"), value_of(node.definition, "pattern")
    if fixed is not None and not equals(spot.value, fixed):
        return False
    if pattern is not None and not has_pattern(spot.value, pattern):
        return False
    binding = node.definition.get("binding", {})
    if fixed is None and pattern is None and binding.get("strength") == "required" and "valueSet" in binding:
        found = codes(str(binding["valueSet"]), find)
        if found is None:
            raise Unclear(f"the codes of {str(binding['valueSet'])[:60]!r}")
        if not is_bound(spot, found):
            return False
    said = [(name, child) for name, child in node.children.items() if _discriminates(child)]
    return all(
        any(_fits(each, child, find) for each in children(spot, name.removesuffix("[x]"))) for name, child in said
    )


def equals(value: Any, fixed: Any) -> bool:
    """Exactly this, nothing more: https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.fixed_x_"""
    if isinstance(value, bool) or isinstance(fixed, bool):
        return value is fixed
    if isinstance(value, dict) and isinstance(fixed, dict):
        return value.keys() == fixed.keys() and all(equals(value[name], each) for name, each in fixed.items())
    if isinstance(value, list) and isinstance(fixed, list):
        return len(value) == len(fixed) and all(map(equals, value, fixed))
    return bool(value == fixed)


def has_pattern(value: Any, pattern: Any) -> bool:
    """At least this: of each list of the pattern every entry fits one of the value's."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and has_pattern(value[name], each) for name, each in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(has_pattern(each, part) for each in value) for part in pattern)
    return equals(value, pattern)


def is_bound(spot: Spot, found: Codes) -> bool:
    """Whether one of its codes is among them."""
    return any(holds(found, system, code) for system, code in _codes(spot.value))


def _codes(value: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        if isinstance(value.get("code"), str):
            yield value.get("system"), value["code"]
        for each in value.get("coding", ()):
            yield from _codes(each)
