"""FHIRPath in a document: resolve(), memberOf() and conformsTo() are answered where they can be, and never guessed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from fhir_blob.fhir.elements import root
from fhir_blob.fhir.profiling import published
from fhir_blob.fhir.profiling.evaluation import Means, holds_true
from fhir_blob.fhir.profiling.resolving import Resolver
from fhir_blob.fhir.profiling.value_sets import Terms

STORED = {"Patient/1": {"resourceType": "Patient", "id": "1", "active": True}}
MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
OBSERVATION = {
    "resourceType": "Observation",
    "contained": [{"resourceType": "Patient", "id": "p", "active": False}],
    "subject": {"reference": "Patient/1"},
    "performer": [{"reference": "#p"}, {"reference": "Practitioner/9"}],
    "method": {"coding": [{"system": MARITAL, "code": "M"}]},
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]},
}
SET = "http://hl7.org/fhir/ValueSet"


def told(expression: str, *, seconds: float = 5) -> bool | None:
    def fits(spot: Any, url: str) -> bool | None:
        return spot.value["active"] if url == "urn:active" else None

    read: Mapping[str, Any] = STORED
    means = Means(Terms(published.find), Resolver(read.get), time.monotonic() + seconds, fits)
    return holds_true(expression, root(OBSERVATION), means)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("subject.resolve().active", True),
        ("performer.first().resolve().active", False),
        ("performer.resolve().active.exists()", None),
        ("performer.all(resolve() is Practitioner or resolve() is Patient)", True),
        ("performer.resolve().ofType(Practitioner).exists()", True),
        ("subject.resolve() is Group", False),
        (f"method.memberOf('{SET}/marital-status')", True),
        (f"method.memberOf('{SET}/observation-category')", False),
        (f"code.memberOf('{SET}/body-site')", None),
        ("method.memberOf('http://example.org/none')", None),
        ("subject.resolve().conformsTo('urn:active')", True),
        ("subject.resolve().conformsTo('urn:else')", None),
    ],
)
def test_functions(expression: str, expected: bool | None) -> None:
    """What is in the document or stored is asked, what is neither leaves it open, but for its type."""
    assert expected is told(expression)


def test_time() -> None:
    """An expression that multiplies what it finds ends when the time of the validation does."""
    every, began = "%resource.descendants().where(", time.process_time()

    assert None is told(f"{every * 9}true{').exists()' * 9}", seconds=0.2)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "expression", ["(" * 1500 + "true" + ")" * 1500, "true" + " and true" * 480, "subject.(", "' and true", ""]
)
def test_hostile(expression: str) -> None:
    """What is nested too deeply or is no FHIRPath is not checked, and breaks nothing."""
    assert told(expression) in (None, True)
