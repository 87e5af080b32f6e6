"""Where a Location is, and how far from there a search reaches: `near=42.2565|-83.6948|11.2|km`.

A position is the point of a sphere of radius 1 in three coordinates, so that what is near is a matter of
subtraction: the chord of an angle a is 2 sin(a / 2), which is Haversine's formula. It lies on the grid that
Elasticsearch keeps its points on, so that both indexes give the same answer.
Source: https://hl7.org/fhir/R4/location.html#search
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_blob.fhir.definitions import SearchParameter
from fhir_blob.search import Clause, Criterion, Near
from fhir_blob.search.sql.statements import Sql

# As Elasticsearch has it, in metres.
_RADIUS = 6_371_008.7714
_CELLS = 2**32
# How far a position and its point on the grid may be apart.
_GRAIN = 0.02
_FAR = 2.1
# Where a search names no distance, it is for the server to say: https://hl7.org/fhir/R4/location.html#search
_USUAL = "50"
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?\Z")
_METRES = {
    "": 1000.0, "km": 1000.0, "m": 1.0, "mi": 1609.344, "[mi_i]": 1609.344, "[mi_us]": 1609.347219,
    "nmi": 1852.0, "[nmi_i]": 1852.0, "ft": 0.3048, "[ft_i]": 0.3048, "yd": 0.9144, "[yd_i]": 0.9144,
}  # fmt: skip

Point = tuple[float, float, float]


def near(parts: list[str]) -> Near:
    """Of latitude, longitude, and maybe a distance and its unit; ValueError with a sentence for anything else."""
    if not 2 <= len(parts) <= 4:
        raise ValueError("it is written latitude|longitude|distance|units")
    latitude, longitude = _degrees(parts[0], "latitude", 90), _degrees(parts[1], "longitude", 180)
    distance, unit = [*parts[2:], "", ""][:2]
    if unit not in _METRES:
        raise ValueError(f"{unit[:40]!r} is no unit of distance; km, m, mi, nmi, ft and yd are")
    metres = _number(distance or _USUAL, "distance") * _METRES[unit]
    if metres < 0:
        raise ValueError("its distance is below 0")
    return Near(latitude, longitude, metres + _GRAIN)


def _degrees(text: str, name: str, most: int) -> float:
    found = _number(text, name)
    if abs(found) > most:
        raise ValueError(f"its {name} is not between -{most} and {most}")
    return found


def _number(text: str, name: str) -> float:
    if not _NUMBER.match(text):
        raise ValueError(f"its {name} is not a number")
    return float(text)


def point(latitude: float, longitude: float) -> Point:
    """The place on the sphere, in degrees, as a point on the grid."""
    phi, theta = math.radians(_on_grid(latitude, 180)), math.radians(_on_grid(longitude, 360))
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def _on_grid(degrees: float, around: int) -> float:
    """A little above the lower edge of its cell, so that it is in the same cell after any rounding."""
    cell = around / _CELLS
    return min(math.floor(degrees / cell), _CELLS // 2 - 1) * cell + cell / 100


def degrees(at: Point) -> tuple[float, float]:
    """Latitude and longitude of a point."""
    x, y, z = at
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def reach(value: Near) -> tuple[Point, float]:
    """Where the search is, and the longest chord from there to what is near."""
    phi, theta = math.radians(value.latitude), math.radians(value.longitude)
    at = math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)
    half = value.metres / (2 * _RADIUS)
    return at, _FAR if half >= math.pi / 2 else 2 * math.sin(half)


def distance(value: Near, names: Sequence[str]) -> Sql:
    """The square of the chord from there to the point whose coordinates have these names: it grows with the way."""
    at, _ = reach(value)
    squares = " + ".join(f"({name} - ?) * ({name} - ?)" for name in names)
    return Sql(squares, tuple(each for coordinate in at for each in (coordinate, coordinate)))


def named_place(criteria: Iterable[Clause]) -> tuple[SearchParameter, Near] | None:
    """The one place that a search names, and by which parameter; None where it names none, or several."""
    given = (each for each in criteria if isinstance(each, Criterion))
    places = {value: each.parameter for each in given for value in each.values if isinstance(value, Near)}
    return next(((parameter, place) for place, parameter in places.items()), None) if len(places) == 1 else None


def metres(value: Near, position: Mapping[str, Any]) -> float | None:
    """From there to a Location's position, along the globe; None where that is off it."""
    latitude, longitude = position.get("latitude"), position.get("longitude")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    at, _ = reach(value)
    chord = math.dist(at, point(float(latitude), float(longitude)))
    return 2 * _RADIUS * math.asin(min(1.0, chord / 2))
