"""The literal references of a resource that lead to this server: https://hl7.org/fhir/R4/references.html#literal

Logical references (an identifier alone), canonicals and those to other servers are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Spot, descendants, root

_LITERAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/([A-Za-z0-9.-]{1,64}))?(?:#.*)?\Z")


@dataclass(frozen=True, slots=True)
class LocalReference:
    """`path` has the text `value`, which means that resource; type '' is a contained one that is not there."""

    path: str
    value: str
    type: str = ""
    id: str = ""
    version: str = ""


def local_references(resource: dict[str, Any], *, base: str) -> tuple[LocalReference, ...]:
    """Every Reference.reference and Attachment.url that names a resource below `base`, or one not contained."""
    contained = {each.get("id") for each in resource.get("contained", ())}
    return tuple(_found(resource, contained, base))


def literal(text: str, base: str) -> re.Match[str] | None:
    """Type, id and version, or None, of a literal reference below `base`; None for what is none."""
    match = _LITERAL.match(text.removeprefix(base.rstrip("/") + "/"))
    return match if match is not None and match[1] in definitions().types else None


def _found(resource: dict[str, Any], contained: set[Any], base: str) -> Iterator[LocalReference]:
    for spot in descendants(root(resource)):
        name = _NAMES.get(spot.type)
        text = spot.value.get(name) if name and isinstance(spot.value, dict) else None
        if not isinstance(text, str):
            continue
        if text.startswith("#"):
            if spot.type == "Reference" and text != "#" and text[1:] not in contained:
                yield LocalReference(_path(spot, name), text)
            continue
        match = literal(text, base)
        if match is not None and (spot.type == "Reference" or match[1] == "Binary"):
            yield LocalReference(_path(spot, name), text, match[1], match[2], match[3] or "")


_NAMES = {"Reference": "reference", "Attachment": "url"}


def _path(spot: Spot, name: str | None) -> str:
    return f"{spot.path}.{name}"
