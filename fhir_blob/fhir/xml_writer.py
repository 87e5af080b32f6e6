"""Resources written as XML: elements in the order of their definition, ids and urls of extensions as attributes.

Source: https://hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from fhir_blob.fhir import xhtml
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Field, fields
from fhir_blob.fhir.primitives import CHECKS

FHIR = "http://hl7.org/fhir"
_MOST = 10
# Element.id, which no resource has, and the url of an extension.
_ATTRIBUTES = {"Extension": ("id", "url")}
_SPECIAL = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


@dataclass(frozen=True, slots=True)
class Written:
    """The XML, and the paths of the first few properties that have no form in it: those that R4 does not know,
    and what stands beside an attribute or a narrative."""

    text: bytes
    left_out: tuple[str, ...]


def write(resource: Mapping[str, Any], *, pretty: bool = False) -> Written:
    """A valid resource; unknown elements may be in it. A character that XML does not know is U+FFFD."""
    writer = _Writer()
    writer.resource(resource, resource["resourceType"], "\n" if pretty else "", f' xmlns="{FHIR}"')
    return Written("".join(writer.out).encode(), tuple(writer.left_out))


def dump(resource: Mapping[str, Any], *, pretty: bool = False) -> bytes:
    """The text of `write` alone."""
    return write(resource, pretty=pretty).text


@lru_cache(None)
def attributes_of(type: str) -> tuple[str, ...]:
    """The children that are written as attributes."""
    return () if type in definitions().types or type == "Resource" else _ATTRIBUTES.get(type, ("id",))


@lru_cache(None)
def places_of(type: str) -> Mapping[str, tuple[int, Field]]:
    """The elements in one of the type, each with its place among the others; a primitive has what Element has."""
    known = fields("Element" if type in CHECKS else type)
    return {
        name: (number, field) for number, (name, field) in enumerate(known.items()) if name not in attributes_of(type)
    }


class _Writer:
    """`gap` is the line break before an element, or nothing; `_path` leads to the element being written."""

    def __init__(self) -> None:
        self.out = ['<?xml version="1.0" encoding="UTF-8"?>']
        self.left_out: dict[str, None] = {}
        self._path: list[str] = []

    def resource(self, value: Mapping[str, Any], step: str, gap: str, declared: str = "") -> None:
        """The path goes by the element that holds a resource, `step`."""
        self._path.append(step)
        self._element(value["resourceType"], declared, value, value["resourceType"], gap)
        self._path.pop()

    def _step(self, name: str, told: str, value: Mapping[str, Any], type: str, gap: str) -> None:
        self._path.append(name)
        self._element(name, told, value, type, gap)
        self._path.pop()

    def _element(self, name: str, told: str, value: Mapping[str, Any], type: str, gap: str) -> None:
        """One element with its attributes and children. FHIR has no empty ones, other than resources."""
        out = self.out
        for each in attributes_of(type):
            if each in value:
                told += f' {each}="{_text(value[each])}"'
        out.append(f"{gap}<{name}{told}")
        first = len(out)
        self._children(value, type, f"{gap}  " if gap else "")
        if len(out) > first:
            out[first - 1] += ">"
            out.append(f"{gap}</{name}>")
        elif told or type in definitions().types:
            out.append("/>")
        else:
            out.pop()

    def _children(self, value: Mapping[str, Any], type: str, gap: str) -> None:
        for _, name, field in sorted(self._known(value, type)):
            for each, beside in _pairs(value.get(name), value.get(f"_{name}")):
                if field.type == "Resource":
                    self.out.append(f"{gap}<{name}>")
                    self.resource(each, name, f"{gap}  " if gap else "")
                    self.out.append(f"{gap}</{name}>")
                elif field.type == "xhtml":
                    self.out.append(f"{gap}{xhtml.to_xml(each or '')}")
                elif field.type in CHECKS:
                    told = "" if each is None else f' value="{_text(each)}"'
                    if beside:
                        self._step(name, told, beside, field.type, gap)
                    else:
                        self.out.append(f"{gap}<{name}{told}/>")
                else:
                    self._step(name, "", each, field.type, gap)

    def _known(self, value: Mapping[str, Any], type: str) -> Iterator[tuple[int, str, Field]]:
        """Each element once, though the JSON may have it and `_` of it."""
        places, attributes = places_of(type), attributes_of(type)
        for key in value:
            is_beside = key[:1] == "_"
            place = places.get(key[1:] if is_beside else key)
            if place is None:
                if key not in attributes and not (key == "resourceType" and type in definitions().types):
                    self._leave_out(key)
            elif not is_beside:
                yield place[0], key, place[1]
            elif place[1].type not in CHECKS or place[1].type == "xhtml":
                self._leave_out(key)
            elif key[1:] not in value:
                yield place[0], key[1:], place[1]

    def _leave_out(self, key: str) -> None:
        if len(self.left_out) < _MOST:
            self.left_out[".".join((*self._path, key))] = None


def _pairs(values: Any, beside: Any) -> Iterator[tuple[Any, Any]]:
    """Each value of an element with its id and extensions."""
    if isinstance(values, list) or isinstance(beside, list):
        return zip_longest(values or (), beside or ())
    return iter(((values, beside),))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _SPECIAL.sub(_escaped, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(Decimal(value))  # of a long integer too, which str refuses


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[0], "\ufffd")
