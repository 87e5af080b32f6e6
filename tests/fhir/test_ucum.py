"""Quantities in UCUM's units as amounts of its base units: https://ucum.org/ucum"""

from __future__ import annotations

import csv
import math

import pytest

from fhir_blob.fhir.definitions import units
from fhir_blob.fhir.ucum import SYSTEM, canonical, is_unit
from tests.services import ucum_table


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((5.4, "mg"), (0.0054, "g")),
        ((5.35, "mg"), (5350.0, "ug")),
        ((1.0, "[lb_av]"), (0.45359237, "kg")),
        ((37.0, "Cel"), (98.6, "[degF]")),
        ((0.0, "Cel"), (273.15, "K")),
        ((90.0, "mg/dL"), (0.9, "g/L")),
        ((60.0, "{beats}/min"), (1.0, "/s")),
        ((5.0, "10*9/L"), (5000.0, "/uL")),
        ((1.0, "m[H2O]"), (9.80665, "kPa")),
        ((2.0, "k[iU]/L"), (2.0, "[IU]/mL")),
        ((7.0, "mmol/L"), (7.0, "meq/L")),
        ((50.0, "%"), (0.5, "1")),
        ((1.0, "L/(min.m2)"), (1.0, "dm3/min/m2")),
    ],
)
def test_equal(one: tuple[float, str], other: tuple[float, str]) -> None:
    """Equal amounts in different units are equal to the last bit."""
    assert canonical(SYSTEM, one[1], one[0]) == canonical(SYSTEM, other[1], other[0])
    assert canonical(SYSTEM, one[1], one[0]) is not None


@pytest.mark.parametrize(
    ("one", "other"), [("g", "m"), ("[iU]", "10*3"), ("mol", "10*23"), ("[CFU]", "[PFU]"), ("m2", "m"), ("g%", "%")]
)
def test_unlike(one: str, other: str) -> None:
    """What measures something else has other base units, and so has what UCUM calls arbitrary."""
    assert (canonical(SYSTEM, one) or "one")[0] != (canonical(SYSTEM, other) or "other")[0]


@pytest.mark.parametrize(
    "code",
    ["", " ", "{score}", "dB", "[pH]", "mmHg", "foo", "m g", "mg{", "(m", "m)", "m(g", ".m", "m..g", "m-", "é",
     "10*999", "m" * 61, "((((", "km1000"],
)  # fmt: skip
def test_none(code: str) -> None:
    """What is no unit, no scale or an annotation alone is left as it is."""
    assert None is canonical(SYSTEM, code, 1.0)


def test_of_another_system() -> None:
    """A code of another system is none of UCUM's."""
    assert None is canonical("http://a.example", "mg", 1.0)


def test_open_ends() -> None:
    """What has no end has none in base units; what is too great for a number has no base units."""
    assert ("g1", (-math.inf, 1.0)) == canonical(SYSTEM, "kg", -math.inf, 0.001)
    assert None is canonical(SYSTEM, "km99", 1e20)


def test_every_unit_of_the_table() -> None:
    """Each unit of UCUM's table is understood."""
    assert [] == [code for code in units()["units"] if canonical(SYSTEM, code) is None]


def test_common_codes() -> None:
    """Of the codes that UCUM gives as examples all are understood that are linear and more than an annotation."""
    with ucum_table().with_name("ucum_examples.tsv").open(newline="", encoding="utf-8") as file:
        codes = [row["UCUM_CODE"] for row in csv.DictReader(file, delimiter="\t")]

    left = {each for each in codes if canonical(SYSTEM, each) is None and not (each[0] == "{" and each[-1] == "}")}

    assert {"dB", "[pH]", "Torr"} == left  # Torr is not in UCUM's own table
    assert 848 == len(codes)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *dict.fromkeys(["mg", "{score}", "[pH]", "dB[SPL]", "10*9/L", "mm[Hg]", "Cel", "kg/m2", "%"], True).items(),
        *dict.fromkeys(["", "mmHg", "foo", "m g", "k[pH]", "beats/min", "mg{", "m" * 61], False).items(),
    ],
)
def test_codes(code: str, expected: bool) -> None:
    """A scale that is no line and an annotation are codes of UCUM too, what its grammar does not make is none."""
    assert expected is is_unit(code)
