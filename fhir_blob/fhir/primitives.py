"""R4's primitive types: what a JSON value of each has to look like.

The patterns are those of the specification, anchored and with ASCII white space: its own \\s would
refuse a no-break space. Source: https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import binascii
import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

_DAY = r"(?P<year>(?!0000)[0-9]{4})(-(?P<month>0[1-9]|1[0-2])(-(?P<day>0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_SPACE = " \\t\\r\\n\\f\\v"
_TEXT = r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+\Z"
_LARGEST = 2_147_483_647

Check = Callable[[Any], bool]


def _pattern(text: str) -> Check:
    match = re.compile(text).match
    return lambda value: isinstance(value, str) and match(value) is not None


def _dated(text: str) -> Check:
    """A pattern with year, month and day, which must be a day of the calendar."""
    match = re.compile(text).match

    def check(value: Any) -> bool:
        found = match(value) if isinstance(value, str) else None
        if found is None:
            return False
        day = found["day"]
        return day is None or day < "29" or int(day) <= monthrange(int(found["year"]), int(found["month"]))[1]

    return check


def _integer(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= _LARGEST


def _is_base64(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    try:
        binascii.a2b_base64(value.encode("ascii").translate(None, b" \t\r\n"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return False
    return True


CHECKS: Mapping[str, Check] = {
    "boolean": lambda value: value is True or value is False,
    "integer": _integer(-_LARGEST - 1),
    "unsignedInt": _integer(0),
    "positiveInt": _integer(1),
    "decimal": lambda value: type(value) is int or isinstance(value, Decimal),
    "string": _pattern(_TEXT),
    "markdown": _pattern(_TEXT),
    "xhtml": _pattern(_TEXT),
    "code": _pattern(rf"[^{_SPACE}]+([{_SPACE}][^{_SPACE}]+)*\Z"),
    "id": _pattern(r"[A-Za-z0-9.-]{1,64}\Z"),
    "uri": _pattern(rf"[^{_SPACE}\x00]+\Z"),
    "url": _pattern(rf"[^{_SPACE}\x00]+\Z"),
    "canonical": _pattern(rf"[^{_SPACE}\x00]+\Z"),
    "oid": _pattern(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+\Z"),
    "uuid": _pattern(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"),
    "base64Binary": _is_base64,
    "date": _dated(rf"{_DAY})?)?\Z"),
    "dateTime": _dated(rf"{_DAY}(T{_CLOCK}{_ZONE})?)?)?\Z"),
    "instant": _dated(rf"{_DAY}T{_CLOCK}{_ZONE}))\Z"),
    "time": _pattern(rf"{_CLOCK}\Z"),
}
