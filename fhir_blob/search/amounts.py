"""The span of numbers that a Quantity, Range, SampledData or Money stands for, and its unit."""

from __future__ import annotations

import math
import re
from typing import Any

from fhir_blob.search.terms import key

_CURRENCIES = "urn:iso:std:iso:4217"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

Amount = tuple[str, str, str, float, float]


def amount(value: dict[str, Any], type: str) -> Amount | None:
    """(system, code, unit, low, high); None where there is no number."""
    if type == "Range":
        return *_unit(value.get("low") or value.get("high") or {}), *spread(value)
    if type == "SampledData":
        return *_unit(value["origin"]), *_sampled(value)
    if "value" not in value:
        return None
    return *_unit(value), *_compared(float(value["value"]), value.get("comparator"))


def spread(value: dict[str, Any]) -> tuple[float, float]:
    """From the lesser to the greater end of a Range, whichever is called low: an index may take no other."""
    low, high = value.get("low", {}).get("value"), value.get("high", {}).get("value")
    ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return min(ends), max(ends)


def _unit(value: dict[str, Any]) -> tuple[str, str, str]:
    """(system, code, unit); money has a currency instead."""
    if "currency" in value:
        return _CURRENCIES, value["currency"], value["currency"]
    return key(value.get("system", "")), key(value.get("code", "")), key(value.get("unit", ""))


def _compared(value: float, comparator: str | None) -> tuple[float, float]:
    low = -math.inf if comparator in ("<", "<=") else value
    return low, math.inf if comparator in (">", ">=") else value


def _sampled(value: dict[str, Any]) -> tuple[float, float]:
    """From the least to the greatest of the samples."""
    origin, factor = float(value["origin"].get("value", 0)), float(value.get("factor", 1))
    samples = [float(each) * factor for each in _NUMBER.findall(value.get("data", ""))] or [0.0]
    return origin + min(samples), origin + max(samples)
