"""The code system that elements have without naming it."""

from __future__ import annotations

import pytest

from fhir_blob.fhir.bindings import implied_system
from fhir_blob.fhir.definitions import definitions

H = "http://hl7.org/fhir"


@pytest.mark.parametrize(
    ("type", "expression", "system"),
    [
        ("Patient", "Patient.gender", f"{H}/administrative-gender"),
        ("DocumentReference", "DocumentReference.content.attachment.contentType", "urn:ietf:bcp:13"),
        ("Patient", "Patient.active", f"{H}/special-values"),
        ("Patient", "Patient.deceased.exists() and Patient.deceased != false", f"{H}/special-values"),
        ("Observation", "(Observation.value as boolean)", f"{H}/special-values"),
        ("Observation", "Observation.value.as(CodeableConcept)", ""),
        ("Observation", "Observation.status | Observation.code", ""),
        ("Group", "(Group.characteristic.value as CodeableConcept) | (Group.characteristic.value as boolean)", ""),
        ("Condition", "Condition.clinicalStatus", ""),
        ("Task", "Task.intent", ""),  # a value set of two systems
        ("Resource", "Resource.language", ""),  # its binding is preferred
        ("Patient", "Patient.telecom.where(system='phone')", ""),
        ("Patient", "Patient.nothing", ""),
    ],
)
def test_implied(type: str, expression: str, system: str) -> None:
    """It is that of a required value set, if all that the expression finds are codes of the same one."""
    assert system == implied_system(definitions(), type, expression)


def test_of_a_component() -> None:
    """A component's expression starts at the composite's."""
    found = implied_system(definitions(), "DocumentReference", "code", "DocumentReference.relatesTo")

    assert f"{H}/document-relationship-type" == found
