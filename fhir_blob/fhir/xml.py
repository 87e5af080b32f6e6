"""XML as FHIR writes it, to and from the same values as JSON, driven by the definitions.

Source: https://hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from lxml import etree

from fhir_blob.errors import NotParseable
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Field, fields

_FHIR = "{http://hl7.org/fhir}"
_XHTML = "http://www.w3.org/1999/xhtml"
_DEPTH = 64
_QUOTED = 80
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_WHOLE = frozenset({"integer", "positiveInt", "unsignedInt"})
# Written as attributes: Element.id, which no resource has, and the url of an extension.
_ATTRIBUTES = {"Extension": ("id", "url")}


def parse(text: bytes) -> dict[str, Any]:
    """The resource as JSON has it, decimals with their digits. NotParseable names what has no place in it."""
    root = _tree(text)
    if root.tag[: len(_FHIR)] != _FHIR:
        raise NotParseable(f"The root element {_name(root)!r} is not of the namespace http://hl7.org/fhir.")
    return _resource(root, _DEPTH)


def _tree(text: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise NotParseable("The body has a document type: FHIR takes none.")
    try:
        text.decode()  # in UTF-16 a document type would look otherwise
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise NotParseable(f"The body is not XML in UTF-8: {_told(error)}") from None
    return root


def _told(error: Exception) -> str:
    """The parser's place, and nothing of the text."""
    place = getattr(error, "position", None)
    return f"line {place[0]}, column {place[1]}." if place else "its encoding is another."


def _resource(node: etree._Element, depth: int) -> dict[str, Any]:
    type = _name(node)
    if type not in definitions().types:
        raise NotParseable(f"{type[:_QUOTED]!r} is no resource type of FHIR R4.")
    return {"resourceType": type, **_object(node, type, type, depth)}


def _object(node: etree._Element, type: str, path: str, depth: int) -> dict[str, Any]:
    if depth < 0:
        raise NotParseable(f"The body is nested deeper than {_DEPTH} levels.")
    if node.text and node.text.strip():
        raise NotParseable(f"{path}: text stands between the elements.")
    known, found = fields(type), _attributes(node, type, path)
    for child in node:
        if child.tail and child.tail.strip():
            raise NotParseable(f"{path}: text stands between the elements.")
        name = _name(child)
        field = known.get(name)
        if field is None or child.tag != (f"{{{_XHTML}}}div" if field.type == "xhtml" else _FHIR + name):
            raise NotParseable(f"{path}: the element {name[:_QUOTED]!r} is unknown here.", expression=path)
        _add(found, name, field, child, f"{path}.{name}", depth)
    for name in [each for each in found if each[:1] == "_"]:
        _trim(found, name)
    return found


def _attributes(node: etree._Element, type: str, path: str) -> dict[str, Any]:
    allowed = () if type in definitions().types else _ATTRIBUTES.get(type, ("id",))
    for name in node.attrib:
        if name not in allowed and not str(name).startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            raise NotParseable(f"{path}: the attribute {str(name)[:_QUOTED]!r} is unknown here.", expression=path)
    return {str(name): str(node.attrib[name]) for name in allowed if name in node.attrib}


def _add(found: dict[str, Any], name: str, field: Field, child: etree._Element, path: str, depth: int) -> None:
    """A list grows; what may come once and comes twice is left to be refused by its rules."""
    if field.type == "Resource":
        _put(found, name, field, _contained(child, path, depth))
    elif field.type == "xhtml":
        _put(found, name, field, _narrative(child))
    elif fields(field.type) and not _is_primitive(field.type):
        _put(found, name, field, _object(child, field.type, path, depth - 1))
    else:
        value, beside = _primitive(child, field.type, path, depth)
        if field.is_list:
            found.setdefault(name, []).append(value)
            found.setdefault(f"_{name}", []).append(beside)
        else:
            if value is not None:
                _put(found, name, field, value)
            if beside is not None:
                _put(found, f"_{name}", field, beside)


def _put(found: dict[str, Any], name: str, field: Field, value: Any) -> None:
    if field.is_list:
        found.setdefault(name, []).append(value)
    elif name in found:
        raise NotParseable(f"The element {name.lstrip('_')[:_QUOTED]!r} stands twice in one place.")
    else:
        found[name] = value


def _trim(found: dict[str, Any], name: str) -> None:
    """JSON has no list of nulls beside a list, and none beside a list of nulls."""
    if isinstance(found[name], list) and not any(found[name]):
        del found[name]
    values = found.get(name[1:])
    if isinstance(values, list) and all(each is None for each in values):
        del found[name[1:]]


def _is_primitive(type: str) -> bool:
    return type[:1].islower() and "." not in type


def _contained(node: etree._Element, path: str, depth: int) -> dict[str, Any]:
    if len(node) != 1:
        raise NotParseable(f"{path}: one resource is expected here.", expression=path)
    return _resource(node[0], depth - 1)


def _primitive(node: etree._Element, type: str, path: str, depth: int) -> tuple[Any, dict[str, Any] | None]:
    """The value, and beside it the id and extensions."""
    text = node.attrib.pop("value", "") if "value" in node.attrib else None
    beside = _object(node, "Element", path, depth - 1)
    return None if text is None else _value(str(text), type, path), beside or None


def _value(text: str, type: str, path: str) -> Any:
    if type == "boolean" and text in ("true", "false"):
        return text == "true"
    if type in _WHOLE and text.lstrip("-").isdigit() and _NUMBER.match(text) and len(text) < 20:
        return int(text)
    if type == "decimal" and _NUMBER.match(text) and len(text) < 1000:
        return int(text) if text.lstrip("-").isdigit() and text != "-0" else Decimal(text)
    return text  # as a text it is refused where its type wants another


def _narrative(node: etree._Element) -> str:
    """The xhtml as it stands, its namespace on the div."""
    if node.prefix:
        node = _unprefixed(node)
    text: str = etree.tostring(node, encoding="unicode", with_tail=False)
    return text


def _unprefixed(node: etree._Element) -> etree._Element:
    attributes = {str(name): str(value) for name, value in node.attrib.items()}
    made = etree.Element(node.tag, attributes, nsmap=_nsmap(_XHTML))
    made.text = node.text
    for child in node:
        inner = _unprefixed(child)
        inner.tail = child.tail
        made.append(inner)
    return made


def _nsmap(namespace: str) -> Any:
    return {None: namespace}


def _name(node: etree._Element) -> str:
    return str(etree.QName(node).localname)


def dump(resource: dict[str, Any], *, pretty: bool = False) -> bytes:
    """The XML of a valid resource, elements in the order of their definition."""
    type = resource["resourceType"]
    root = etree.Element(_FHIR + type, nsmap=_nsmap(_FHIR[1:-1]))
    _write(root, resource, type)
    if pretty:
        _indent(root, 0)
    text: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


def _write(node: etree._Element, value: dict[str, Any], type: str) -> None:
    is_resource = type in definitions().types
    attributes = () if is_resource else _ATTRIBUTES.get(type, ("id",))
    for name in attributes:
        if name in value:
            node.set(name, value[name])
    for name, field in fields(type).items():
        if name not in attributes and (name in value or f"_{name}" in value):
            for each, beside in _pairs(value.get(name), value.get(f"_{name}")):
                _write_one(node, name, field, each, beside)


def _pairs(values: Any, beside: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(values, list) and not isinstance(beside, list):
        yield values, beside
        return
    ours, theirs = values or [], beside or []
    for number in range(max(len(ours), len(theirs))):
        yield (
            ours[number] if number < len(ours) else None,
            theirs[number] if number < len(theirs) else None,
        )


def _write_one(node: etree._Element, name: str, field: Field, value: Any, beside: Any) -> None:
    if field.type == "xhtml":
        node.append(_xhtml(value))
        return
    child = etree.SubElement(node, _FHIR + name)
    if field.type == "Resource":
        inner = etree.SubElement(child, _FHIR + value["resourceType"])
        _write(inner, value, value["resourceType"])
    elif isinstance(value, dict):
        _write(child, value, field.type)
    else:
        if value is not None:
            child.set("value", _text(value))
        if beside:
            _write(child, beside, "Element")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _xhtml(text: str) -> etree._Element:
    """What is no XML, as old narratives may be, is mended as a browser would."""
    return etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True, recover=True))


def _indent(node: etree._Element, level: int) -> None:
    """Two blanks a level; a narrative stays as it is."""
    if not len(node) or node.tag.startswith(f"{{{_XHTML}}}"):
        return
    node.text = "\n" + "  " * (level + 1)
    for child in node:
        _indent(child, level + 1)
        child.tail = "\n" + "  " * (level + 1)
    node[-1].tail = "\n" + "  " * level
