"""By which slice of a profile an element goes: https://hl7.org/fhir/R4/profiling.html#discriminator"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_blob.fhir.elements import Spot, children
from fhir_blob.fhir.profiling.evaluation import Means
from fhir_blob.fhir.profiling.logic import any_of
from fhir_blob.fhir.profiling.resolving import type_of
from fhir_blob.fhir.profiling.tree import Node, extension_url, types, value_of
from fhir_blob.fhir.profiling.value_sets import Find, Terms
from fhir_blob.fhir.profiling.values import departs

# The FHIRPath that a discriminator may use.
_STEP = re.compile(r"\$this|extension\('(?P<url>[^']+)'\)|resolve\(\)|ofType\((?P<type>\w+)\)|(?P<name>[A-Za-z]\w*)")


class Unclear(Exception):
    """A discriminator that cannot be evaluated here."""


def slice_of(spot: Spot, node: Node, stem: str, means: Means) -> str:
    """The name of the first slice that it matches, '' where it matches none. Unclear where that cannot be said."""
    discriminators = node.definition.get("slicing", {}).get("discriminator") or _implied(node, stem)
    for name, slice in node.slices.items():
        if all(_matches(spot, slice, name[len(stem) :], each, means) for each in discriminators):
            return name
    return ""


def _implied(node: Node, stem: str) -> list[Mapping[str, str]]:
    """Extensions are told by url, choices by type, also where it is not said; others by all that a slice fixes."""
    if stem in ("extension", "modifierExtension"):
        return [{"type": "value", "path": "url"}]
    is_choice = any(name.startswith(stem) and name[len(stem) :][:1].isupper() for name in node.slices)
    return [{"type": "type" if is_choice else "value", "path": "$this"}]


def _matches(spot: Spot, slice: Node, named_type: str, discriminator: Mapping[str, str], means: Means) -> bool:
    kind, path = discriminator.get("type"), discriminator.get("path", "")
    if path == "url" and (url := extension_url(slice)):
        return isinstance(spot.value, dict) and spot.value.get("url") == url
    found, nodes = _at(spot, slice, path, means)
    if kind == "type":
        return _is_of_type(found, nodes, named_type if path == "$this" else "")
    if any(each.value is None and each.parent is None for each in found):
        raise Unclear("a reference that leads elsewhere")
    if kind in ("value", "pattern"):
        return _has_value(found, nodes, means)
    if kind == "exists":
        return _is_there(found, nodes[0])
    if kind == "profile":
        return _is_by_profile(found, nodes[0], means)
    raise Unclear(f"a discriminator by {str(kind)!r}")


def _has_value(found: list[Spot], nodes: list[Node], means: Means) -> bool:
    said = [nodes[0]] if _discriminates(nodes[0]) else [each for each in nodes if _discriminates(each)]
    if not said:
        raise Unclear("a slice has no value there")
    return any(_fits(each, wanted, means.terms) for each in found for wanted in said)


def _profiled(nodes: list[Node], means: Means) -> list[Node]:
    """What is said of elements, and what the profiles of their types say."""
    urls = (url for node in nodes for type in types(node.definition).values() for url in type.get("profile", ()))
    return [*nodes, *(means.tree(url) for url in urls)]


def _is_of_type(found: list[Spot], nodes: list[Node], named: str) -> bool:
    allowed = {type.lower() for node in nodes[:1] for type in types(node.definition)} or {named.lower()} - {""}
    if not allowed:
        raise Unclear("a slice has no type there")
    if any(not each.type for each in found):
        raise Unclear("a reference that leads elsewhere")
    return any(each.type.lower() in allowed for each in found)


def _is_there(found: list[Spot], node: Node) -> bool:
    if str(node.definition.get("max")) == "0":
        return not found
    if not node.definition.get("min"):
        raise Unclear("a slice neither asks for the element nor forbids it")
    return bool(found)


def _is_by_profile(found: list[Spot], node: Node, means: Means) -> bool:
    allowed = types(node.definition)
    urls = [url for each in allowed.values() for url in each.get("profile", ())]
    plain = {type for type, said in allowed.items() if not said.get("profile")}
    if not urls and not plain:
        raise Unclear("a slice has no profile there")
    if any(each.type in plain for each in found):
        return True
    fits = any_of(means.fits_profile(each, url) for each in found for url in urls)
    if fits is None:
        raise Unclear(f"the profile {urls[0][:80]!r}")
    return fits


def _at(spot: Spot, node: Node, path: str, means: Means) -> tuple[list[Spot], list[Node]]:
    """The elements at the path, and what the slice says of them: of all first, then of those in slices again."""
    found, nodes = [spot], [node]
    for step in _steps(path):
        name, url, type = step["name"], step["url"], step["type"]
        if name:
            found = [each for above in found for each in children(above, name)]
            nodes = _named(_profiled(nodes, means), name)
        elif url:
            of_all = [each for above in found for each in children(above, "extension")]
            found = [each for each in of_all if isinstance(each.value, dict) and each.value.get("url") == url]
            nodes = [each for each in _named(nodes, "extension") if extension_url(each) == url] or [Node()]
        elif type:
            found = [each for each in found if each.type == type]
            nodes = [each for each in nodes if type in types(each.definition)] or nodes
        elif step[0] == "resolve()":
            found = [means.resolve.anywhere(each) or Spot(type_of(each), None, {}) for each in found]
            nodes = [_target(each, means.terms) for each in nodes]
    return found, nodes


def _steps(path: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or path[step.end() : step.end() + 1] not in (".", ""):
            raise Unclear(f"the path {path[:60]!r}")
        yield step
        at = step.end() + 1


def _named(nodes: list[Node], name: str) -> list[Node]:
    below = [each.children.get(name) or each.children.get(f"{name}[x]") or Node() for each in nodes]
    return [*below, *(slice for each in below for slice in each.slices.values())]


def _target(node: Node, find: Find) -> Node:
    """What is said of the target of a reference: its types and profiles."""
    urls = [url for each in types(node.definition).values() for url in each.get("targetProfile", ())]
    found = {url: find("StructureDefinition", url) or {} for url in urls}
    last = {url: url.rpartition("/")[2] for url in urls}
    return Node({"type": [{"code": found[url].get("type") or last[url], "profile": [url]} for url in urls]})


def _discriminates(node: Node) -> bool:
    return any(_says(each.definition) for each in node.below())


def _says(definition: Mapping[str, Any]) -> bool:
    is_bound = definition.get("binding", {}).get("strength") == "required"
    return is_bound or value_of(definition, "fixed") is not None or value_of(definition, "pattern") is not None


def _fits(spot: Spot, node: Node, terms: Terms) -> bool:
    """The element and what is below it are as the slice fixes, patterns or binds it."""
    fixed, pattern = value_of(node.definition, "fixed"), value_of(node.definition, "pattern")
    if fixed is not None and departs(spot.value, fixed, exactly=True) is not None:
        return False
    if pattern is not None and departs(spot.value, pattern, exactly=False) is not None:
        return False
    binding = node.definition.get("binding", {})
    if fixed is None and pattern is None and binding.get("strength") == "required" and "valueSet" in binding:
        is_bound = terms.is_bound(spot.value, str(binding["valueSet"]))
        if is_bound is None:
            raise Unclear(f"the codes of {str(binding['valueSet'])[:60]!r}")
        if not is_bound:
            return False
    said = [(name, child) for name, child in node.children.items() if _discriminates(child)]
    return all(
        any(_fits(each, child, terms) for each in children(spot, name.removesuffix("[x]"))) for name, child in said
    )
