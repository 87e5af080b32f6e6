"""What the entries of a transaction call each other, and the places where they do so.

Source: https://hl7.org/fhir/R4/bundle.html#references and https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import descendants, fields, root

_PLACEHOLDERS = ("urn:uuid:", "urn:oid:")
_LITERAL = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}\Z")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?(.+)\Z", re.DOTALL)
_LINK = re.compile(r"""(\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")
_URIS = frozenset({"uri", "url", "oid", "uuid"})


@dataclass(frozen=True, slots=True)
class Mention:
    """`container[key]` is a text that names another resource; in a narrative its links do."""

    container: Any
    key: str | int
    is_reference: bool = False
    is_narrative: bool = False

    @property
    def text(self) -> str:
        return str(self.container[self.key])


def mentions(resource: dict[str, Any], full_urls: Container[str], base: str) -> list[Mention]:
    """Every literal reference, what else may name one of the entries, and the narratives that have links.

    `base` is that of the entry's own fullUrl, below which its relative URLs are.
    """
    return list(_mentions(resource, str(resource.get("resourceType")), full_urls, base))


def _mentions(node: dict[str, Any], type: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    table = table_of(type)
    for name in node:
        kind = table.get(name)
        if kind is not None:
            yield from held(node, name, kind, full_urls, base)


def held(node: dict[str, Any], name: str, kind: str, full_urls: Container[str], base: str) -> Iterator[Mention]:
    """Those in the property of that name, which holds what `table_of` calls that kind."""
    value = node[name]
    if value is None:
        return
    values = list(enumerate(value)) if isinstance(value, list) else [(name, value)]
    owner = value if isinstance(value, list) else node
    for key, each in values:
        if isinstance(each, dict):
            below = str(each.get("resourceType")) if kind == "Resource" else kind
            if kind != "Resource" or below in definitions().types:
                yield from _mentions(each, below, full_urls, base)
        elif isinstance(each, str) and _is_mention(each, kind, full_urls, base):
            yield Mention(owner, key, kind == "reference", kind == "xhtml")


def _is_mention(text: str, kind: str, full_urls: Container[str], base: str) -> bool:
    if kind == "xhtml":
        return _LINK.search(text) is not None
    if kind in _URIS:
        return text in full_urls or (bool(base) and base + text in full_urls)
    return kind == "reference"


@lru_cache(None)
def table_of(type: str) -> Mapping[str, str]:
    """By JSON name what a property holds, for those that can lead to a mention: a type, or 'reference'."""
    found: dict[str, str] = {}
    for name, field in fields(type).items():
        if field.type == "Resource" and field.stem != "contained":
            continue
        if type == "Reference" and name == "reference":
            found[name] = "reference"
        elif field.type in _URIS or field.type == "xhtml" or definitions().structure(field.type):
            found[name] = field.type
        if not definitions().structure(field.type):
            found[f"_{name}"] = "Element"
    return found


@dataclass(frozen=True, slots=True)
class Names:
    """What the entries are called: `full_urls` to 'Type/id', `found` the same of conditional references."""

    full_urls: Mapping[str, str]
    found: Mapping[str, str]

    def apply(self, mention: Mention, base: str) -> None:
        """Put the resource's own name in the place of what it was called."""
        if mention.is_narrative:
            mention.container[mention.key] = _LINK.sub(lambda link: self._link(link, base), mention.text)
            return
        name = self._of(mention.text, base)
        if name is not None:
            mention.container[mention.key] = name

    def _link(self, link: re.Match[str], base: str) -> str:
        quote, text = link[2][0], link[2][1:-1]
        return f"{link[1]}{quote}{self._of(text, base) or text}{quote}"

    def _of(self, text: str, base: str) -> str | None:
        known = self.found.get(text)
        if known is not None:
            return known
        bare, mark, fragment = text.partition("#")
        name = self.full_urls.get(bare) or (self.full_urls.get(base + bare) if base and _LITERAL.match(bare) else None)
        return None if name is None else name + mark + fragment


def is_placeholder(text: str) -> bool:
    """Whether it can only be the fullUrl of an entry."""
    return text.startswith(_PLACEHOLDERS)


def conditional(text: str, base: str) -> tuple[str, str] | None:
    """Type and query of a conditional reference, relative or below `base`, this server's own URL."""
    match = _CONDITIONAL.match(text.removeprefix(base).removeprefix("/")) if "?" in text else None
    return (match[1], match[2]) if match is not None and match[1] in definitions().types else None


def base_of(full_url: str) -> str:
    """'http://host/fhir/' of 'http://host/fhir/Patient/1'; '' of what is no RESTful URL."""
    base, type, id = (["", "", *full_url.rsplit("/", 2)])[-3:]
    return f"{base}/" if base and type in definitions().types and id else ""


def path_of(resource: dict[str, Any], text: str) -> str:
    """The FHIRPath of the first Reference with that text."""
    for spot in descendants(root(resource)):
        if spot.type == "Reference" and isinstance(spot.value, dict) and spot.value.get("reference") == text:
            return f"{spot.path}.reference"
    return str(resource.get("resourceType"))
