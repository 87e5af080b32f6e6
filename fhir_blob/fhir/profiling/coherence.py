"""What R4 says in words of what a resource contains, of a Bundle's entries, and of codes; no single element shows it.

Source: https://hl7.org/fhir/R4/domainresource.html, https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/terminologies.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fhir_blob.errors import Issue
from fhir_blob.fhir.elements import Spot, children
from fhir_blob.fhir.primitives import CHECKS
from fhir_blob.fhir.profiling.resolving import Resolver, text_of
from fhir_blob.fhir.profiling.value_sets import Terms
from fhir_blob.fhir.profiling.values import Incomparable, is_beyond

_URIS = frozenset({"uri", "url", "canonical"})
_CODED = frozenset({"Coding", "Quantity", "Age", "Count", "Distance", "Duration"})
_REST = re.compile(r"https?://.*/([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})\Z")


def of_resource(spot: Spot) -> Iterator[Issue]:
    """Of a resource, not of those in it."""
    if spot.name != "contained":
        yield from _contained(spot)
    if spot.type == "Bundle":
        yield from _documented(spot)
        for entry in children(spot, "entry"):
            yield from _entry(entry)


def of_element(spot: Spot, terms: Terms) -> Iterator[Issue]:
    if spot.type in _URIS and isinstance(spot.value, str):
        yield from _uri(spot)
    elif spot.type == "Identifier":
        yield from _identifier(spot)
    elif spot.type == "Range":
        yield from _range(spot)
    if spot.type in _CODED:
        yield from _coding(spot, terms)
    elif spot.type == "Extension" and spot.parent is not None and spot.parent.type != "Extension":
        url = spot.value.get("url") if isinstance(spot.value, dict) else None
        if isinstance(url, str) and ":" not in url:
            yield _issue(spot, "value", f"the url {url[:80]!r} of an extension has to be absolute here.")


def _uri(spot: Spot) -> Iterator[Issue]:
    """https://hl7.org/fhir/R4/datatypes.html#uri, https://hl7.org/fhir/R4/references.html#canonical"""
    kind = next((kind for kind in ("uuid", "oid") if spot.value.startswith(f"urn:{kind}:")), None)
    if kind is not None and not CHECKS[kind](spot.value.partition("|")[0]):
        yield _issue(spot, "value", f"{spot.value[:120]!r} is no {kind}, though it says so.")
    elif spot.type == "canonical" and not spot.value.startswith("#") and ":" not in spot.value:
        yield _issue(spot, "value", f"the canonical URL {spot.value[:120]!r} is not absolute.")


def _identifier(spot: Spot) -> Iterator[Issue]:
    """https://hl7.org/fhir/R4/datatypes-definitions.html#Identifier.system"""
    system, value = (spot.value.get(name) for name in ("system", "value"))
    if system == "urn:ietf:rfc:3986" and isinstance(value, str) and ":" not in value:
        yield _issue(spot, "value", f"{value[:120]!r} is no full URI, though its system is {system!r}.")


def _range(spot: Spot) -> Iterator[Issue]:
    """rng-2, also of units that are not the same."""
    low, high = (spot.value.get(name) for name in ("low", "high")) if isinstance(spot.value, dict) else (None, None)
    if isinstance(low, dict) and isinstance(high, dict) and "value" in low and "value" in high:
        try:
            if is_beyond(high, "minValue", low):
                yield _issue(
                    spot, "invariant", f"its high {high['value']} is less than its low {low['value']} (rng-2)."
                )
        except Incomparable as error:
            told = f"{spot.path}: Whether its high is less than its low, {error}, was not checked."
            yield Issue("information", "not-supported", told, spot.path)


def _documented(bundle: Spot) -> Iterator[Issue]:
    """What a document's Composition names is in the document: https://hl7.org/fhir/R4/documents.html#content"""
    first = [each for entry in children(bundle, "entry")[:1] for each in children(entry, "resource")]
    if bundle.value.get("type") != "document" or not first or first[0].type != "Composition":
        return
    resolve = Resolver()
    for each in _named(first[0]):
        if text_of(each) and resolve(each) is None:
            yield _issue(each, "not-found", f"{text_of(each)[:120]!r} is not in the document.")


def _named(spot: Spot) -> Iterator[Spot]:
    """The references of a Composition, or of a section and those in it."""
    for name in ("subject", "encounter", "author", "custodian", "focus", "entry"):
        yield from children(spot, name)
    for name, below in (("attester", "party"), ("event", "detail")):
        yield from (each for above in children(spot, name) for each in children(above, below))
    for section in children(spot, "section"):
        yield from _named(section)


def _contained(spot: Spot) -> Iterator[Issue]:
    """dom-3: it is referred to, or refers to its container; and its id is its own."""
    contained, seen = children(spot, "contained"), set[str]()
    if not contained:
        return
    local = [(set(_local(each)), each) for each in _parts(spot.value)]
    for each in contained:
        id = str(each.value.get("id"))
        if id in seen:
            yield _issue(each, "invariant", f"the id {id[:64]!r} is that of another contained resource.")
        seen.add(id)
        is_named = any(f"#{id}" in named for named, part in local if part is not each.value)
        if not is_named and "#" not in set(_local(each.value)):
            told = f"{id[:64]!r} is not referred to, and does not refer to what contains it (dom-3)."
            yield _issue(each, "invariant", told)


def _parts(resource: dict[str, Any]) -> list[Any]:
    """Each contained resource, and the rest."""
    return [*resource["contained"], {name: each for name, each in resource.items() if name != "contained"}]


def _local(node: Any) -> Iterator[str]:
    """The references within the resource, whatever element they stand in."""
    if isinstance(node, str):
        if node.startswith("#"):
            yield node
    elif isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _local(each)


def _entry(entry: Spot) -> Iterator[Issue]:
    """A RESTful fullUrl does not disagree with the resource's type and id; one that is to be made may have none."""
    url = entry.value.get("fullUrl")
    match = _REST.match(url) if isinstance(url, str) else None
    for resource in children(entry, "resource") if match else ():
        id = resource.value.get("id")
        is_made = id is None and "request" in entry.value
        if match is not None and not is_made and (match[1], match[2]) != (resource.type, id):
            told = f"the fullUrl is of {match[1]}/{match[2]}, but the resource is {resource.type}/{str(id)[:64]}."
            yield _issue(entry, "value", told)


def _coding(spot: Spot, terms: Terms) -> Iterator[Issue]:
    """A code is one of its system, where all of those are known, or a rule makes them."""
    system, code = (spot.value.get(name) for name in ("system", "code")) if isinstance(spot.value, dict) else ("", "")
    if isinstance(system, str) and isinstance(code, str) and terms.contains(system, code) is False:
        version = terms.system(system).version
        of_version = f" in the version {version[:40]!r} that is known here" if version else ""
        yield _issue(spot, "code-invalid", f"{system[:120]!r} has no code {code[:60]!r}{of_version}.")


def _issue(spot: Spot, code: str, sentence: str) -> Issue:
    return Issue("error", code, f"{spot.path}: {sentence}", spot.path)
