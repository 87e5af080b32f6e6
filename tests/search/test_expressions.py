"""The tree that a resource is walked along finds what the paths of its search parameters find."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.fhir.nodes import Pair
from fhir_blob.search.expressions import Tree, grow, path_of
from tests.fhir.test_paths import examples


def parameter(expression: str, type: str = "token") -> SearchParameter:
    return SearchParameter("code", type, expression)


def walked(element: dict[str, Any], tree: Tree[str]) -> list[tuple[str, Any, str]]:
    found: list[tuple[str, Any, str]] = []
    for name, content in element.items():
        if name in tree:
            type, leaves, below = tree[name]
            for value in content if isinstance(content, list) else [content]:
                found += [(leaf, value, type) for leaf in leaves if value is not None]
                found += walked(value, below) if below and isinstance(value, dict) else []
    return found


@pytest.mark.parametrize(
    ("expression", "is_of_chains"),
    [
        ("Patient.name.family", True),
        ("Patient.maiden | Patient.name.family | Person.name", True),
        ("(Patient.deceased as dateTime)", True),
        ("Patient.deceased.ofType(dateTime)", True),
        ("Resource.meta.tag", True),
        ("Patient.deceased.exists()", False),
        ("Patient.telecom.where(system = 'email')", False),
        ("Patient.extension('http://a').value", False),
        ("Patient.birthDate.extension", False),
        ("Patient.contained.name", False),
        ("Patient.name[0].family", False),
        ("Patient.name.family = 'a | b'", False),
        ("(Patient.name | Patient.contact).name", False),
        ("name.family", False),
    ],
)
def test_what_is_of_chains(expression: str, is_of_chains: bool) -> None:
    """Chains of elements and their unions are; what has a function, a condition or an index is not."""
    assert is_of_chains is grow({}, "Patient", parameter(expression), "leaf")


def test_a_choice_of_types() -> None:
    """A type that is asked for leaves the others out; without one all are found."""
    resource = {"deceasedDateTime": "2024", "deceasedBoolean": True, "name": [{"family": "Ny"}, {}]}
    tree: Tree[str] = {}
    for expression in ("(Patient.deceased as dateTime)", "Patient.deceased", "Patient.name.family"):
        grow(tree, "Patient", parameter(expression), expression)

    found = walked(resource, tree)

    assert found == [
        ("(Patient.deceased as dateTime)", "2024", "dateTime"),
        ("Patient.deceased", "2024", "dateTime"),
        ("Patient.deceased", True, "boolean"),
        ("Patient.name.family", "Ny", "string"),
    ]


def test_as_the_paths() -> None:
    """Every search parameter of R4 finds the same either way, in two examples of each type."""
    different = []
    for resource in examples(of_each_type=2, longest=30_000):
        type = resource["resourceType"]
        tree: Tree[str] = {}
        chains = [each for each in definitions().search_parameters(type).values() if grow(tree, type, each, each.code)]
        found = walked(resource, tree)
        root: Pair = (resource, type)
        for each in chains:
            expected = {str(pair) for pair in path_of(each)(root, root)}
            if expected != {str((value, of_type)) for code, value, of_type in found if code == each.code}:
                different.append((type, each.code))

    assert [] == different
