"""Paths give the same values as fhirpathpy, on R4's own examples and search parameters."""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.engine.nodes import TypeInfo
from fhirpathpy.models import models

from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.nodes import referenced_type
from fhir_blob.fhir.paths import check_path, compile_path, read_path
from tests.services import r4_examples

PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "name": [
        {"use": "official", "family": "Nakamura"},
        {"use": "usual", "given": ["Aiko", "A"], "_given": [None, {"id": "g"}]},
    ],
    "_birthDate": {"id": "b", "extension": [{"url": "http://a.example/time", "valueTime": "14:35"}]},
    "deceasedDateTime": "2021-03-04",
    "generalPractitioner": [{"reference": "Organization/3"}, {"reference": "#dr"}, {"display": "nobody"}],
    "managingOrganization": {"type": "Organization", "identifier": {"value": "7"}},
    "contained": [{"resourceType": "Practitioner", "id": "dr"}],
    "extension": [{"url": "http://a.example/eye", "valueCode": "blue"}],
}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Patient.name.family", ["Nakamura"]),
        ("Patient.name.given", ["Aiko", "A"]),
        ("name.where(use = 'usual').given", ["Aiko", "A"]),
        ("Patient.name[0].family | Patient.gender | Patient.active", ["Nakamura", True]),
        ("Patient.name.given.first()", ["Aiko"]),
        ("Patient.deceased", ["2021-03-04"]),
        ("(Patient.deceased as dateTime)", ["2021-03-04"]),
        ("Patient.deceased.as(boolean)", []),
        ("Patient.deceased.ofType(DateTime)", ["2021-03-04"]),
        ("Patient.deceased is dateTime", [True]),
        ("Patient.deceased.exists() and Patient.deceased != false", [True]),
        ("Patient.gender.exists()", [False]),
        ("Patient.gender.empty()", [True]),
        ("Patient.generalPractitioner.where(resolve() is Practitioner).reference", ["#dr"]),
        ("Patient.generalPractitioner.where(resolve() is Organization).reference", ["Organization/3"]),
        ("Patient.managingOrganization.where(resolve() is Organization).identifier.value", ["7"]),
        ("Patient.extension('http://a.example/eye').value", ["blue"]),
        ("Patient.where(hasExtension('http://a.example/eye')).active", [True]),
        ("%resource.active", [True]),
        ("Observation.value", []),
        ("Resource.active", [True]),
        ("Patient.active = true", [True]),
        ("Patient.name[1].given[0] = 'A\\u0069ko'", [True]),
        ("Patient.gender | Patient.name.given | Patient.name.given", ["Aiko", "A"]),
        ("Patient.name | Patient.name.where(use = 'usual')", PATIENT["name"]),
        ("Patient.birthDate.extension('http://a.example/time').value", ["14:35"]),
        ("Patient.birthDate.hasExtension('http://a.example/time')", [True]),
        ("Patient.birthDate.extension.url", ["http://a.example/time"]),
        ("Patient.birthDate.id", ["b"]),
        ("Patient.name.given.id", ["g"]),
        ("Patient.birthDate", []),
        ("Patient.name.use is string", [True]),
        ("Patient.name.use.ofType(string)", []),
    ],
)
def test_values(expression: str, values: list[Any]) -> None:
    """A path gives its values in the order of the resource."""
    focus = (PATIENT, "Patient")

    found = compile_path(expression)(focus, focus)

    assert values == [value for value, _ in found]


def test_type_of_a_choice() -> None:
    """A value of a choice comes with the type that its JSON name says."""
    focus = ({"resourceType": "Observation", "valueQuantity": {"value": 3}}, "Observation")

    found = compile_path("Observation.value")(focus, focus)

    assert [({"value": 3}, "Quantity")] == found


def test_what_is_not_compiled_is_left_to_fhirpathpy() -> None:
    """An expression beyond the search parameters of R4 still gives its values."""
    focus = (PATIENT, "Patient")

    found = compile_path("Patient.name.given.count() > 1")(focus, focus)

    assert [(True, "boolean")] == found


def test_nothing_depends_on_what_was_asked_before() -> None:
    """fhirpathpy knows what a type is a kind of from the first expression on."""
    focus = ({"resourceType": "ConceptMap", "sourceCanonical": "http://a.example"}, "ConceptMap")
    TypeInfo.model = None

    first = read_path("ConceptMap.source.ofType(uri).count()")(focus, focus)
    read_path("ConceptMap.source is uri")(focus, focus)

    assert [(1, "decimal")] == first == read_path("ConceptMap.source.ofType(uri).count()")(focus, focus)


def test_beside_values() -> None:
    """Of fhirpathpy come values alone, not what stands beside them or in place of them."""
    focus = (PATIENT, "Patient")

    found = compile_path("Patient.name.given.select($this) | Patient.birthDate.select($this)")(focus, focus)

    assert [("Aiko", "string"), ("A", "string")] == found


def test_trace_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """trace() changes nothing, and writes nothing of a resource into a log."""
    focus = (PATIENT, "Patient")

    found = compile_path("Patient.name.given.trace('given')")(focus, focus)

    assert (["Aiko", "A"], ("", "")) == ([value for value, _ in found], capfd.readouterr())


def examples(*, of_each_type: int, longest: int) -> Iterator[dict[str, Any]]:
    seen: Counter[str] = Counter()
    with tarfile.open(r4_examples()) as package:
        for member in package:
            if member.name.endswith(".json") and member.size < longest:
                content = package.extractfile(member)
                resource = json.loads(content.read(), parse_float=Decimal) if content else {}
                type = resource.get("resourceType", "")
                seen[type] += 1
                if type in definitions().types and seen[type] <= of_each_type:
                    yield resource


def test_oracle() -> None:
    """Every search parameter of R4 finds what fhirpathpy finds, in three examples of each type."""
    differing = {}

    for resource in examples(of_each_type=3, longest=30_000):
        for code, expression in expressions(resource["resourceType"]):
            focus = (resource, resource["resourceType"])
            found = [value for value, _ in compile_path(expression)(focus, focus)]
            expected = by_oracle(expression, resource)
            if canonical(found) != canonical(expected):
                differing[resource["resourceType"], resource.get("id"), code] = (found, expected)

    assert {} == differing


def expressions(type: str) -> Iterator[tuple[str, str]]:
    for code, parameter in definitions().search_parameters(type).items():
        if parameter.type != "special":
            yield code, parameter.expression
        for part in parameter.components:
            whole = (
                part.expression if part.expression.startswith("%") else joined(parameter.expression, part.expression)
            )
            yield f"{code}${part.expression}", whole


def joined(composite: str, component: str) -> str:
    """The component of every element of the composite."""
    return " | ".join(
        f"{each.strip()}.{part.strip()}" for each in composite.split("|") for part in component.split("|")
    )


@pytest.fixture(autouse=True)
def types_of_the_oracle() -> Iterator[None]:
    """It keeps for the whole process whether a canonical is a uri."""
    kept = TypeInfo.model
    yield
    TypeInfo.model = kept


def by_oracle(expression: str, resource: dict[str, Any]) -> list[Any]:
    helped = re.sub(r"\(([^()]+) as (\w+)\)", r"\1.ofType(\2)", expression)
    helped = re.sub(r"\.as\((\w+)\)", r".ofType(\1)", helped).replace("DateTime", "dateTime")
    helped = re.sub(r"\bResource\.", f"{resource['resourceType']}.", helped)
    helped = re.sub(r"hasExtension\(('[^']+')\)", r"extension(\1).exists()", helped)
    helped = re.sub(r"resolve\(\) is (\w+)", r"resolvedType() = '\1'", helped)
    table = {
        "resolvedType": {"fn": lambda values: [referenced_type(value, resource) for value in values], "arity": {0: []}}
    }
    options = {"userInvocationTable": table}
    TypeInfo.model = None  # as HL7's cases have it: ofType() is of that very type
    found: list[Any] = fhirpathpy.evaluate(resource, helped, {"resource": resource}, models["r4"], options)
    return found


def canonical(values: list[Any]) -> list[str]:
    """`|` drops what is there already, and has no order."""
    return sorted({json.dumps(value, sort_keys=True, default=str) for value in values})


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("Patient.name.(", "leaves a bracket open"),
        ("Patient.name.frobnicate()", "is not understood"),
        ("(1).matches('x')", "is not understood: a pattern is matched against one string"),
        ("Patient.id.matches('(?!b)x')", "is not understood: .*invalid perl operator"),
    ],
)
def test_what_is_no_expression(expression: str, sentence: str) -> None:
    """An expression that somebody adds is tried before it is taken."""
    with pytest.raises(ValueError, match=sentence):
        check_path(expression, "Patient")


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(.*a){25}$"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    """A pattern that backtracking would try in more ways than can be counted is answered at once."""
    focus = ({"resourceType": "Patient", "id": "a" * 5000 + "b"}, "Patient")
    began = time.process_time()

    found = compile_path(f"Patient.id.matches('{pattern}')")(focus, focus)

    assert [(False, "boolean")] == found
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("id.matches('^a.c$')", [(True, "boolean")]),
        ("id.matches('')", []),
        ("language.matches('x')", []),
        ("id.replaceMatches('(a).(c)', '$2\\\\$1')", [("c\\a", "string")]),
        ("id.replaceMatches('x', 'y')", [("a\nc", "string")]),
        ("language.replaceMatches('x', 'y')", []),
    ],
)
def test_patterns(expression: str, expected: list[tuple[object, str]]) -> None:
    """`.` is every character; $1 is what a group found: https://hl7.org/fhirpath/N1/#matchesregex-string-boolean"""
    focus = ({"resourceType": "Patient", "id": "a\nc"}, "Patient")

    assert expected == compile_path(f"Patient.{expression}")(focus, focus)
