"""Where the Attachments of a resource stand, and the bytes of an answer spliced around them.

A stored body keeps beside it a slot for each Attachment whose bytes this server has: the span of the
Attachment in the body and the Binary it stands for. An answer replaces the spans and parses no more.
Source: https://hl7.org/fhir/R4/datatypes.html#Attachment
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions

CANONICAL = "https://fhir-blob.org/StructureDefinition/"
PUT_URL = CANONICAL + "presignedPutUrl"
GET_URL = CANONICAL + "presignedGetUrl"
EXPIRES = CANONICAL + "presignedUrlExpires"
PUT_HEADER = CANONICAL + "presignedPutHeader"
STATE = CANONICAL + "uploadState"
EXTENSIONS = frozenset({PUT_URL, GET_URL, EXPIRES, PUT_HEADER, STATE})

# JSON text holds no control characters, so these can mark a span until it is measured.
_OPEN, _CLOSE = b"\x01", b"\x02"


@dataclass(frozen=True, slots=True)
class Place:
    """`container[key]` is an Attachment."""

    container: Any
    key: str | int

    @property
    def attachment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.container[self.key]
        return found


@dataclass(frozen=True, slots=True)
class Link:
    """The Binary that an Attachment stands for; version None follows the current one.

    `as_data`: the Attachment came with its bytes, and is answered so.
    """

    binary_id: str
    version: int | None
    as_data: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """body[start:end] is the JSON of the Attachment."""

    start: int
    end: int
    link: Link


def places(resource: Mapping[str, Any]) -> list[Place]:
    """Every Attachment of the resource: in elements of any depth, contained resources and extensions."""
    found = list(_by_tree(resource, definitions().attachment_tree(resource["resourceType"])))
    for contained in resource.get("contained", ()):
        found.extend(_by_tree(contained, definitions().attachment_tree(contained["resourceType"])))
    known = {(id(place.container), place.key) for place in found}
    found.extend(place for place in _in_extensions(resource) if (id(place.container), place.key) not in known)
    return found


def has_data(resource: Mapping[str, Any]) -> bool:
    """Whether an Attachment of its own has data; contained resources and extensions are not looked at."""
    tree = definitions().attachment_tree(resource["resourceType"])
    return bool(tree) and any("data" in place.attachment for place in _by_tree(resource, tree))


def _by_tree(node: Any, tree: Mapping[str, Any]) -> Iterator[Place]:
    for name, below in tree.items():
        value = node.get(name)
        if value is None:
            continue
        holders: list[tuple[Any, Any]] = (
            [(value, at) for at in range(len(value))] if isinstance(value, list) else [(node, name)]
        )
        for container, key in holders:
            if not isinstance(container[key], dict):
                continue
            if below is None:
                yield Place(container, key)
            else:
                yield from _by_tree(container[key], below)


def _in_extensions(node: Any) -> Iterator[Place]:
    if isinstance(node, dict):
        if isinstance(node.get("valueAttachment"), dict):
            yield Place(node, "valueAttachment")
        for value in node.values():
            if isinstance(value, dict | list):
                yield from _in_extensions(value)
    else:
        for value in node:
            if isinstance(value, dict | list):
                yield from _in_extensions(value)


def strip(element: dict[str, Any]) -> None:
    """Take out the extensions that answers add; what is left is what the client said."""
    given = element.get("extension")
    if not isinstance(given, list):
        return
    kept = [each for each in given if not (isinstance(each, dict) and each.get("url") in EXTENSIONS)]
    if kept:
        element["extension"] = kept
    elif given:
        del element["extension"]


def dump_with_slots(resource: Mapping[str, Any], links: Sequence[tuple[Place, Link]]) -> tuple[bytes, tuple[Slot, ...]]:
    """The resource as JSON bytes and the slots of the linked Attachments, in the order of the text."""
    if not links:
        return codec.dump(resource), ()
    for number in reversed(range(len(links))):
        place = links[number][0]
        marked = _OPEN + b"%d" % number + codec.dump(place.attachment) + _CLOSE
        place.container[place.key] = orjson.Fragment(marked)
    return _measure(codec.dump(resource), [link for _, link in links])


def _measure(marked: bytes, links: Sequence[Link]) -> tuple[bytes, tuple[Slot, ...]]:
    body, slots, opened, at = bytearray(), [], [], 0
    while (mark := _next_mark(marked, at)) >= 0:
        body += marked[at:mark]
        if marked[mark : mark + 1] == _OPEN:
            at = marked.index(b"{", mark)
            opened.append((len(body), links[int(marked[mark + 1 : at])]))
        else:
            at = mark + 1
            start, link = opened.pop()
            slots.append(Slot(start, len(body), link))
    body += marked[at:]
    return bytes(body), tuple(sorted(slots, key=lambda slot: (slot.start, -slot.end)))


def _next_mark(text: bytes, at: int) -> int:
    opens, closes = text.find(_OPEN, at), text.find(_CLOSE, at)
    return min(opens, closes) if opens >= 0 and closes >= 0 else max(opens, closes)


def encode(slots: Sequence[Slot], *, shift: int = 0) -> bytes | None:
    """Slots as they are stored, each offset moved by `shift`; None where there are none."""
    if not slots:
        return None
    return orjson.dumps(
        [
            (slot.start + shift, slot.end + shift, slot.link.binary_id, slot.link.version, slot.link.as_data)
            for slot in slots
        ]
    )


def decode(stored: bytes | None) -> list[Slot]:
    if not stored:
        return []
    return [Slot(start, end, Link(*link)) for start, end, *link in orjson.loads(stored)]


def splice(body: bytes, slots: Sequence[Slot], answer: Callable[[Link, dict[str, Any]], dict[str, Any]]) -> bytes:
    """The body with each slot's Attachment replaced by `answer(link, attachment)`.

    An Attachment inside the extension of another is answered first.
    """
    parts: list[bytes] = []
    at, number = 0, 0
    while number < len(slots):
        slot, inner = slots[number], number + 1
        while inner < len(slots) and slots[inner].start < slot.end:
            inner += 1
        text = body[slot.start : slot.end]
        if inner > number + 1:
            text = splice(text, [_moved(each, -slot.start) for each in slots[number + 1 : inner]], answer)
        parts += body[at : slot.start], codec.dump(answer(slot.link, codec.parse(text)))
        at, number = slot.end, inner
    return b"".join((*parts, body[at:]))


def _moved(slot: Slot, by: int) -> Slot:
    return Slot(slot.start + by, slot.end + by, slot.link)
