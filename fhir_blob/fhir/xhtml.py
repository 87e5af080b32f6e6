"""Narratives between JSON, where they are text, and XML, where they are elements: kept letter by letter.

Source: https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.entities import name2codepoint
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

XHTML = "http://www.w3.org/1999/xhtml"
_OPENING = f'<div xmlns="{XHTML}">'
_DIV = re.compile(r"<div[\s/>]")
_BEFORE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*", re.DOTALL)
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_TAG = re.compile(r"<[^>]*>")
_OF_XML = frozenset({"lt", "gt", "amp", "quot", "apos"})
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def from_xml(text: str, declared: Mapping[str | None, str]) -> str:
    """The div that stands so in a document, where `declared` are the namespaces by prefix.

    As it is, unless it needs what the document around it says: then without prefixes.
    """
    return text if _stands_alone(text) else _without_prefixes(text, declared)


def to_xml(text: str) -> str:
    """A div that can stand in a document. Of what cannot be mended the words are kept, without tags."""
    bare = text[_BEFORE.match(text).end() :].rstrip()  # type: ignore[union-attr]
    if _stands_alone(bare):
        return bare
    mended = _ENTITY.sub(_numbered, bare)
    if not _stands_alone(mended):
        mended = f"{_OPENING[:-1]}{mended[4:]}"
    if _stands_alone(mended):
        return mended
    return f"{_OPENING}{escape(_FORBIDDEN.sub('', html.unescape(_TAG.sub('', bare))))}</div>"


def _stands_alone(text: str) -> bool:
    roots: list[str] = []
    parser = expat.ParserCreate("utf-8", " ")

    def start(tag: str, attributes: Any) -> None:
        roots.append(tag)
        parser.StartElementHandler = None

    parser.StartElementHandler = start
    try:
        parser.Parse(text.encode(errors="replace"), True)
    except expat.ExpatError:
        return False
    return roots == [f"{XHTML} div"] and _DIV.match(text) is not None


def _numbered(entity: re.Match[str]) -> str:
    """XML has five names of characters, HTML has more."""
    code = None if entity[1] in _OF_XML else name2codepoint.get(entity[1])
    return entity[0] if code is None else f"&#{code};"


def _without_prefixes(text: str, declared: Mapping[str | None, str]) -> str:
    made: list[str] = []
    parser = expat.ParserCreate("utf-8", " ")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if made:
            known = {_prefixed(name): value for name, value in attributes.items()} | _plain(attributes)
            told = "".join(f" {name}={quoteattr(value)}" for name, value in known.items())
            made.append(f"<{_local(tag)}{told}>")
        else:
            made.append("")  # the element around it, that has the declarations

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: made.append(f"</{_local(tag)}>")
    parser.CharacterDataHandler = lambda data: made.append(escape(data))
    needed = {prefix: uri for prefix, uri in declared.items() if not prefix or f"{prefix}:" in text}
    spaces = "".join(f" xmlns{f':{prefix}' if prefix else ''}={quoteattr(uri)}" for prefix, uri in needed.items())
    parser.Parse(f"<around{spaces}>{text}</around>".encode(), True)
    div = "".join(made[1:-1])
    return _OPENING[:-1] + div[len("<div") :]


def _plain(attributes: Mapping[str, str]) -> dict[str, str]:
    """Those of no namespace: without prefixes two could have one name, and of these XHTML means the plain one."""
    return {name: value for name, value in attributes.items() if " " not in name}


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _prefixed(attribute: str) -> str:
    """The only prefix that needs no declaration is xml: xml:lang, xml:space."""
    return f"xml:{_local(attribute)}" if attribute.startswith("http://www.w3.org/XML/") else _local(attribute)
