"""The distilled definitions are what the official package says."""

from __future__ import annotations

from pathlib import Path

from fhir_blob.fhir import r4
from fhir_blob.fhir.r4.distil import distil
from fhir_blob.fhir.r4.distil_units import NOTICE
from fhir_blob.fhir.r4.distil_units import distil as distil_units
from tests.services import r4_package, ucum_table


def test_the_script_makes_the_committed_files() -> None:
    """Each of the ten files, to the letter."""
    folder = Path(r4.__file__).parent

    made = distil(str(r4_package()))

    assert {name: (folder / name).read_text() for name in made} == made
    assert 10 == len(made)


def test_units() -> None:
    """So is the table of units, and it carries UCUM's notice."""
    file = Path(r4.__file__).with_name("ucum.json").read_text()

    assert distil_units(str(ucum_table())) == file
    assert NOTICE in file
