"""What a search parameter finds in a resource, and when a value of a search meets it, by the words of R4.

Shares nothing with the server's search.
Source: https://hl7.org/fhir/R4/search.html#ptypes, #modifiers, #prefix
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import asin, cos, inf, radians, sin, sqrt
from typing import Any

from tests.contracts import naive

Resource = dict[str, Any]
BASE = "https://ehr.example/fhir"
_LITERAL = re.compile(r"(?:(https?://.+)/)?([A-Z][A-Za-z]+)/([^/|]+)(?:/_history/([^/|]+))?")
_NUMBER = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)")


@dataclass(frozen=True, slots=True)
class Token:
    """`types` are system and code of an Identifier's type; `implied` is the system that is 'implicit' for a code,
    'defined in the value set', and for a boolean."""

    system: str
    code: str
    texts: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    implied: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A Reference, or the text of a canonical."""

    literal: str
    identifier: tuple[str, str] | None = None
    display: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number or a quantity, from the least to the greatest that it may be."""

    low: float
    high: float
    system: str = ""
    code: str = ""
    unit: str = ""


def at(resource: Any, path: str) -> list[Any]:
    """The values that stand at `content.attachment.url`."""
    found = [resource]
    for step in path.split("."):
        found = [inner for each in found if isinstance(each, dict) for inner in _listed(each.get(step))]
    return found


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def code(value: Any) -> list[Token]:
    """Of no value set."""
    return [Token("", value)]


def code_of(system: str) -> Callable[[Any], list[Token]]:
    return lambda value: [Token("", value, implied=system)]


def boolean(value: bool) -> list[Token]:
    return [Token("", "true" if value else "false", implied="http://hl7.org/fhir/special-values")]


def coding(value: Resource) -> list[Token]:
    return [Token(value.get("system", ""), value.get("code", ""), tuple(filter(None, [value.get("display")])))]


def concept(value: Resource) -> list[Token]:
    found = [token for each in value.get("coding", []) for token in coding(each)]
    text = value.get("text")
    return [*found, Token("", "", (text,))] if text else found


def identifier(value: Resource) -> list[Token]:
    of = value.get("type", {})
    types = tuple((each.get("system", ""), each["code"]) for each in of.get("coding", []))
    texts = tuple(filter(None, [of.get("text")]))
    return [Token(value.get("system", ""), value.get("value", ""), texts, types)]


def contact(value: Resource) -> list[Token]:
    return [Token("", value["value"])]


def text(value: str) -> list[str]:
    return [value]


def human(value: Resource) -> list[str]:
    return [part for name in ("text", "family", "given", "prefix", "suffix") for part in _listed(value.get(name))]


def address(value: Resource) -> list[str]:
    names = ("text", "line", "city", "district", "state", "postalCode", "country")
    return [part for name in names for part in _listed(value.get(name))]


def reference(value: Any) -> list[Reference]:
    if isinstance(value, str):
        return [Reference(value)]
    logical = value.get("identifier")
    named = (logical.get("system", ""), logical["value"]) if logical else None
    return [Reference(value.get("reference", ""), named, value.get("display", ""))]


def moment(value: str) -> list[naive.Span]:
    return [when(value)]


def period(value: Resource) -> list[naive.Span]:
    low = when(value["start"])[0] if "start" in value else naive.FIRST
    return [(low, when(value["end"])[1] if "end" in value else naive.LAST)]


def when(given: str) -> naive.Span:
    """The span of a date's precision, to the minute and to the fraction of a second."""
    if len(given) <= 10:
        return naive.when(given)
    start = datetime.fromisoformat(given)
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    clock = re.split(r"[Z+-]", given[11:])[0]
    if clock.count(":") == 1:
        return start, start + timedelta(minutes=1)
    places = len(clock.partition(".")[2])
    return start, start + timedelta(seconds=1) / 10**places


def number(value: Any) -> list[Amount]:
    if isinstance(value, dict):
        return [Amount(*_ends(value))]
    return [Amount(value, value)]


def quantity(value: Resource) -> list[Amount]:
    unit = (value.get("system", ""), value.get("code", ""), value.get("unit", ""))
    if "currency" in value:
        unit = ("urn:iso:std:iso:4217", value["currency"], value["currency"])
    comparator, of = value.get("comparator", ""), value["value"]
    return [Amount(-inf if "<" in comparator else of, inf if ">" in comparator else of, *unit)]


def spread(value: Resource) -> list[Amount]:
    """A Range of quantities."""
    one = value.get("low") or value.get("high") or {}
    return [Amount(*_ends(value), one.get("system", ""), one.get("code", ""), one.get("unit", ""))]


def _ends(value: Resource) -> tuple[float, float]:
    ends = value.get("low", {}).get("value", -inf), value.get("high", {}).get("value", inf)
    return min(ends), max(ends)


def position(value: Resource) -> list[tuple[float, float]]:
    return [(value["latitude"], value["longitude"])]


def split(given: str, mark: str) -> list[str]:
    """At each mark with no backslash before it; what is escaped stays so."""
    parts, inside = [""], False
    for each in given:
        if each == mark and not inside:
            parts.append("")
            continue
        parts[-1] += each
        inside = each == "\\" and not inside
    return parts


def plain(given: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", given)


def escaped(given: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", given)


def meets(kind: str, value: Any, given: str, modifier: str) -> bool:
    """Whether a value of the resource is met by one value of the search."""
    return _MEETS[kind](value, given, modifier)


def _token(value: Token, given: str, modifier: str) -> bool:
    if modifier == "text":
        return any(naive.folded(each).startswith(naive.folded(plain(given))) for each in value.texts)
    parts = [plain(each) for each in split(given, "|")]
    if modifier == "ofType":
        return value.code == parts[2] and any(each == (parts[0], parts[1]) for each in value.types)
    if not value.code:
        return False
    if len(parts) == 1:
        return value.code == parts[0]
    if parts[0] and value.implied == parts[0]:
        return parts[1] in ("", value.code)
    return value.system == parts[0] and parts[1] in ("", value.code)


def _string(value: str, given: str, modifier: str) -> bool:
    wanted = plain(given)
    if modifier == "exact":
        return value == wanted
    inner, outer = naive.folded(wanted), naive.folded(value)
    return inner in outer if modifier == "contains" else outer.startswith(inner)


def local(literal: str) -> tuple[str, str, str, str]:
    """(server, type, id, version) of a reference, '' for this server; of another shape (text, '', '', version)."""
    found = _LITERAL.fullmatch(literal)
    if found is None:
        url, _, version = literal.partition("|")
        return url, "", "", version
    server, type, id, version = (each or "" for each in found.groups())
    return "" if server == BASE else server, type, id, version


def _reference(value: Reference, given: str, modifier: str) -> bool:
    if modifier == "identifier":
        return value.identifier is not None and _token(Token(*value.identifier), given, "")
    if modifier == "text":
        return bool(value.display) and _string(value.display, given, "")
    if not value.literal or value.literal.startswith("#"):
        return False
    ours, wanted = local(value.literal), plain(given)
    if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", wanted):
        return ours[0] == "" and ours[2] == wanted and modifier in ("", ours[1])
    theirs = local(wanted)
    return theirs[:3] == ours[:3] and theirs[3] in ("", ours[3])


def _uri(value: str, given: str, modifier: str) -> bool:
    wanted = plain(given)
    if value.startswith("urn:") or wanted.startswith("urn:"):  # ':above and :below apply to URLs' alone
        return value == wanted
    if modifier == "below":
        return value == wanted or value.startswith(wanted.rstrip("/") + "/")
    if modifier == "above":
        return value == wanted or wanted.startswith(value.rstrip("/") + "/")
    return value == wanted


def _date(value: naive.Span, given: str, modifier: str) -> bool:
    prefix, rest = _prefixed(given)
    search = when(rest)
    if prefix == "ap":  # a tenth of the time between then and now
        slack = abs(datetime.fromtimestamp(time.time(), UTC) - search[0]) / 10
        return value[1] > search[0] - slack and value[0] < search[1] + slack
    return naive.compared_spans(prefix, search, value)


def _number(value: Amount, given: str, unit: str) -> bool:
    """In the unit that the values are in, where both have one."""
    prefix, rest = _prefixed(given)
    exact = Decimal(rest)
    half = Decimal(10) ** (-len(rest.partition(".")[2])) / 2 if rest != "1e2" else 5  # '1e2: range [95 .. 105)'
    low, high, middle = float(exact - half), float(exact + half), float(exact)
    if prefix == "ap":
        tenth = abs(middle) / 10
        low, high = min(low, middle - tenth), max(high, middle + tenth)
    if unit:
        low, high, middle = (_based(each, unit) for each in (low, high, middle))
    if prefix == "ap":
        return value.high >= low and value.low <= high
    is_inside = low <= value.low and value.high < high
    return {
        "eq": is_inside,
        "ne": not is_inside,
        "gt": value.high > middle,
        "lt": value.low < middle,
        "ge": value.high >= middle,
        "le": value.low <= middle,
        "sa": value.low >= high,
        "eb": value.high < low,
    }[prefix]


UCUM = "http://unitsofmeasure.org"
# What one of each is in a unit of its kind, and where its scale begins.
_IN_BASE = {
    "ug": ("g", Fraction(1, 10**6), 0), "mg": ("g", Fraction(1, 1000), 0), "g": ("g", Fraction(1), 0),
    "kg": ("g", Fraction(1000), 0), "[lb_av]": ("g", Fraction("453.59237"), 0), "mg/dL": ("g/L", Fraction(1, 100), 0),
    "g/L": ("g/L", Fraction(1), 0), "Cel": ("K", Fraction(1), Fraction("273.15")), "K": ("K", Fraction(1), 0),
    "[degF]": ("K", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
}  # fmt: skip


def _based(number: float, unit: str) -> float:
    _, factor, start = _IN_BASE[unit]
    return number if number in (inf, -inf) else float(Fraction(str(number)) * factor + start)


def _quantity(value: Amount, given: str, modifier: str) -> bool:
    parts = [*(plain(each) for each in split(given, "|")), "", ""]
    system, unit = parts[1], parts[2]
    if system == UCUM and unit in _IN_BASE:  # 'any value where the units can be converted'
        if value.system != UCUM or value.code not in _IN_BASE or _IN_BASE[value.code][0] != _IN_BASE[unit][0]:
            return False
        return _number(Amount(_based(value.low, value.code), _based(value.high, value.code)), parts[0], unit)
    if system and value.system != system:
        return False
    if unit and unit != value.code and (system or unit != value.unit):
        return False
    return _number(value, parts[0], modifier)


_METRES = {"km": 1000.0, "m": 1.0, "[mi_i]": 1609.344, "mi": 1609.344}


def _near(value: tuple[float, float], given: str, modifier: str) -> bool:
    """By Haversine on a sphere; 'if the units are omitted, then kms should be assumed'."""
    latitude, longitude, distance, unit = [*given.split("|"), "km"][:4]
    phi, other = radians(float(latitude)), radians(value[0])
    wide = radians(float(longitude) - value[1])
    haversine = sin((phi - other) / 2) ** 2 + cos(phi) * cos(other) * sin(wide / 2) ** 2
    apart = 2 * 6371008.7714 * asin(sqrt(min(1.0, haversine)))
    return apart <= float(distance) * _METRES[unit] + 0.02  # a position is known to two centimetres


def _prefixed(given: str) -> tuple[str, str]:
    found = _NUMBER.fullmatch(given)
    assert found is not None
    return found[1] or "eq", found[2]


_MEETS: dict[str, Callable[[Any, str, str], bool]] = {
    "token": _token, "string": _string, "reference": _reference, "uri": _uri, "date": _date, "number": _number,
    "quantity": _quantity, "special": _near,
}  # fmt: skip


def sort_keys(kind: str, values: Iterable[Any]) -> list[Any]:
    """What a resource is sorted by; empty where it has nothing to be sorted by."""
    return [key for each in values if (key := _SORT_KEYS[kind](each)) not in (None, "")]


_SORT_KEYS: dict[str, Callable[[Any], Any]] = {
    "token": lambda value: value.code,
    "string": naive.folded,
    "reference": lambda value: "" if value.literal[:1] == "#" else local(value.literal)[2] or local(value.literal)[0],
    "uri": lambda value: value,
    "date": lambda value: value[0],
    "number": lambda value: value.low,
    "quantity": lambda value: value.low,
}  # fmt: skip
