"""FHIR's dates as the half-open span of time that they cover, in microseconds since 1970 UTC.

Source: https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

# Where an open end of a Period lies: before and after every date that FHIR can write.
EARLIEST, LATEST = -(10**18), 10**18

_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_END = date.max.toordinal() + 1
_DATE = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])"
    r"(?:T([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:\.([0-9]{1,30}))?)?"
    r"(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?)?)?)?\Z"
)


@lru_cache(maxsize=4096)
def span(text: str) -> tuple[int, int]:
    """[low, high) of a date, dateTime or instant to its written precision; ValueError for anything else.

    As in a search, seconds and the time zone (then UTC) may be left out.
    """
    found = _DATE.match(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if hour is None:
        return _days(int(year), month, day)
    low = _microseconds(date(int(year), int(month), int(day)).toordinal())
    seconds = min(int(second or 0), 59)  # a leap second is of the day that it ends
    low += (int(hour) * 3600 + int(minute) * 60 + seconds - _offset(zone)) * 1_000_000
    if fraction:
        return low + int(fraction[:6].ljust(6, "0")), low + int(fraction[:6].ljust(6, "0")) + _width(fraction)
    return low, low + (60_000_000 if second is None else 1_000_000)


def _width(fraction: str) -> int:
    return int(10 ** max(0, 6 - len(fraction)))


def _days(year: int, month: str | None, day: str | None) -> tuple[int, int]:
    if day is not None and month is not None:
        first = date(year, int(month), int(day)).toordinal()
        return _microseconds(first), _microseconds(first + 1)
    if month is None:
        return _microseconds(date(year, 1, 1).toordinal()), _microseconds(_first_of(year + 1, 1))
    of = int(month)
    after = _first_of(year + 1, 1) if of == 12 else _first_of(year, of + 1)
    return _microseconds(_first_of(year, of)), _microseconds(after)


def _first_of(year: int, month: int) -> int:
    return _END if year > 9999 else date(year, month, 1).toordinal()


def _microseconds(ordinal: int) -> int:
    return (ordinal - _EPOCH) * _DAY


def _offset(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds
