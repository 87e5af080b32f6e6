"""The words of a resource for `_text` and `_content`: https://hl7.org/fhir/R4/search.html#text

`_text` is the narrative, `_content` every text of the resource; a word is what stands between marks.
"""

from __future__ import annotations

import html
import re
from typing import Any

from fhir_blob.search.terms import words

_TAG = re.compile(r"<[^>]*>")
_MOST = 65_536
# Bytes, and what a machine reads.
_UNREAD = frozenset({"data", "reference", "url", "system", "resourceType", "id", "meta", "hash", "div"})


def text_rows(resource: dict[str, Any]) -> list[tuple[str, str]]:
    """(param, words): the words with a blank before, between and after them; no row where there is none."""
    narrative = resource.get("text")
    told = _plain(narrative["div"]) if isinstance(narrative, dict) and "div" in narrative else ""
    texts: list[str] = []
    _gather(resource, texts)
    content = " ".join(texts)
    found = (("_text", words(told[:_MOST])), ("_content", words(f"{content} {told}"[:_MOST])))
    return [(param, f" {' '.join(each)} ") for param, each in found if each]


def _plain(div: str) -> str:
    return html.unescape(_TAG.sub(" ", div))


def _gather(value: Any, found: list[str]) -> None:
    """Every string, but for those of narratives and of elements that nobody reads."""
    if value.__class__ is str:
        found.append(value)
    elif value.__class__ is dict:
        for name, each in value.items():
            if name not in _UNREAD:
                _gather(each, found)
    elif value.__class__ is list:
        for each in value:
            _gather(each, found)
