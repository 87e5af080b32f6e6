"""Is a resource what a profile says? What cannot be checked is told, as an information.

Cardinalities, values, types, bindings, targets of references, slices, invariants and extensions.
Source: https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.errors import Issue
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot, children, descendants, resources_in, root
from fhir_blob.fhir.profiling import extensions, rules, slicing
from fhir_blob.fhir.profiling.evaluation import Means
from fhir_blob.fhir.profiling.resolving import Read, Resolver, text_of, type_of
from fhir_blob.fhir.profiling.rules import (
    Finding,
    is_instance,
    is_type,
    quoted,
    unchecked,
)
from fhir_blob.fhir.profiling.tree import CORE, Node, tree, types
from fhir_blob.fhir.profiling.value_sets import Find, Terms

_MOST = 200
_DEEPEST = 12
_SECONDS = 3.0
_SIMPLE_QUANTITIES = (f"{CORE}SimpleQuantity", f"{CORE}MoneyQuantity")


def check(resource: dict[str, Any], url: str, find: Find, read: Read = lambda text: None) -> list[Issue]:
    """What is wrong with a resource, valid as its type, by the profile of that canonical URL.

    `read` gives what a reference leads to outside of the document.
    """
    walk = Walk(Terms.of(find), Resolver(read))
    walk.profile(root(resource), url, "error")
    return list(dict.fromkeys(walk.issues))


def check_own(resource: dict[str, Any], find: Find, read: Read = lambda text: None) -> list[Issue]:
    """The same by the profiles that it and the resources in it say of themselves, and of its extensions."""
    walk = Walk(Terms.of(find), Resolver(read))
    for spot in resources_in(resource):
        for url in (spot.value.get("meta") or {}).get("profile", ()):
            if isinstance(url, str):
                walk.profile(spot, url, "warning")
        if spot.name != "contained":
            walk.extensions(spot)
    return list(dict.fromkeys(walk.issues))


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile after those that it is derived from, as one tree; `missing` is the URL of one that is unknown."""

    lineage: tuple[Mapping[str, Any], ...]
    root: Node
    missing: str


@dataclass(slots=True)
class Walk:
    """One check, and the time that it may take."""

    find: Terms
    resolve: Resolver
    issues: list[Issue] = field(default_factory=list)
    until: float = field(default_factory=lambda: time.monotonic() + _SECONDS)
    depth: int = 0
    _read: dict[str, Profile] = field(default_factory=dict)

    def tell(self, at: Spot | str, finding: Finding) -> None:
        path = (at if isinstance(at, str) else at.path) + finding.way
        if len(self.issues) < _MOST:
            self.issues.append(Issue(finding.severity, finding.code, f"{path}: {finding.sentence}", path))

    def profile(self, spot: Spot, url: str, severity: str) -> None:
        """By the profile and those that it is derived from; an unknown one has this severity."""
        if url.partition("|")[0] in _SIMPLE_QUANTITIES:
            self._simple_quantity(spot)
        elif is_type(url):
            if not is_instance(spot, url):
                self.tell(spot, Finding("structure", f"it is a {spot.type}, not as {quoted(url)} has it."))
        elif self.depth > _DEEPEST:
            self.tell(spot, unchecked(f"The profile {quoted(url)}, which is nested too deeply,"))
        elif not self._is_late(spot):
            self._by(spot, self._known(url), severity)

    def _by(self, spot: Spot, profile: Profile, severity: str) -> None:
        if profile.missing:
            told = f"the profile {quoted(profile.missing)} is not known to this server."
            self.tell(spot, Finding("not-found", told, severity))
        for each in profile.lineage:
            if "snapshot" not in each and "differential" not in each:
                told = f"the profile {quoted(each.get('url'))} has no elements, so that nothing can be checked by it."
                self.tell(spot, Finding("not-supported", told, severity))
        strange = next((each for each in profile.lineage if each.get("type", spot.type) != spot.type), None)
        if strange is not None and (spot.type in definitions().types or strange["type"] in definitions().types):
            told = f"it is a {spot.type}, but {quoted(strange.get('url'))} is a profile of {strange['type']}."
            self.tell(spot, Finding("structure", told))
            return
        self.depth += 1
        self.element(spot, profile.root)
        self.depth -= 1

    def _known(self, url: str) -> Profile:
        if url not in self._read:
            lineage: list[Mapping[str, Any]] = []
            missing, next_url = "", url
            while next_url and not is_type(next_url) and len(lineage) < _DEEPEST:
                found = self.find("StructureDefinition", next_url)
                if found is None:
                    missing = next_url
                    break
                lineage.insert(0, found)
                next_url = "" if "snapshot" in found else str(found.get("baseDefinition", ""))
            self._read[url] = Profile(tuple(lineage), tree(lineage), missing)
        return self._read[url]

    def element(self, spot: Spot, node: Node) -> None:
        """One element by what is said of it, and of its children."""
        if self._is_late(spot):
            return
        for finding in rules.of_element(spot, node.definition, self._means):
            self.tell(spot, finding)
        self._type(spot, node.definition)
        for name, child in node.children.items():
            self._child(spot, name, child)

    def extensions(self, resource: Spot) -> None:
        """Each extension by its own definition."""
        for each in descendants(resource):
            url = each.value.get("url") if each.type == "Extension" and isinstance(each.value, dict) else None
            if isinstance(url, str) and ":" in url:
                self._extension(each, url, "warning" if each.name == "modifierExtension" else "information")

    def _extension(self, spot: Spot, url: str, severity: str) -> None:
        profile = self._known(url)
        if not profile.lineage:
            told = f"the extension {quoted(url)} is not known to this server."
            self.tell(spot, Finding("not-found", told, severity))
            return
        self.profile(spot, url, severity)
        for finding in extensions.of_extension(spot, profile.lineage, profile.root, self._means):
            self.tell(spot, finding)
        for part, finding in extensions.of_parts(spot, children(spot, "extension"), profile.root):
            self.tell(part, finding)

    def _child(self, spot: Spot, name: str, node: Node) -> None:
        stem = name.removesuffix("[x]")
        found = children(spot, stem)
        self._count(spot, stem, node.definition, len(found), "")
        for each in found:
            self.element(each, node)
        self._slices(spot, stem, node, found)

    def _slices(self, spot: Spot, stem: str, node: Node, found: Sequence[Spot]) -> None:
        """Slices of an element, or of a slice of it."""
        if not node.slices:
            return
        means, names = self._means, list[str]()
        for each in found:
            if self._is_late(each):
                return
            try:
                names.append(slicing.slice_of(each, node, stem, means))
            except slicing.Unclear as unclear:
                return self.tell(each, unchecked(f"By which slice it goes ({unclear})"))
        self._order(found, names, node)
        for name, slice in node.slices.items():
            matched = [each for each, of in zip(found, names, strict=True) if of == name]
            self._count(spot, stem, slice.definition, len(matched), name)
            for each in matched:
                self.element(each, slice)
            self._slices(spot, stem, slice, matched)

    def _order(self, found: Sequence[Spot], names: Sequence[str], node: Node) -> None:
        """https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.slicing.rules"""
        said = node.definition.get("slicing", {})
        places, furthest = list(node.slices), 0
        for index, (each, name) in enumerate(zip(found, names, strict=True)):
            if name:
                if said.get("ordered") and places.index(name) < furthest:
                    self.tell(each, Finding("structure", f"its slice {quoted(name)} comes earlier in the profile."))
                furthest = max(furthest, places.index(name))
            elif said.get("rules") == "closed":
                told = "it is in none of the slices, and the profile allows no others."
                self.tell(each, Finding("structure", told))
            elif said.get("rules") == "openAtEnd" and any(names[index + 1 :]):
                self.tell(each, Finding("structure", "it is in none of the slices, and does not stand after them."))

    def _is_late(self, spot: Spot) -> bool:
        """Told once."""
        if time.monotonic() <= self.until:
            return False
        while spot.parent is not None:
            spot = spot.parent
        told = unchecked("What would take longer than a validation may")
        if not any(told.sentence in each.diagnostics for each in self.issues[-1:]):
            self.tell(spot, told)
        return True

    @property
    def _means(self) -> Means:
        return Means(self.find, self.resolve, self.until, self._conforms, self._tree)

    def _tree(self, url: str) -> Node:
        return Node() if is_type(url) else self._known(url).root

    def _conforms(self, spot: Spot, url: str) -> bool | None:
        """None where the profile is not known."""
        return self._fits_profile(spot, url) if is_type(url) or self._is_known(url) else None

    def _fits_profile(self, spot: Spot, url: str) -> bool:
        inner = Walk(self.find, self.resolve, [], self.until, self.depth, self._read)
        inner.profile(spot, url, "error")
        if any(each.severity == "error" for each in inner.issues):
            return False
        self.issues += [each for each in inner.issues if each.code == "not-supported"]
        return True

    def _count(self, spot: Spot, stem: str, definition: Mapping[str, Any], count: int, slice: str) -> None:
        path = f"{spot.path}.{stem}"
        what = f"the slice {quoted(slice)} is" if slice else "is"
        least, most = definition.get("min", 0), str(definition.get("max", "*"))
        if count < least:
            told = "missing" if count == 0 else f"there {count} times"
            self.tell(path, Finding("required", f"{what} {told}; the profile wants {least} at least."))
        if most.isdigit() and count > int(most):
            self.tell(path, Finding("structure", f"{what} there {count} times; the profile allows {most}."))

    def _type(self, spot: Spot, definition: Mapping[str, Any]) -> None:
        allowed = types(definition)
        if not allowed or spot.parent is None:
            return
        is_choice = str(definition.get("path", "")).endswith("[x]") or spot.type in definitions().types
        if is_choice and spot.type not in allowed and not {"Resource", "DomainResource"} & set(allowed):
            self.tell(spot, Finding("structure", f"it is a {spot.type}; the profile allows {', '.join(allowed)}."))
            return
        of_type = allowed.get(spot.type, {})
        profiles = [each for each in of_type.get("profile", ()) if each != f"{CORE}{spot.type}"]
        if len(profiles) == 1:
            self.profile(spot, profiles[0], "warning")
        elif profiles and not any(self._fits_profile(spot, each) for each in profiles):
            self.tell(spot, Finding("structure", f"it is by none of the profiles {_listed(profiles)}."))
        if spot.type == "Reference":
            self._aggregation(spot, of_type.get("aggregation", ()))
            self._target(spot, of_type.get("targetProfile", ()))

    def _aggregation(self, spot: Spot, modes: Sequence[str]) -> None:
        """https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html"""
        text = text_of(spot)
        mode = "contained" if text.startswith("#") else "bundled" if self.resolve(spot) else "referenced"
        if modes and text and mode not in modes:
            self.tell(spot, Finding("structure", f"what it refers to is {mode}; the profile allows {_listed(modes)}."))

    def _target(self, spot: Spot, urls: Sequence[str]) -> None:
        """By its type, where that is told, and by the profiles of what is in the same document."""
        target = self.resolve.anywhere(spot)
        type = target.type if target is not None else type_of(spot)
        allowed = {url: self._type_of(url) for url in urls}
        fitting = [url for url, of in allowed.items() if of in (type, "", "Resource")]
        if not urls or any(is_type(url) for url in fitting):
            return
        if not fitting and type:
            told = f"it refers to a {type}; the profile allows {_listed(sorted(set(allowed.values())))}."
            self.tell(spot, Finding("structure", told))
        elif target is not None and all(map(self._is_known, fitting)):
            if not any(self._fits_profile(target, url) for url in fitting):
                self.tell(spot, Finding("structure", f"it refers to what is by none of {_listed(fitting)}."))
        elif not all(map(is_type, urls)) and text_of(spot):
            self.tell(spot, unchecked(f"Whether what it refers to is by {_listed(fitting or urls)}"))

    def _is_known(self, url: str) -> bool:
        return not self._known(url).missing

    def _type_of(self, url: str) -> str:
        """'' where the profile is unknown."""
        core = url.partition("|")[0].removeprefix(CORE)
        if core in definitions().types or core == "Resource":
            return core
        return str((self.find("StructureDefinition", url) or {}).get("type", ""))

    def _simple_quantity(self, spot: Spot) -> None:
        """https://hl7.org/fhir/R4/datatypes.html#SimpleQuantity"""
        if isinstance(spot.value, dict) and "comparator" in spot.value:
            self.tell(spot, Finding("invariant", "a SimpleQuantity has no comparator (sqty-1)."))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))
