"""Quantities in UCUM's units as amounts of its base units, so that 5.4 mg is found where 0.0054 g is stored.

What is no UCUM, an annotation alone ({score}) and a scale that is no line (dB, [pH]) have no such form; but the
last two are codes of UCUM.
Source: https://hl7.org/fhir/R4/search.html#quantity, https://ucum.org/ucum
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from fhir_blob.fhir.definitions import units

SYSTEM = "http://unitsofmeasure.org"
_LONGEST = 60
_TOKEN = re.compile(
    r"(?P<mark>[./()])|(?P<note>\{[!-z|~]*\})"
    r"|(?P<symbol>10[*^]|(?:[^\d\s./(){}\[\]+-]|\[[^\[\]\s]*\])+)(?P<power>[+-]?\d{1,2})?|(?P<number>\d{1,9})"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """So many of a product of base units, by exponent; a temperature has an offset."""

    factor: Fraction
    powers: Mapping[str, int]
    offset: Fraction = Fraction(0)

    def times(self, other: Scale, sign: int = 1) -> Scale:
        """The product, or the quotient where the sign is -1."""
        powers = dict(self.powers)
        for base, power in other.powers.items():
            powers[base] = powers.get(base, 0) + sign * power
        return Scale(self.factor * other.factor**sign, {base: power for base, power in powers.items() if power})

    def name(self) -> str:
        return ".".join(f"{base}{power}" for base, power in sorted(self.powers.items())) or "1"


_ONE = Scale(Fraction(1), {})


@lru_cache(1024)  # several search parameters find the same quantity
def canonical(system: str, code: str, *amounts: float) -> tuple[str, tuple[float, ...]] | None:
    """The base units, such as 'g1.m-3', and the amounts in them; None where there are none."""
    found = _scale(code) if system == SYSTEM else None
    if found is None:
        return None
    unit, scale = found
    try:
        return unit, tuple(_converted(scale, each) for each in amounts)
    except OverflowError:
        return None


@lru_cache(1024)
def is_unit(code: str) -> bool:
    """Whether it is a code of UCUM, be it only an annotation: https://ucum.org/ucum#section-Grammar-of-Units-and-Terms"""
    if not code or len(code) > _LONGEST:
        return False
    try:
        _Term(code, _unit_of_any_scale).whole()
    except ValueError:
        return False
    return True


def _unit_of_any_scale(symbol: str) -> Scale:
    special = units()["special"]
    stems = (symbol[len(prefix) :] for prefix in units()["prefixes"] if symbol.startswith(prefix))
    if symbol in special or any(special.get(stem) for stem in stems):
        return _ONE
    return _unit(symbol)


def _converted(scale: Scale, amount: float) -> float:
    """Exact until it is rounded once: equal amounts in different units are equal numbers."""
    return float(Fraction(repr(amount)) * scale.factor + scale.offset) if math.isfinite(amount) else amount


@lru_cache(4096)
def _scale(code: str) -> tuple[str, Scale] | None:
    if len(code) > _LONGEST or not re.sub(r"\{.*?\}", "", code):
        return None
    offset = units()["offsets"].get(code)
    try:
        found = _Term(code).whole()
    except ValueError:
        return None
    return found.name(), found if offset is None else Scale(found.factor, found.powers, Fraction(offset))


class _Term:
    """Recursive descent: units, numbers and terms in brackets, one after another, with `.` or `/` between them."""

    def __init__(self, code: str, unit: Callable[[str], Scale] | None = None) -> None:
        self._code, self._at, self._unit = code, 0, unit or _unit

    def whole(self) -> Scale:
        found = self._term()
        if self._at < len(self._code):
            raise ValueError(self._code)
        return found

    def _term(self) -> Scale:
        found = _ONE if self._peek() == "/" else self._component()
        while self._peek() in (".", "/"):
            sign = 1 if self._peek() == "." else -1
            self._at += 1
            found = found.times(self._component(), sign)
        return found

    def _peek(self) -> str:
        return self._code[self._at : self._at + 1]

    def _component(self) -> Scale:
        token = _TOKEN.match(self._code, self._at)
        if token is None:
            raise ValueError(self._code)
        self._at = token.end()
        if token["mark"] == "(":
            found = self._term()
            if self._peek() != ")":
                raise ValueError(self._code)
            self._at += 1
        elif token["mark"]:
            raise ValueError(self._code)
        elif token["symbol"]:
            found = _power(self._unit(token["symbol"]), int(token["power"] or 1))
        else:
            found = _ONE if token["note"] else Scale(Fraction(int(token["number"])), {})
        if self._peek() == "{" and (note := _TOKEN.match(self._code, self._at)) is not None:
            self._at = note.end()
        return found


def _power(unit: Scale, power: int) -> Scale:
    return Scale(unit.factor**power, {base: each * power for base, each in unit.powers.items() if power})


@lru_cache(4096)
def _unit(symbol: str) -> Scale:
    """By its own name, or as a metric unit with a prefix; ValueError where there is none."""
    table = units()
    if symbol in table["units"]:
        value, of = table["units"][symbol]
        if of == symbol:
            return Scale(Fraction(1), {symbol: 1})
        return Scale(Fraction(value), {}).times(_Term(of).whole())
    for prefix, factor in table["prefixes"].items():
        if symbol.startswith(prefix) and symbol[len(prefix) :] in table["metric"]:
            return Scale(Fraction(factor), {}).times(_unit(symbol[len(prefix) :]))
    raise ValueError(symbol)
