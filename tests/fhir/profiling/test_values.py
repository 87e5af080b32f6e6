"""Limits of a profile: quantities in other units, and those that are told to be less or more than a number."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_blob.fhir.profiling.values import Incomparable, is_beyond
from fhir_blob.fhir.ucum import SYSTEM


def amount(value: str, code: str, **more: Any) -> dict[str, Any]:
    return {"value": Decimal(value), "system": SYSTEM, "code": code, **more}


CASES = [
    (amount("0.5", "mg"), "minValue", amount("400", "ug"), False),
    (amount("0.5", "mg"), "minValue", amount("600", "ug"), True),
    (amount("5.4", "mg"), "maxValue", amount("0.0054", "g"), False),
    (amount("5.41", "mg"), "maxValue", amount("0.0054", "g"), True),
    (amount("99", "[degF]"), "maxValue", amount("37", "Cel"), True),
    (amount("98.6", "[degF]"), "maxValue", amount("37", "Cel"), False),
    (amount("5", "mg", comparator="<"), "minValue", amount("5", "mg"), True),
    (amount("5", "mg", comparator="<="), "minValue", amount("5", "mg"), False),
    (amount("5", "mg", comparator="<"), "maxValue", amount("4", "mg"), False),
    (amount("5", "mg", comparator=">"), "maxValue", amount("5", "mg"), True),
    (amount("5", "mg", comparator=">"), "minValue", amount("6", "mg"), False),
    ({"value": 2, "currency": "EUR"}, "maxValue", {"value": 1, "currency": "EUR"}, True),
]


@pytest.mark.parametrize(("value", "kind", "limit", "expected"), CASES)
def test_quantities(value: Any, kind: str, limit: Any, expected: bool) -> None:
    """Beyond a limit is what is so in any unit of its kind, whatever the comparator leaves open."""
    assert expected is is_beyond(value, kind, limit)


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (amount("1", "mg"), amount("1", "mL")),
        (amount("1", "{score}"), amount("1", "mg")),
        (amount("1", "mg"), {"value": 1, "unit": "mg"}),
        ({"unit": "mg"}, {"value": 1, "unit": "mg"}),
        ({"value": 1, "currency": "EUR"}, {"value": 1, "currency": "USD"}),
    ],
)
def test_incomparable(value: Any, limit: Any) -> None:
    """What is of another kind, or has no unit that is known, is not compared."""
    with pytest.raises(Incomparable):
        is_beyond(value, "minValue", limit)
