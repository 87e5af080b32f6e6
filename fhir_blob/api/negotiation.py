"""Which form an answer takes: Accept and _format, by FHIR's rules.

Source: https://hl7.org/fhir/R4/http.html#mime-type and https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

from functools import lru_cache

from fhir_blob.errors import NotAcceptable
from fhir_blob.fhir.media import essence

FHIR_JSON = "application/fhir+json"
_JSON = "application/json"
_FORMATS = {"json", _JSON, FHIR_JSON, "text/json", "application/json+fhir"}
_GENERIC = {_JSON, "text/json"}

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
    """The Content-Type of a FHIR answer; NotAcceptable where it would have to be another than JSON."""
    if format:
        if essence(format).replace(" ", "+") in _FORMATS:
            return FHIR_JSON
        raise NotAcceptable(f"_format is {format[:80]!r}: this server answers {FHIR_JSON}.")
    if not accept or quality(accept, FHIR_JSON) > 0:
        return FHIR_JSON
    if any(quality(accept, each) > 0 for each in _FORMATS if "/" in each):
        return _JSON
    raise NotAcceptable(f"Accept is {accept[:80]!r}: this server answers {FHIR_JSON}.")


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
    """Whether a Binary of that type is to be answered as FHIR JSON rather than as its bytes.

    `_format` overrides Accept; a FHIR type asked for is given; application/json gives bytes only
    where they are JSON.
    """
    if format:
        return True
    asked = dict(ranges(accept))
    if FHIR_JSON in asked:
        return asked[FHIR_JSON] > 0 and asked[FHIR_JSON] >= quality(accept, media_type)
    if any(each in asked for each in _GENERIC):
        return not (_is_json(media_type) or quality(accept, media_type) > 0)
    return False


def takes_bytes(accept: str, media_type: str) -> bool:
    """Whether the bytes of that type satisfy Accept: no Accept takes all."""
    generic = any(each in dict(ranges(accept)) for each in _GENERIC)
    return not accept or quality(accept, media_type) > 0 or (generic and _is_json(media_type))


def takes_fhir(accept: str) -> bool:
    """Whether FHIR JSON satisfies Accept too, for a Binary that has no bytes yet."""
    return not accept or any(quality(accept, each) > 0 for each in (FHIR_JSON, *_GENERIC))


def _is_json(media_type: str) -> bool:
    kind = essence(media_type)
    return kind in _GENERIC or kind.endswith("+json")
