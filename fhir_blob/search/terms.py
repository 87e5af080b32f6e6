"""How texts and references are written in the index, the same way for a resource's values and a search's."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from fhir_blob.fhir.definitions import definitions

# A database's index takes keys of about 2,700 bytes: longer texts are cut, longer keys end in a digest.
LONGEST_TEXT = 512
LONGEST_KEY = 255
_KEY_HEAD = LONGEST_KEY - 64

_WORD = re.compile(r"\w+")
_ID = r"[A-Za-z0-9.-]{1,64}"
ID = re.compile(rf"{_ID}\Z")
_LITERAL = re.compile(rf"(?:(https?://\S+)/)?([A-Z][A-Za-z]+)/({_ID})(?:/_history/({_ID}))?(?:\|(\S*))?\Z")


def fold(text: str) -> str:
    """Without case, accents and repeated white space: https://hl7.org/fhir/R4/search.html#string"""
    if text.isascii():
        return " ".join(text.lower().split())
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(each for each in parts if not unicodedata.combining(each)).split())


def words(text: str) -> tuple[str, ...]:
    """The words of a text, folded, each once, in order."""
    return tuple(dict.fromkeys(_WORD.findall(fold(text))))


def key(text: str) -> str:
    """A system, code or uri as it stands in the index."""
    if len(text) <= LONGEST_KEY:
        return text
    return text[:_KEY_HEAD] + hashlib.sha256(text.encode()).hexdigest()


def key_prefix(text: str) -> str:
    """What every key begins with whose text begins with this one."""
    return text[:_KEY_HEAD]


def inside(uri: str) -> str:
    """What every uri below this one begins with; '' for a URN: `:below` is of URLs alone."""
    return "" if uri.startswith("urn:") else uri if uri.endswith("/") else f"{uri}/"


def after_prefix(prefix: str) -> str:
    """The least text that is greater than all that begin with the prefix; '' where there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < 0x10FFFF:
            return prefix[:at] + chr(0xE000 if code == 0xD7FF else code + 1)
    return ""


def target(text: str, base: str) -> tuple[str, str, str, str]:
    """(type, id, version, url) of a reference or canonical.

    A literal one has type and id, and as url the base of the server that it lies on, '' for this one;
    of any other shape only version and url are known.
    """
    found = _LITERAL.match(text)
    if found is not None and found[2] in definitions().types:
        foreign, type, id, history, version = found.groups()
        url = "" if foreign is None or foreign == base.rstrip("/") else key(foreign)
        return type, id, history or key(version or ""), url
    url, _, version = text.partition("|")
    return "", "", key(version), key(url)
