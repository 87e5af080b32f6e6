"""Boolean FHIRPath by its parts says what the whole says, but asks of the parts only those that decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_blob.fhir.interpreter import interpreted
from fhir_blob.fhir.profiling.conditions import condition

PATIENT: tuple[dict[str, Any], str] = (
    {"resourceType": "Patient", "active": True, "deceasedBoolean": False, "name": [{"family": "or (x and"}]},
    "Patient",
)
# True, False, and nothing.
LEAVES = ["active", "deceased", "birthDate.exists()", "gender", "gender = 'male'", "name.family = 'or (x and'"]


def by_parts(expression: str) -> bool | None:
    def told(text: str) -> bool | None:
        found = interpreted(text)(PATIENT, PATIENT)
        return bool(found[0][0]) if found else None

    return condition(expression).holds(told)


def whole(expression: str) -> bool | None:
    found = interpreted(expression)(PATIENT, PATIENT)
    return found[0][0] if found else None


def _joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["and", "or", "xor", "implies"])
    infix = st.tuples(parts, operators, parts).map(" ".join)
    return infix | parts.map("({})".format) | parts.map("({}).not()".format)


@settings(max_examples=150, deadline=None)
@given(st.recursive(st.sampled_from(LEAVES), _joined, max_leaves=6))
def test_as_the_whole(expression: str) -> None:
    """With every precedence, bracket and emptiness."""
    assert whole(expression) == by_parts(expression)


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("a or b", ["a"]),
        ("(b implies a) and c", ["b", "c"]),
        ("b and a or c", ["b", "c"]),
        ("a.where(x or y) and b", ["a.where(x or y)", "b"]),
        ("a = b.not()", ["a = b.not()"]),
        ("a.exists().not()", ["a.exists()"]),
        ("a /* or */ and b", ["a /* or */ and b"]),
        ("'a or b'", ["'a or b'"]),
    ],
)
def test_asked(expression: str, asked: list[str]) -> None:
    """Texts are left whole, and the right side is asked where the left one decides nothing."""
    found: list[str] = []

    def told(text: str) -> bool:
        found.append(text)
        return text != "b"

    condition(expression).holds(told)

    assert asked == found
