"""XML as FHIR writes it, to and from the same values as JSON, driven by the definitions.

Read in one pass by expat: it stops at a document type or an unknown element where that begins, and
tells where in the text a narrative stands, so that this is kept as it is.
Source: https://hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn
from xml.parsers import expat

from fhir_blob.errors import NotParseable
from fhir_blob.fhir import xhtml
from fhir_blob.fhir.codec import DEPTH
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Field
from fhir_blob.fhir.primitives import CHECKS
from fhir_blob.fhir.xml_writer import FHIR, attributes_of, dump, places_of, write

__all__ = ["dump", "parse", "write"]

_XSI = "http://www.w3.org/2001/XMLSchema-instance "
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii"})
_NARRATIVE_DEPTH = 256
_NAMESPACES = 100
_QUOTED = 80
_BLANK = " \t\r\n"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)\Z")
_EMPTY = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/>""")
_WHOLE = frozenset({"integer", "positiveInt", "unsignedInt"})


def parse(text: bytes) -> dict[str, Any]:
    """The resource as JSON has it, decimals with their digits. NotParseable names what has no place in it."""
    return _Reader(text).read()


@dataclass(slots=True)
class _Element:
    """An element that is open; type 'Resource' is one that holds a resource.

    `level` counts the objects and lists of JSON around what it will be, `value` is of a primitive.
    """

    name: str
    type: str
    is_list: bool
    above: _Element | None
    level: int
    found: dict[str, Any]
    value: str | None = None

    @property
    def path(self) -> str:
        if self.above is None:
            return self.name
        return self.above.path if self.above.type == "Resource" else f"{self.above.path}.{self.name}"

    def refuse(self, sentence: str) -> NoReturn:
        raise NotParseable(f"{self.path}: {sentence}", expression=self.path)


class _Reader:
    """One pass through the text. `_open` is the innermost element, `_inside` how deep in a narrative it is."""

    def __init__(self, text: bytes) -> None:
        self._text = text.removeprefix(b"\xef\xbb\xbf")
        self._open: _Element | None = None
        self._resource: dict[str, Any] = {}
        self._inside, self._narrative = 0, 0
        self._declared: list[tuple[str | None, str]] = []
        self._parser = parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.XmlDeclHandler = _check_encoding
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndNamespaceDeclHandler = lambda prefix: self._declared.pop()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def read(self) -> dict[str, Any]:
        if b"\0" in self._text:  # UTF-16 would be recognised
            raise NotParseable("The body is not XML in UTF-8: it has a NUL.")
        try:
            self._parser.Parse(self._text, True)
        except expat.ExpatError as error:
            told = expat.ErrorString(error.code)
            place = f"line {error.lineno}, column {error.offset + 1}"
            raise NotParseable(f"The body is not XML in UTF-8: {told} at {place}.") from error
        finally:
            del self._parser  # it knows this reader: neither would end before the next garbage collection
        return self._resource

    def _declare(self, prefix: str | None, uri: str) -> None:
        """Each may be looked through for each narrative."""
        self._declared.append((prefix, uri or ""))
        if len(self._declared) > _NAMESPACES:
            raise NotParseable(f"More than {_NAMESPACES} namespaces are declared at once.")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        above = self._open
        if self._inside:
            self._go_into(namespace, name)
        elif above is None:
            if namespace != FHIR:
                raise NotParseable(f"The root element {name[:_QUOTED]!r} is not of the namespace {FHIR}.")
            self._open = _resource(name, None, attributes)
        elif above.type == "Resource" and namespace == FHIR:
            self._open = _resource(name, above, attributes)
        else:
            field = places_of(above.type).get(name)
            if field is None or namespace != (xhtml.XHTML if field[1].type == "xhtml" else FHIR):
                above.refuse(f"the element {name[:_QUOTED]!r} is unknown here.")
            if field[1].type == "xhtml":
                self._inside, self._narrative = 1, self._parser.CurrentByteIndex
            else:
                self._open = _child(name, field[1], above, attributes)

    def _end(self, tag: str) -> None:
        element = self._open
        assert element is not None
        if self._inside:
            self._inside -= 1
            if not self._inside:
                self._keep(element)
            return
        self._open = element.above
        if element.above is None:
            self._resource = _closed(element)
        elif element.above.type == "Resource":
            if element.above.found:
                element.above.refuse("one resource is expected here.")
            element.above.found = _closed(element)
        elif element.type in CHECKS:
            _add_primitive(element, element.above)
        else:
            _add(element, element.above, _closed(element))

    def _characters(self, text: str) -> None:
        if self._open is not None and not self._inside and text.strip(_BLANK):
            self._open.refuse("text stands between the elements.")

    def _go_into(self, namespace: str, name: str) -> None:
        assert self._open is not None
        self._inside += 1
        if namespace != xhtml.XHTML:
            self._open.refuse(f"<{name[:_QUOTED]}> in the narrative is not of the namespace {xhtml.XHTML}.")
        if self._inside > _NARRATIVE_DEPTH:
            self._open.refuse(f"the narrative is nested deeper than {_NARRATIVE_DEPTH} levels.")

    def _keep(self, narrative: _Element) -> None:
        """The div, from its first letter to its last."""
        end = self._parser.CurrentByteIndex
        if not _EMPTY.fullmatch(self._text, self._narrative, end):  # after that expat stands, else at the closing tag
            end = self._text.index(b">", end) + 1
        if "div" in narrative.found:
            narrative.refuse("the element 'div' stands twice.")
        narrative.found["div"] = xhtml.from_xml(self._text[self._narrative : end].decode(), dict(self._declared))


def _check_encoding(version: str, encoding: str | None, standalone: int) -> None:
    if (encoding or "utf-8").lower() not in _ENCODINGS:
        raise NotParseable(f"The encoding is {str(encoding)[:_QUOTED]!r}: FHIR is written in UTF-8.")


def _refuse_doctype(name: str, system: str | None, public: str | None, has_subset: int) -> None:
    raise NotParseable("The body has a document type: FHIR takes none.")


def _resource(name: str, holder: _Element | None, attributes: Mapping[str, str]) -> _Element:
    if name not in definitions().types:
        sentence = f"{name[:_QUOTED]!r} is no resource type of FHIR R4."
        raise NotParseable(f"{holder.path}: {sentence}" if holder else sentence)
    found = {"resourceType": name}
    return _opened(_Element(name, name, False, holder, holder.level if holder else 0, found), attributes)


def _child(name: str, field: Field, above: _Element, attributes: Mapping[str, str]) -> _Element:
    level = above.level + (2 if field.is_list else 1)
    return _opened(_Element(name, field.type, field.is_list, above, level, {}), attributes)


def _opened(element: _Element, attributes: Mapping[str, str]) -> _Element:
    is_primitive = element.type in CHECKS
    if element.level > DEPTH and not is_primitive:
        raise NotParseable(f"The body is nested deeper than {DEPTH} levels.")
    known = attributes_of(element.type)
    for name, value in attributes.items():
        if name in known:
            element.found[name] = value
        elif is_primitive and name == "value":
            element.value = value
        elif not name.startswith(_XSI):
            element.refuse(f"the attribute {name.rpartition(' ')[2][:_QUOTED]!r} is unknown here.")
    return element


def _closed(element: _Element) -> dict[str, Any]:
    """JSON has no list of nulls beside a list, and none beside a list of nulls."""
    found = element.found
    if element.type == "Resource" and not found:
        element.refuse("one resource is expected here.")
    for name in [each for each in found if each[0] == "_" and isinstance(found[each], list)]:
        if not any(found[name]):
            del found[name]
        elif all(each is None for each in found[name[1:]]):
            del found[name[1:]]
    return found


def _add(element: _Element, above: _Element, value: Any) -> None:
    if element.is_list:
        above.found.setdefault(element.name, []).append(value)
    elif element.name in above.found or f"_{element.name}" in above.found:
        above.refuse(f"the element {element.name!r} stands twice.")
    else:
        above.found[element.name] = value


def _add_primitive(element: _Element, above: _Element) -> None:
    """The value, and beside it the id and extensions."""
    beside, value = _closed(element), element.value
    if value == "":
        element.refuse("the value is empty.")
    if value is None and not beside:
        element.refuse("there is neither a value nor an extension.")
    if element.is_list:
        above.found.setdefault(f"_{element.name}", []).append(beside or None)
        _add(element, above, None if value is None else _value(value, element.type))
        return
    _add(element, above, None if value is None else _value(value, element.type))
    if value is None:
        del above.found[element.name]
    if beside:
        above.found[f"_{element.name}"] = beside


def _value(text: str, type: str) -> Any:
    """As JSON has it; what is no value of its type stays a text, which is refused later as that of JSON is."""
    if type == "boolean" and text in ("true", "false"):
        return text == "true"
    if type in _WHOLE and _INTEGER.match(text) and len(text) < 20:
        return int(text)
    if type == "decimal" and _NUMBER.match(text) and len(text) < 1000:
        try:
            return int(text) if text.lstrip("-").isdigit() and text != "-0" else Decimal(text)
        except ArithmeticError:  # an exponent that no number has
            return text
    return text
