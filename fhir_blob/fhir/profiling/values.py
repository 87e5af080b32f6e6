"""Whether a value is the one that a profile fixes, has its pattern, and lies between its limits.

Source: https://hl7.org/fhir/R4/elementdefinition-definitions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhir_blob.fhir.profiling.tree import values_of
from fhir_blob.fhir.ucum import canonical


def departs(value: Any, wanted: Any, *, exactly: bool) -> str | None:
    """The way from the value to what is not as the profile has it, '' for the value itself; None where nothing is.

    Exactly: this and nothing more. Else at least this, and of each list of a pattern every entry fits one of the
    value's.
    """
    if isinstance(wanted, dict):
        return _object_departs(value, wanted, exactly=exactly) if isinstance(value, dict) else ""
    if isinstance(wanted, list):
        return _list_departs(value, wanted, exactly=exactly) if isinstance(value, list) else ""
    same = value is wanted if isinstance(value, bool) or isinstance(wanted, bool) else value == wanted
    return None if same else ""


def _object_departs(value: Mapping[str, Any], wanted: Mapping[str, Any], *, exactly: bool) -> str | None:
    for name, each in wanted.items():
        way = departs(value[name], each, exactly=exactly) if name in value else ""
        if way == "" and isinstance(each, list):
            return ""
        if way is not None:
            return f".{name.removeprefix('_')}{way}"
    more = next((name for name in value if name not in wanted), None) if exactly else None
    return None if more is None else f".{more.removeprefix('_')}"


def _list_departs(value: list[Any], wanted: list[Any], *, exactly: bool) -> str | None:
    if not exactly:
        fits = all(any(departs(each, part, exactly=False) is None for each in value) for part in wanted)
        return None if fits else ""
    if len(value) != len(wanted):
        return ""
    ways = [departs(each, part, exactly=True) for each, part in zip(value, wanted, strict=True)]
    return next((f"[{index}]{way}" for index, way in enumerate(ways) if way is not None), None)


class Incomparable(Exception):
    """A value and a limit that cannot be compared here."""


def limits(definition: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(minValue or maxValue, its value)."""
    return [(kind, limit) for kind in ("minValue", "maxValue") for _, limit in values_of(definition, kind)]


def is_beyond(value: Any, kind: str, limit: Any) -> bool:
    """Whether the value lies, with all that it may mean, below a minValue or above a maxValue. Incomparable."""
    comparator = value.get("comparator", "") if isinstance(value, dict) else ""
    order = _order(value, limit)
    if kind == "maxValue":
        order, comparator = -order, comparator.translate(_MIRRORED)
    if comparator.startswith(">"):
        return False
    return order < 0 or (order == 0 and comparator == "<")


_MIRRORED = str.maketrans("<>", "><")


def _order(value: Any, limit: Any) -> int:
    if isinstance(limit, dict) and isinstance(value, dict):
        value, limit = _amounts(value, limit)
    if isinstance(value, str) and isinstance(limit, str):
        return _order_in_time(value, limit)
    if isinstance(value, str | bool | dict) or isinstance(limit, str | bool | dict):
        raise Incomparable("of different types")
    return int(value > limit) - int(value < limit)


def _amounts(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Any, Any]:
    """Of two quantities in one unit, be it that which UCUM makes of theirs."""
    units = [_unit(each) for each in (one, other)]
    values = [each.get("value") for each in (one, other)]
    if None not in values and units[0] == units[1]:
        return values[0], values[1]
    made = [
        canonical(str(each.get("system")), str(each.get("code")), float(value))
        for each, value in zip((one, other), values, strict=True)
        if value is not None
    ]
    ours, theirs = made if len(made) == 2 else (None, None)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        raise Incomparable(f"of {units[0]!r} and {units[1]!r}")
    return ours[1][0], theirs[1][0]


def _unit(quantity: Mapping[str, Any]) -> str:
    """A quantity's code in its system, its unit where it has no code; the currency of money."""
    code = quantity.get("code") or quantity.get("unit") or quantity.get("currency") or ""
    return f"{quantity.get('system', '')}|{code}"[:80]


def _order_in_time(value: str, limit: str) -> int:
    """Dates, times and instants; of a day and an hour in it neither is before the other."""
    left: Any = value
    right: Any = limit
    if "T" in value and "T" in limit:
        try:
            left, right = datetime.fromisoformat(value), datetime.fromisoformat(limit)
        except ValueError:  # a leap second
            raise Incomparable("of such times") from None
    else:
        length = min(len(value), len(limit), 10 if "-" in value + limit else 8)
        left, right = value[:length], limit[:length]
    return int(left > right) - int(left < right)
