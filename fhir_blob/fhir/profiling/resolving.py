"""What a reference leads to: contained resources, entries of the same Bundle, and what is read from elsewhere.

Source: https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot, children, root

_TARGET = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}\Z")
# The resource that a text refers to, None where it is not known or may not be read.
Read = Callable[[str], dict[str, Any] | None]
_MOST = 50
_VERSION = re.compile(r"/_history/[A-Za-z0-9.-]{1,64}\Z")


def text_of(reference: Spot) -> str:
    """Reference.reference without a version, or a canonical; '' where there is none."""
    found = reference.value.get("reference") if isinstance(reference.value, dict) else reference.value
    return _VERSION.sub("", found) if isinstance(found, str) else ""


def type_of(reference: Spot) -> str:
    """The type of what is referred to, as far as the reference tells it; '' where it does not."""
    match = _TARGET.search(text_of(reference))
    told = match[1] if match else reference.value.get("type") if isinstance(reference.value, dict) else None
    return told if isinstance(told, str) and told in definitions().types else ""


@dataclass(slots=True)
class Resolver:
    """References of one document; a Bundle is looked through once, and what is elsewhere is read once."""

    read: Read = lambda text: None
    _bundles: dict[int, dict[str, Spot]] = field(default_factory=dict)
    _elsewhere: dict[str, Spot | None] = field(default_factory=dict)

    def __call__(self, reference: Spot) -> Spot | None:
        """The resource, None where it is not in the document."""
        text = text_of(reference)
        if text.startswith("#"):
            return _contained(reference, text[1:])
        return self._bundled(reference, text) if text else None

    def anywhere(self, reference: Spot) -> Spot | None:
        """The same, and what is not in the document as it is stored now; of a document's references so many."""
        found, text = self(reference), text_of(reference)
        if found is not None or not text or text.startswith("#"):
            return found
        if text not in self._elsewhere:
            resource = self.read(text) if len(self._elsewhere) < _MOST else None
            self._elsewhere[text] = root(resource) if resource is not None else None
        return self._elsewhere[text]

    def _bundled(self, reference: Spot, text: str) -> Spot | None:
        for above in _above(reference):
            if above.type == "Bundle.entry" and above.parent is not None:
                known = self._bundles.setdefault(id(above.parent.value), {}) or self._read(above.parent)
                base = str(above.value.get("fullUrl", "")).rpartition("/")[0].rpartition("/")[0]
                found = known.get(f"{base}/{text}") or known.get(text)
                if found is not None:
                    return found
        return None

    def _read(self, bundle: Spot) -> dict[str, Spot]:
        """Entries by their fullUrl; those without one by type and id."""
        found = self._bundles[id(bundle.value)]
        for entry in children(bundle, "entry"):
            for resource in children(entry, "resource"):
                named = entry.value.get("fullUrl") or f"{resource.type}/{resource.value.get('id')}"
                found.setdefault(str(named), resource)
        return found


def _above(spot: Spot) -> Iterator[Spot]:
    here = spot.parent
    while here is not None:
        yield here
        here = here.parent


def _contained(reference: Spot, id: str) -> Spot | None:
    """'#' alone is the resource that contains the one that says so."""
    resources = [each for each in _above(reference) if each.type in definitions().types]
    container = next((each for each in resources if each.name != "contained"), None)
    if container is None or not id:
        return container
    return next((each for each in children(container, "contained") if each.value.get("id") == id), None)
