"""Is a resource what a profile says? What cannot be checked is told, as an information.

Cardinalities, fixed values and patterns, types, required bindings, targets of references, slices, invariants and
extensions. Source: https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.errors import Issue
from fhir_blob.fhir import slicing, value_sets
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot, children, descendants, root
from fhir_blob.fhir.paths import read_path
from fhir_blob.fhir.profile_tree import CORE, Node, tree, types, value_of
from fhir_blob.fhir.value_sets import Find

_MOST = 200
_QUOTED = 60
_DEEPEST = 12
_SECONDS = 3.0
_LONGEST = 4000
# A pattern whose repetition is repeated may take for ever; trace() would print what it sees.
_UNFIT = re.compile(r"[+*}]\)[+*{]|\btrace\s*\(")
_TARGET = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")


def check(resource: dict[str, Any], url: str, find: Find) -> list[Issue]:
    """What is wrong with a resource, valid as its type, by the profile of that canonical URL."""
    walk = Walk(find)
    walk.profile(root(resource), url, "error")
    return list(dict.fromkeys(walk.issues))


def check_own(resource: dict[str, Any], find: Find) -> list[Issue]:
    """The same by the profiles that it and the resources in it say of themselves, and of its extensions."""
    walk = Walk(find)
    for spot in _resources(root(resource)):
        for url in (spot.value.get("meta") or {}).get("profile", ()):
            if isinstance(url, str):
                walk.profile(spot, url, "warning")
        walk.extensions(spot)
    return list(dict.fromkeys(walk.issues))


def _resources(spot: Spot) -> Iterator[Spot]:
    """The resource and those in it, also in a Bundle or Parameters."""
    yield spot
    for name in ("entry", "parameter", "contained"):
        for each in children(spot, name):
            inner = [each] if name == "contained" else children(each, "resource")
            for found in inner:
                if isinstance(found.value, dict) and found.type in definitions().types:
                    yield from _resources(found)


@dataclass(slots=True)
class Walk:
    """One check, and the time that it may take."""

    find: Find
    issues: list[Issue] = field(default_factory=list)
    until: float = field(default_factory=lambda: time.monotonic() + _SECONDS)
    depth: int = 0

    def tell(self, at: Spot | str, code: str, sentence: str, severity: str = "error") -> None:
        path = at if isinstance(at, str) else at.path
        if len(self.issues) < _MOST:
            self.issues.append(Issue(severity, code, f"{path}: {sentence}", path))

    def unchecked(self, at: Spot, what: str) -> None:
        self.tell(at, "not-supported", f"{what} was not checked.", "information")

    def profile(self, spot: Spot, url: str, severity: str) -> None:
        """By the profile and those that it is derived from."""
        core = url.partition("|")[0].removeprefix(CORE)
        if _is_type(url):
            if core not in (spot.type, *_ABSTRACT):
                self.tell(spot, "structure", f"it is no {core}, as {_quoted(url)} has it.")
            return
        found = self.find("StructureDefinition", url)
        if found is None:
            self.tell(spot, "not-found", f"the profile {_quoted(url)} is not known to this server.", severity)
        elif self.depth > _DEEPEST or time.monotonic() > self.until:
            self.unchecked(spot, f"The profile {_quoted(url)}, which is nested too deeply or takes too long,")
        elif found.get("type") not in (spot.type, None) and spot.type in definitions().types:
            self.tell(
                spot, "structure", f"it is a {spot.type}, but {_quoted(url)} is a profile of {found.get('type')}."
            )
        else:
            self.depth += 1
            base = str(found.get("baseDefinition", ""))
            if "snapshot" not in found and base and not _is_type(base):
                self.profile(spot, base, severity)
            self.element(spot, tree(found))
            self.depth -= 1

    def element(self, spot: Spot, node: Node) -> None:
        """One element by what is said of it, and of its children."""
        definition = node.definition
        for kind, fits in (("fixed", slicing.equals), ("pattern", slicing.has_pattern)):
            wanted = value_of(definition, kind)
            if wanted is not None and not fits(spot.value, wanted):
                self.tell(spot, "value", f"{_quoted(spot.value)} is not {_quoted(wanted)}, as the profile has it.")
        self._type(spot, definition)
        self._binding(spot, definition.get("binding", {}))
        self._length(spot, definition)
        for constraint in definition.get("constraint", ()):
            self._invariant(spot, constraint)
        for name, child in node.children.items():
            self._child(spot, name, child)

    def extensions(self, resource: Spot) -> None:
        """Each extension by its own definition."""
        for spot in (resource, *descendants(resource)):
            for name in ("extension", "modifierExtension"):
                for each in children(spot, name):
                    url = each.value.get("url") if isinstance(each.value, dict) else None
                    if isinstance(url, str) and "://" in url:
                        self._extension(each, url, "warning" if name == "modifierExtension" else "information")

    def _extension(self, spot: Spot, url: str, severity: str) -> None:
        if self.find("StructureDefinition", url) is None:
            self.tell(spot, "not-found", f"the extension {_quoted(url)} is not known to this server.", severity)
        else:
            self.profile(spot, url, severity)

    def _child(self, spot: Spot, name: str, node: Node) -> None:
        stem = name.removesuffix("[x]")
        found = children(spot, stem)
        self._count(spot, stem, node.definition, len(found), "")
        for each in found:
            self.element(each, node)
        if node.slices:
            self._slices(spot, stem, node, found)

    def _slices(self, spot: Spot, stem: str, node: Node, found: Sequence[Spot]) -> None:
        matched: dict[str, list[Spot]] = {name: [] for name in node.slices}
        rest: list[Spot] = []
        for each in found:
            try:
                name = slicing.slice_of(each, node, stem, self._fits_profile, self.find)
            except slicing.Unclear as unclear:
                return self.unchecked(each, f"By which slice it goes ({unclear})")
            (matched[name] if name else rest).append(each)
        if node.definition.get("slicing", {}).get("rules") == "closed":
            for each in rest:
                self.tell(each, "structure", "it is in none of the slices, and the profile allows no others.")
        for name, slice in node.slices.items():
            self._count(spot, stem, slice.definition, len(matched[name]), name)
            for each in matched[name]:
                self.element(each, slice)

    def _fits_profile(self, spot: Spot, url: str) -> bool:
        inner = Walk(self.find, until=self.until, depth=self.depth)
        inner.profile(spot, url, "error")
        if any(each.severity == "error" for each in inner.issues):
            return False
        self.issues += [each for each in inner.issues if each.code == "not-supported"]
        return True

    def _count(self, spot: Spot, stem: str, definition: Mapping[str, Any], count: int, slice: str) -> None:
        path = f"{spot.path}.{stem}"
        what = f"the slice {_quoted(slice)} is" if slice else "is"
        least, most = definition.get("min", 0), str(definition.get("max", "*"))
        if count < least:
            told = "missing" if count == 0 else f"there {count} times"
            self.tell(path, "required", f"{what} {told}; the profile wants {least} at least.")
        if most.isdigit() and count > int(most):
            self.tell(path, "structure", f"{what} there {count} times; the profile allows {most}.")

    def _type(self, spot: Spot, definition: Mapping[str, Any]) -> None:
        allowed = types(definition)
        if not allowed or spot.parent is None:
            return
        is_choice = str(definition.get("path", "")).endswith("[x]")
        is_resource = spot.type in definitions().types
        if (
            (is_choice or is_resource)
            and spot.type not in allowed
            and not {"Resource", "DomainResource"} & set(allowed)
        ):
            self.tell(spot, "structure", f"it is a {spot.type}; the profile allows {', '.join(allowed)}.")
            return
        of_type = allowed.get(spot.type, {})
        profiles = [each for each in of_type.get("profile", ()) if each != f"{CORE}{spot.type}"]
        if len(profiles) == 1:
            self.profile(spot, profiles[0], "warning")
        elif profiles and not any(self._fits_profile(spot, each) for each in profiles):
            self.tell(spot, "structure", f"it is by none of the profiles {', '.join(map(_quoted, profiles))}.")
        if spot.type == "Reference":
            self._target(spot, of_type.get("targetProfile", ()))

    def _target(self, spot: Spot, profiles: Sequence[str]) -> None:
        """The type of what is referred to, where the reference tells it."""
        allowed = {self._type_of(each) for each in profiles}
        text = spot.value.get("reference", "") if isinstance(spot.value, dict) else ""
        match = _TARGET.search(text) if isinstance(text, str) else None
        type = match[1] if match else spot.value.get("type") if isinstance(spot.value, dict) else None
        if not allowed or {"", "Resource"} & allowed or type not in definitions().types:
            return
        if type not in allowed:
            self.tell(spot, "structure", f"it refers to a {type}; the profile allows {', '.join(sorted(allowed))}.")

    def _type_of(self, url: str) -> str:
        core = url.partition("|")[0].removeprefix(CORE)
        if core in definitions().types or core == "Resource":
            return core
        return str((self.find("StructureDefinition", url) or {}).get("type", ""))

    def _binding(self, spot: Spot, binding: Mapping[str, Any]) -> None:
        if binding.get("strength") != "required" or not binding.get("valueSet") or spot.value is None:
            return
        url = str(binding["valueSet"])
        found = value_sets.codes(url, self.find)
        if found is None:
            self.unchecked(spot, f"Its binding to {_quoted(url)}, whose codes cannot be listed here,")
        elif not slicing.is_bound(spot, found):
            self.tell(spot, "code-invalid", f"it has no code of {_quoted(url)}, to which the profile binds it.")

    def _length(self, spot: Spot, definition: Mapping[str, Any]) -> None:
        most = definition.get("maxLength")
        if isinstance(spot.value, str) and isinstance(most, int) and len(spot.value) > most:
            self.tell(spot, "too-long", f"it has {len(spot.value)} characters; the profile allows {most}.")

    def _invariant(self, spot: Spot, constraint: Mapping[str, Any]) -> None:
        """Those of R4 itself are no business of a profile."""
        key, expression = str(constraint.get("key")), constraint.get("expression")
        if _is_type(str(constraint.get("source", ""))) or key.startswith(("ele-", "ext-", "dom-")):
            return
        if not isinstance(expression, str) or spot.value is None:
            return
        if time.monotonic() > self.until or len(expression) > _LONGEST or _UNFIT.search(expression):
            return self.unchecked(spot, f"The invariant {_quoted(key)}, which may take too long or print,")
        try:
            is_kept = _is_true(expression, spot)
        except ValueError:
            return self.unchecked(spot, f"The invariant {_quoted(key)}, whose FHIRPath is not understood here,")
        if not is_kept:
            severity = "error" if constraint.get("severity") == "error" else "warning"
            self.tell(spot, "invariant", f"{constraint.get('human', 'an invariant is broken')} ({key})", severity)


def _is_type(url: str) -> bool:
    """Whether it is the definition of a type: what that says was checked before."""
    core = url.partition("|")[0].removeprefix(CORE)
    return core in definitions().types or bool(definitions().structure(core)) or core in _ABSTRACT


_ABSTRACT = ("Element", "BackboneElement", "Resource", "DomainResource")


def _is_true(expression: str, spot: Spot) -> bool:
    """Nothing is not true: https://hl7.org/fhir/R4/fhirpath.html#bool"""
    top = spot
    while top.parent is not None and top.type not in definitions().types:
        top = top.parent
    found = read_path(expression)((spot.value, spot.type), (top.value, top.type))
    return bool(found) and found[0][0] is not False


def _quoted(value: Any) -> str:
    """The value, cut; of an object or list only that it is one."""
    if isinstance(value, dict | list):
        return "what is there" if value else "nothing"
    return repr(str(value)[:_QUOTED])
