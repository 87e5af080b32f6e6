"""The distilled definitions are what the official package says."""

from __future__ import annotations

from pathlib import Path

from fhir_blob.fhir import r4
from fhir_blob.fhir.r4.distil import distil
from tests.services import r4_package


def test_the_script_makes_the_committed_files() -> None:
    """Each of the five files, to the letter."""
    folder = Path(r4.__file__).parent

    made = distil(str(r4_package()))

    assert {name: (folder / name).read_text() for name in made} == made
    assert 5 == len(made)
