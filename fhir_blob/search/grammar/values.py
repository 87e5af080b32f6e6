"""The values of a search: text to Token, String, Reference, Uri, Range, Near or Composite.

A text that is none raises ValueError with a sentence; the parser says of which parameter.
Source: https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from decimal import Decimal

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.ucum import canonical
from fhir_blob.search import Composite, Near, Range, Reference, String, Token, Uri, Value
from fhir_blob.search.dates import span
from fhir_blob.search.near import near
from fhir_blob.search.terms import ID, fold, key, target

_ESCAPED = re.compile(r"\\([\\,|$])")
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?([0-9]{1,50})(?:\.([0-9]{1,50}))?(?:[eE]([+-]?[0-9]{1,3}))?\Z")
_APPROXIMATELY = 0.1


def split(text: str, mark: str) -> list[str]:
    """The parts between unescaped marks, still escaped."""
    if "\\" not in text:
        return text.split(mark)
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == mark:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def token(text: str, base: str = "") -> Token:
    """`code`, `system|code`, `|code` (no system) or `system|`."""
    parts = [unescape(each) for each in split(text, "|")]
    if len(parts) == 1:
        return Token(None, key(parts[0]))
    if len(parts) > 2 or not any(parts):
        raise ValueError("a token is written code, system|code, |code or system|")
    system, code = parts
    return Token(key(system), key(code) if code else None)


def of_type(text: str, base: str = "") -> Token:
    """`system|code|value` of :ofType: the type's system, its code and the identifier's value as one."""
    parts = [unescape(each) for each in split(text, "|")]
    if len(parts) != 3 or not (parts[1] and parts[2]):
        raise ValueError("it is written type system|type code|value")
    return Token(key(parts[0]) if parts[0] else None, key(f"{parts[1]}|{parts[2]}"))


def string(text: str, base: str = "") -> String:
    """Not white space or accents alone: every text begins with nothing."""
    found = unescape(text)
    if not fold(found):
        raise ValueError("it has no character that counts")
    return String(found)


def uri(text: str, base: str = "") -> Uri:
    return Uri(unescape(text))


def reference(text: str, base: str) -> Reference:
    """`id`, `Type/id` (each also with /_history/version), an absolute URL or a canonical with |version."""
    text = unescape(text)
    if ID.match(text) and "/" not in text:
        return Reference(None, text)
    type, id, version, url = target(text, base)
    return Reference(type, id, url, version)


def reference_to(type: str, text: str, base: str) -> Reference:
    """The value of `subject:Patient=...`."""
    found = reference(text, base)
    if found.type not in (None, "", type):
        raise ValueError(f"it does not refer to a {type}")
    return Reference(type, found.id, found.url, found.version) if found.type is None else found


def date(text: str, base: str = "") -> Range:
    """A prefix and a date; `ap` allows a tenth of the time between then and now."""
    prefix, rest = _prefixed(unescape(text))
    low, high = date_span(rest)
    if prefix == "ap":
        slack = int(abs(time.time_ns() // 1000 - low) * _APPROXIMATELY)
        return Range(prefix, low - slack, high + slack, low)
    return Range(prefix, low, high, low)


def date_span(text: str) -> tuple[int, int]:
    """[low, high) microseconds. A '+' that a URL turned into a blank is a '+' again."""
    try:
        return span(text.replace(" ", "+"))
    except ValueError:
        raise ValueError("it is not a date such as 2024, 2024-05-31 or 2024-05-31T08:30:00Z") from None


def number(text: str, base: str = "") -> Range:
    """A prefix and a number, whose span is half of its last digit to either side."""
    prefix, rest = _prefixed(unescape(text))
    return _range(prefix, rest)


def quantity(text: str, base: str = "") -> Range:
    """`[prefix]number|system|code`; `number||code` has the code or the unit, `number` any.

    In a unit of UCUM it is meant in whatever unit it is stored.
    """
    parts = [unescape(each) for each in split(text, "|")]
    if len(parts) not in (1, 3):
        raise ValueError("a quantity is written number or number|system|code")
    prefix, rest = _prefixed(parts[0])
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    found = _range(prefix, rest, key(system) or None, key(code) or None)
    in_base = canonical(system, code, found.low, found.high, found.value)
    if in_base is None:
        return found
    unit, (low, high, value) = in_base
    return Range(prefix, low, high, value, None, unit, in_base=True)


def place(text: str, base: str = "") -> Near:
    """`latitude|longitude`, and maybe `|distance|units`."""
    return near([unescape(each) for each in split(text, "|")])


def composite(text: str, base: str, types: tuple[str, ...]) -> Composite:
    """Values of each component's type, with `$` between them."""
    parts = split(text, "$")
    if len(parts) != len(types) or not all(parts):
        raise ValueError(f"it takes {len(types)} values with $ between them")
    return Composite(tuple(READERS[type](part, base) for type, part in zip(types, parts, strict=True)))


def _prefixed(text: str) -> tuple[str, str]:
    found = _PREFIXED.match(text)
    assert found is not None  # the pattern matches any text
    return found[1] or "eq", found[2]


def _range(prefix: str, text: str, system: str | None = None, code: str | None = None) -> Range:
    found = _NUMBER.match(text)
    if found is None:
        raise ValueError("it is not a number")
    value = Decimal(text)
    half = _half_of_last_digit(found[2], found[3])
    low, high = value - half, value + half
    if prefix == "ap":
        tenth = abs(value) * Decimal(str(_APPROXIMATELY))
        low, high = min(low, value - tenth), max(high, value + tenth)
    if not math.isfinite(float(low)) or not math.isfinite(float(high)):
        raise ValueError("it is farther from 0 than any number that is kept")
    return Range(prefix, float(low), float(high), float(value), system, code)


def _half_of_last_digit(decimals: str | None, exponent: str | None) -> Decimal:
    """100: .5, 100.00: .005; the specification has [95, 105) for 1e2, as if it were written 1.0e2."""
    places = len(decimals or "") or (1 if exponent else 0)
    return Decimal(5).scaleb(int(exponent or 0) - places - 1)


READERS: dict[str, Callable[[str, str], Value]] = {
    "token": token,
    "string": string,
    "reference": reference,
    "uri": uri,
    "date": date,
    "number": number,
    "quantity": quantity,
    "special": place,
}


def is_type(name: str) -> bool:
    return name in definitions().types
