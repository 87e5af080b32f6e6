"""Which form an answer takes: Accept and _format, by FHIR's rules.

Source: https://hl7.org/fhir/R4/http.html#mime-type and https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fhir_blob.errors import NotAcceptable
from fhir_blob.fhir.media import essence

FHIR_JSON, FHIR_XML = "application/fhir+json", "application/fhir+xml"
_FHIR = (FHIR_JSON, FHIR_XML)
_JSON = ("application/json", "text/json")
_XML = ("application/xml", "text/xml")
# What _format may be, and the type that it stands for.
_FORMATS = {
    **dict.fromkeys(("json", FHIR_JSON, *_JSON, "application/json+fhir"), FHIR_JSON),
    **dict.fromkeys(("xml", FHIR_XML, *_XML, "application/xml+fhir"), FHIR_XML),
}

Ranges = tuple[tuple[str, float], ...]


@lru_cache(1024)
def ranges(accept: str) -> Ranges:
    """The media ranges of an Accept header with their quality, the best first."""
    found = []
    for each in accept.split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        quality = next((value for name, _, value in map(_parameter, parameters) if name == "q"), "1")
        if kind:
            found.append((kind.lower(), _number(quality)))
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _parameter(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    return name.strip().lower(), equals, value.strip()


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


@lru_cache(1024)
def fhir_type(accept: str, format: str) -> str:
    """The Content-Type of a FHIR answer, of those that are liked the same the first; NotAcceptable for others."""
    if format:
        found = _FORMATS.get(essence(format).replace(" ", "+"))
        if found is None:
            raise NotAcceptable(f"_format is {format[:80]!r}: this server answers {_ANSWERED}.")
        return found
    if not accept:
        return FHIR_JSON
    best = max((*_FHIR, *_JSON, *_XML), key=lambda each: quality(accept, each))
    if quality(accept, best) > 0:
        return best
    raise NotAcceptable(f"Accept is {accept[:80]!r}: this server answers {_ANSWERED}.")


_ANSWERED = f"{FHIR_JSON} and {FHIR_XML}"


def is_xml(media_type: str) -> bool:
    """Whether a request of that type, or an answer, is FHIR as XML."""
    return essence(media_type) in (FHIR_XML, *_XML)


def is_json(media_type: str) -> bool:
    """Whether a request of that type is FHIR as JSON."""
    return essence(media_type) in (FHIR_JSON, *_JSON)


@lru_cache(1024)
def quality(accept: str, media_type: str) -> float:
    """How much an Accept header likes the type: the most specific range that matches decides."""
    kind = essence(media_type)
    best = (0, 0.0)
    for wanted, value in ranges(accept):
        best = max(best, (_fit(wanted, kind), value if _fit(wanted, kind) else 0.0))
    return best[1]


def _fit(wanted: str, kind: str) -> int:
    if wanted == kind:
        return 3
    if wanted.endswith("/*") and kind.startswith(wanted[:-1]):
        return 2
    return 1 if wanted in ("*/*", "*") else 0


def is_fhir_wanted(accept: str, format: str, media_type: str) -> bool:
    """Whether a Binary of that type is to be answered as a resource rather than as its bytes.

    `_format` overrides Accept; a FHIR type asked for is given; application/json or application/xml
    gives bytes only where they are such.
    """
    if format:
        return True
    asked = dict(ranges(accept))
    liked = [asked[each] for each in _FHIR if each in asked]
    if liked:
        return max(liked) > 0 and max(liked) >= quality(accept, media_type)
    if any(each in asked for each in (*_JSON, *_XML)):
        return not (_is_generic(asked, media_type) or quality(accept, media_type) > 0)
    return False


def takes_bytes(accept: str, media_type: str) -> bool:
    """Whether the bytes of that type satisfy Accept: no Accept takes all."""
    return not accept or quality(accept, media_type) > 0 or _is_generic(dict(ranges(accept)), media_type)


def takes_fhir(accept: str) -> bool:
    """Whether the resource satisfies Accept too, for a Binary that has no bytes yet."""
    return not accept or any(quality(accept, each) > 0 for each in (*_FHIR, *_JSON, *_XML))


def _is_generic(asked: Mapping[str, float], media_type: str) -> bool:
    """JSON of any kind where JSON is asked for, and XML where XML is."""
    kind = essence(media_type)
    is_json = kind in _JSON or kind.endswith("+json")
    is_xml = kind in _XML or kind.endswith("+xml")
    return (is_json and any(each in asked for each in _JSON)) or (is_xml and any(each in asked for each in _XML))
