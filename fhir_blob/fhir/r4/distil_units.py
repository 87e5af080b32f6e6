"""Distils UCUM's table of units into ucum.json beside this file: `make definitions`.

- prefixes: {code: factor}; units: {code: [value, unit]}, what one of it is; a base unit is one of itself;
- metric: the units that take a prefix; offsets: {code: what is added after the factor} of temperatures.
A unit that is one of nothing ([iU], [HPF]) compares with no other, and is one of itself here; so is mol, as in SI.
- special: {code: whether it takes a prefix} of the units on other scales than a line.
Source: https://github.com/ucum-org/ucum
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

NOTICE = (
    "This product includes all or a portion of the UCUM table, UCUM codes, and UCUM definitions or is derived "
    "from it, subject to a license from Regenstrief Institute, Inc. and The UCUM Organization. Your use of the "
    "UCUM table, UCUM codes, UCUM definitions also is subject to this license, a copy of which is available at "
    "http://unitsofmeasure.org. The current complete UCUM table, UCUM Specification are available for download at "
    "http://unitsofmeasure.org. The UCUM table and UCUM codes are copyright (c) 1995-2009, Regenstrief Institute, "
    "Inc. and the Unified Codes for Units of Measures (UCUM) Organization. All rights reserved."
)
_NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"
_TEMPERATURES = {"Cel": ("1", "K", "273.15"), "[degF]": ("5/9", "K", "45967/180"), "[degRe]": ("5/4", "K", "273.15")}
_ITSELF = frozenset({"mol"})
_POWERS_OF_TEN = frozenset({"10*", "10^"})


def main(essence: str) -> None:
    """Write the file beside this module."""
    Path(__file__).with_name("ucum.json").write_text(distil(essence))


def distil(essence: str) -> str:
    """The text of the file, made from ucum-essence.xml."""
    root = ElementTree.parse(essence).getroot()
    bases = [each.attrib["Code"] for each in _all(root, "base-unit")]
    units = {each.attrib["Code"]: told for each in _all(root, "unit") if (told := _unit(each)) is not None}
    metric = {each.attrib["Code"] for each in _all(root, "unit") if each.get("isMetric") == "yes"}
    table: dict[str, Any] = {
        "notice": NOTICE,
        "prefixes": {each.attrib["Code"]: _value(each).attrib["value"] for each in _all(root, "prefix")},
        "metric": sorted({*bases, *metric & set(units)}),
        "offsets": {code: offset for code, (_, _, offset) in _TEMPERATURES.items()},
        "special": {
            each.attrib["Code"]: each.get("isMetric") == "yes"
            for each in _all(root, "unit")
            if each.get("isSpecial") == "yes" and each.attrib["Code"] not in _TEMPERATURES
        },
        "units": {**{code: ["1", code] for code in bases}, **units},
    }
    rows = (f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in table.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _all(root: ElementTree.Element, name: str) -> Iterable[ElementTree.Element]:
    return root.iter(f"{_NAMESPACE}{name}")


def _value(element: ElementTree.Element) -> ElementTree.Element:
    return next(iter(_all(element, "value")))


def _unit(element: ElementTree.Element) -> list[str] | None:
    code, value = element.attrib["Code"], _value(element).attrib
    if code in _TEMPERATURES:
        return list(_TEMPERATURES[code][:2])
    if element.get("isSpecial") == "yes":
        return None
    is_one = (value["value"], value["Unit"]) == ("1", "1") and code not in _POWERS_OF_TEN
    return ["1", code] if is_one or code in _ITSELF else [value["value"], value["Unit"]]


if __name__ == "__main__":
    main(sys.argv[1])
