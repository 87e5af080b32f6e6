"""The invariants of R4 that a structure alone does not show, each by its key in the specification.

Source: the constraints of each StructureDefinition, https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken invariant; `below` leads from the object that was looked at to the element meant."""

    sentence: str
    below: tuple[str, ...] = ()


Invariant = Callable[[Mapping[str, Any]], Broken | None]

_TAG = re.compile(r"<\s*/?\s*([A-Za-z][A-Za-z0-9:]*)")
_EVENT = re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]*>|&nbsp;|&#160;|&#xa0;|\s", re.IGNORECASE)
_DIV = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<div[\s>]", re.DOTALL)
# https://hl7.org/fhir/R4/narrative.html#Narrative
_ALLOWED = frozenset(
    """a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i
    img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var address bdo
    center del font ins kbd s strike u map area nl""".split()  # noqa: SIM905 - a page of quotes says less
)


def _ext_1(value: Mapping[str, Any]) -> Broken | None:
    has_value = any(name.startswith(("value", "_value")) for name in value)
    if has_value == ("extension" in value):
        return Broken("an extension has either a value or extensions (ext-1).")
    return None


def _att_1(value: Mapping[str, Any]) -> Broken | None:
    if "data" in value and "contentType" not in value and "_contentType" not in value:
        return Broken("data needs a contentType (att-1).")
    return None


def _qty_3(value: Mapping[str, Any]) -> Broken | None:
    if "code" in value and "system" not in value and "_system" not in value:
        return Broken("a coded unit needs its system (qty-3).")
    return None


def _per_1(value: Mapping[str, Any]) -> Broken | None:
    start, end = value.get("start"), value.get("end")
    if isinstance(start, str) and isinstance(end, str):
        length = min(len(start), len(end), 10)
        if start[:length] > end[:length]:
            return Broken("start is after end (per-1).")
    return None


def _txt(value: Mapping[str, Any]) -> Broken | None:
    div = value.get("div")
    if not isinstance(div, str):
        return None
    if _DIV.match(div) is None:
        return Broken("a narrative is one XHTML div.", ("div",))
    strange = next((tag for tag in _TAG.findall(div) if tag.lower() not in _ALLOWED), None)
    if strange is not None or _EVENT.search(div):
        told = f"<{strange[:20]}>" if strange else "an event handler"
        return Broken(f"{told} may not stand in a narrative (txt-1).", ("div",))
    if "<img" not in div and not _MARKUP.sub("", div):
        return Broken("a narrative may not be blank (txt-2).", ("div",))
    return None


BY_TYPE: Mapping[str, tuple[Invariant, ...]] = {
    "Extension": (_ext_1,),
    "Attachment": (_att_1,),
    "Quantity": (_qty_3,),
    "Age": (_qty_3,),
    "Count": (_qty_3,),
    "Distance": (_qty_3,),
    "Duration": (_qty_3,),
    "Period": (_per_1,),
    "Narrative": (_txt,),
}


def of_resource(resource: Mapping[str, Any], *, is_contained: bool) -> Iterator[Broken]:
    """Those that need the whole resource."""
    contained = resource.get("contained")
    if is_contained:
        if contained:
            yield Broken("a contained resource may not contain others (dom-2).", ("contained",))
        return
    yield from _ref_1(resource, contained if isinstance(contained, list) else [])
    if resource["resourceType"] == "Bundle":
        yield from _bdl(resource)
    if resource["resourceType"] == "Questionnaire":
        yield from _que_2(resource)


def _ref_1(resource: Mapping[str, Any], contained: list[Any]) -> Iterator[Broken]:
    """A local reference names a contained resource."""
    known = {each.get("id") for each in contained if isinstance(each, dict)}
    for reference in _local_references(resource):
        if reference[1:] and reference[1:] not in known:
            yield Broken(f"{reference[:60]!r} names no contained resource (ref-1).", ("contained",))


def _local_references(node: Any) -> Iterator[str]:
    """Those of this resource and of what it contains; not of resources in its entries or parameters."""
    if isinstance(node, dict):
        reference = node.get("reference")
        if isinstance(reference, str) and reference[:1] == "#":
            yield reference
        for name, each in node.items():
            if isinstance(each, dict | list) and name != "resource":
                yield from _local_references(each)
    else:
        for each in node:
            if isinstance(each, dict | list):
                yield from _local_references(each)


def _bdl(bundle: Mapping[str, Any]) -> Iterator[Broken]:
    """bdl-7: a fullUrl comes once for each version; bdl-8: it names no version."""
    seen: set[tuple[str, Any]] = set()
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        url = entry.get("fullUrl") if isinstance(entry, dict) else None
        if not isinstance(url, str):
            continue
        resource = entry.get("resource")
        meta = resource.get("meta") if isinstance(resource, dict) else None
        version = meta.get("versionId") if isinstance(meta, dict) else None
        if (url, str(version)) in seen and bundle.get("type") != "history":
            yield Broken(f"the fullUrl {url[:60]!r} comes twice (bdl-7).", ("entry",))
        if "/_history/" in url:
            yield Broken(f"the fullUrl {url[:60]!r} names a version (bdl-8).", ("entry",))
        seen.add((url, str(version)))


def _que_2(questionnaire: Mapping[str, Any]) -> Iterator[Broken]:
    """Link ids are unique within a questionnaire."""
    seen: set[str] = set()
    for link in _link_ids(questionnaire.get("item")):
        if link in seen:
            yield Broken(f"the linkId {link[:60]!r} comes twice (que-2).", ("item",))
        seen.add(link)


def _link_ids(items: Any) -> Iterator[str]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            if isinstance(item.get("linkId"), str):
                yield item["linkId"]
            yield from _link_ids(item.get("item"))
