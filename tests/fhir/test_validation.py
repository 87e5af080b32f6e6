"""Validation against R4's own examples, mutated, and against fhir.resources where it can judge."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import copy
import json
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_blob.errors import NotParseable
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.validation import validate
from tests.fhir.wrong_examples import WRONG
from tests.services import r4_examples

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "active": True,
    "gender": "male",
    "birthDate": "1970-01-01",
    "name": [{"family": "Smith", "given": ["Ann", "B"]}],
    "deceasedBoolean": False,
    "contact": [{"name": {"text": "x"}, "period": {"start": "2020"}}],
}


def examples(every: int = 1) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(r4_examples()) as archive:
        for number, member in enumerate(archive.getmembers()):
            name = member.name.removeprefix("package/")
            if number % every or not name.endswith(".json") or name[0] == "." or name == "package.json":
                continue
            file = archive.extractfile(member)
            if file is not None:
                yield name, file.read()


def told(resource: Any, **given: Any) -> list[str]:
    return [issue.diagnostics for issue in validate(resource, **given)]


def test_the_wrong_examples_are_those_of_the_list() -> None:
    """Every other one is valid; each of the list is not."""
    assert set(WRONG) == {name for name, body in examples() if told(codec.parse(body))}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gender": "mal"}, "Patient.gender: 'mal' is not one of female, male, other, unknown."),
        ({"birthDate": "2023-02-30"}, "Patient.birthDate: '2023-02-30' is no date."),
        ({"birthDate": "2024-02-29T10:00:00Z"}, "Patient.birthDate: '2024-02-29T10:00:00Z' is no date."),
        ({"active": "true"}, "Patient.active: 'true' is no boolean."),
        ({"active": 1}, "Patient.active: 1 is no boolean."),
        ({"shoe": 42}, "Patient.shoe: is an unknown element."),
        ({"_shoe": {}}, "Patient._shoe: is an unknown element."),
        ({"name": []}, "Patient.name: a list may not be empty."),
        ({"name": {"family": "x"}}, "Patient.name: an object has to be a list."),
        ({"name": [{}]}, "Patient.name[0]: an object may not be empty."),
        ({"name": [None]}, "Patient.name[0]: null is no HumanName: it has to be a JSON object."),
        ({"name": [{"given": ["a", None]}]}, "Patient.name[0].given[1]: null stands for nothing here."),
        ({"name": [{"given": ["a"], "_given": [None]}]}, None),
        ({"name": [{"given": [None], "_given": [{"id": "x"}]}]}, None),
        (
            {"name": [{"given": ["a", "b"], "_given": [{"id": "x"}]}]},
            "Patient.name[0].given: it and _given have to have the same length.",
        ),
        ({"language": ""}, "Patient.language: '' is no code."),
        ({"deceasedDateTime": "2020"}, "Patient.deceased: deceasedBoolean and deceasedDateTime cannot both be there."),
        ({"link": [{"type": "refer"}]}, "Patient.link[0].other: is missing."),
        ({"link": [{"type": "refer", "other": {"reference": "#no"}}]}, "Patient.contained: '#no' names no contained resource (ref-1)."),
        ({"extension": [{"url": "x:y"}]}, "Patient.extension[0]: an extension has either a value or extensions (ext-1)."),
        ({"photo": [{"data": "aGk="}]}, "Patient.photo[0]: data needs a contentType (att-1)."),
        ({"photo": [{"data": "a?", "contentType": "x/y"}]}, "Patient.photo[0].data: 'a?' is no base64Binary."),
        ({"text": {"status": "generated", "div": "<div><script/></div>"}}, "Patient.text.div: <script> may not stand in a narrative (txt-1)."),
        ({"contact": [{"period": {"start": "2021", "end": "2020"}}]}, "Patient.contact[0].period: start is after end (per-1)."),
        ({"contained": [{"resourceType": "No"}]}, "Patient.contained[0]: resourceType is 'No', which is no resource type of R4."),
        ({"id": "a b"}, "Patient.id: 'a b' is no id."),
        ({"language": "x" * 100 + " "}, f"Patient.language: '{'x' * 60}…' is no code."),
    ],
)  # fmt: skip
def test_one_change_one_sentence(change: dict[str, Any], expected: str | None) -> None:
    """The FHIRPath, and no more of the resource than the value that is wrong."""
    assert ([expected] if expected else []) == told({**PATIENT, **change})


def test_lenient_warns() -> None:
    """Unknown elements and codes outside a binding are warnings, everything else stays an error."""
    found = validate({**PATIENT, "shoe": 1, "gender": "mal", "active": 7}, lenient=True)

    assert ["error", "warning", "warning"] == sorted(issue.severity for issue in found)


def _unknown(resource: dict[str, Any], chance: random.Random) -> bool:
    chance.choice(_objects(resource))["unknownElement"] = "x"
    return True


def _empty(resource: dict[str, Any], chance: random.Random) -> bool:
    chance.choice(_objects(resource))["extension"] = []
    return True


def _null(resource: dict[str, Any], chance: random.Random) -> bool:
    target = chance.choice(_objects(resource))
    names = [name for name in target if name != "resourceType"]
    if names:
        target[chance.choice(names)] = None
    return bool(names)


def _without_required(resource: dict[str, Any], chance: random.Random) -> bool:
    mandatory = [name for name in definitions().summary(resource["resourceType"]).mandatory if name in resource]
    if mandatory:
        del resource[chance.choice(mandatory)]
    return bool(mandatory) and "[x]" not in str(mandatory)


def _objects(value: Any) -> list[dict[str, Any]]:
    """Every object of a resource but the elements beside primitives."""
    found = [value] if isinstance(value, dict) else []
    below = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in below:
        if isinstance(each, dict | list) and not str(name).startswith("_"):
            found += _objects(each)
    return found


@pytest.mark.parametrize("mutate", [_unknown, _empty, _null, _without_required])
def test_mutated_examples_are_refused(mutate: Callable[[dict[str, Any], random.Random], bool]) -> None:
    """Every twentieth example, changed in one place."""
    chance, passed, tried = random.Random(5), [], 0
    for name, body in examples(every=20):
        resource = codec.parse(body)
        if name not in WRONG and mutate(resource, chance):
            tried += 1
            if not told(resource):
                passed.append(name)

    assert [] == passed
    assert tried > 100


def test_fhir_resources_agrees() -> None:
    """Where fhir.resources (R4B) has the type it refuses the mutations that we refuse, and takes what we take."""
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    model = get_fhir_model_class("Patient")
    wrong = [{"active": "maybe"}, {"shoe": 1}, {"name": [{"given": 7}]}, {"birthDate": "2023-02-30"}, {"name": "x"}]

    for change in wrong:
        assert told({**PATIENT, **change})
        with pytest.raises(ValidationError):
            model.model_validate({**copy.deepcopy(PATIENT), **change})
    taken = 0
    for name, body in examples(every=9):
        if name.startswith(("Patient-", "Observation-", "DocumentReference-", "Encounter-", "Condition-", "Media-")):
            kind = name.partition("-")[0]
            get_fhir_model_class(kind).model_validate(json.loads(body))
            assert not told(codec.parse(body))
            taken += 1
    assert taken > 5


def test_large_data_is_checked_at_once() -> None:
    """20 MB of base64 in well under a second."""
    resource = {"resourceType": "Binary", "contentType": "x/y", "data": "QUJD" * 5_000_000}

    began = time.perf_counter()
    assert [] == told(resource)
    assert time.perf_counter() - began < 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(JSON, st.sampled_from(["Patient", "Bundle", "Questionnaire", "Parameters", None]))
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_json_value_is_judged(value: Any, type: str | None) -> None:
    """Whatever comes is valid or not: nothing is raised."""
    named = {**value, "resourceType": type} if isinstance(value, dict) and type else value

    assert isinstance(validate(named), tuple)


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":2}', b'{"a" :1,"\\u0061":2}', b"[NaN]", b'"\\ud800"', b"[" * 99 + b"]" * 99]
)
def test_what_is_no_json(text: bytes) -> None:
    """Duplicate keys, NaN, lone surrogates and endless nesting are refused."""
    with pytest.raises(NotParseable):
        codec.parse(text)


def test_decimals_keep_their_digits() -> None:
    """Every number of every tenth example is written as it was read."""
    for name, body in examples(every=10):
        read = codec.parse(body)
        assert read == codec.parse(codec.dump(read)), name
    assert b'{"a":1.00,"b":1E+400,"c":123456789012345678901234567890}' == codec.dump(
        codec.parse(b'{"a":1.00,"b":1e400,"c":123456789012345678901234567890}')
    )
