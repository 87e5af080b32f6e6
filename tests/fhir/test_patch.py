"""Patches applied to resources: what each operation makes of them, and what it is refused for.

The cases of FHIRPath Patch say what those of https://github.com/FHIR/fhir-test-cases (r4/patch) say.
"""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_blob.errors import FhirError
from fhir_blob.fhir import codec
from fhir_blob.fhir.patch import FHIR_JSON, JSON_PATCH, MERGE_PATCH, Patch

A, B, C = ({"value": value} for value in "abc")
BIRTH_TIME = [
    {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime", "valueDateTime": "1974-12-25T14:35:45Z"}
]


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **copy.deepcopy(members)}


def operation(type: str, path: str, **parts: Any) -> dict[str, Any]:
    """`valueX` is the part 'value' with that type, `parts` the part 'value' made of parts."""
    given: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if name == "name":
            given.append({"name": "name", "valueString": value})
        elif name == "parts":
            given.append({"name": "value", "part": value})
        elif name.startswith("value"):
            given.append({"name": "value", name: value})
        elif name.startswith("_value"):
            given[-1][name] = value
        else:
            given.append({"name": name, "valueInteger": value})
    return {"name": "operation", "part": given}


def applied(resource: dict[str, Any], *operations: dict[str, Any]) -> Any:
    parameters = {"resourceType": "Parameters", **({"parameter": list(operations)} if operations else {})}
    return Patch(FHIR_JSON, parameters, 1000).apply(resource)


@pytest.mark.parametrize(
    ("before", "done", "after"),
    [
        ({"birthDate": "1920-01-01"}, (), {"birthDate": "1920-01-01"}),
        ({"birthDate": "1920-01-01"}, (operation("replace", "Patient.birthDate", valueDate="1930-01-01"),), {"birthDate": "1930-01-01"}),
        ({"birthDate": "1920-01-01", "_birthDate": {"extension": BIRTH_TIME}}, (operation("replace", "Patient.birthDate", valueDate="1930-01-01"),), {"birthDate": "1930-01-01"}),
        ({"birthDate": "1920-01-01"}, (operation("replace", "Patient.birthDate", valueDate="1930", _valueDate={"id": "b"}),), {"birthDate": "1930", "_birthDate": {"id": "b"}}),
        ({"birthDate": "1920-01-01"}, (operation("delete", "Patient.birthDate"),), {}),
        ({}, (operation("delete", "Patient.birthDate"),), {}),
        ({}, (operation("add", "Patient", name="birthDate", valueDate="1930-01-01"),), {"birthDate": "1930-01-01"}),
        ({"contact": [{"name": {"text": "a"}, "gender": "male"}]}, (operation("replace", "Patient.contact[0].gender", valueCode="female"),), {"contact": [{"name": {"text": "a"}, "gender": "female"}]}),
        ({"contact": [{"name": {"text": "a"}, "gender": "male"}]}, (operation("replace", "Patient.contact[0].name.text", valueString="the"),), {"contact": [{"name": {"text": "the"}, "gender": "male"}]}),
        ({"contact": [{"name": {"text": "a"}, "gender": "male"}]}, (operation("delete", "Patient.contact[0].gender"),), {"contact": [{"name": {"text": "a"}}]}),
        ({"contact": [{"name": {"text": "a"}, "gender": "male"}]}, (operation("delete", "Patient.contact[0].name.text"),), {"contact": [{"gender": "male"}]}),
        ({"contact": [{"name": {"text": "a"}}]}, (operation("delete", "Patient.contact[0].name.text"),), {}),
        ({"contact": [{"name": {"text": "a"}}]}, (operation("add", "Patient.contact[0]", name="gender", valueCode="male"),), {"contact": [{"name": {"text": "a"}, "gender": "male"}]}),
        ({}, (operation("add", "Patient", name="maritalStatus", valueCodeableConcept={"text": "married"}),), {"maritalStatus": {"text": "married"}}),
        ({"maritalStatus": {"id": "1", "text": "married"}}, (operation("replace", "Patient.maritalStatus", valueCodeableConcept={"id": "2"}),), {"maritalStatus": {"id": "2"}}),
        ({"maritalStatus": {"text": "married"}}, (operation("delete", "Patient.maritalStatus"),), {}),
        ({}, (operation("add", "Patient", name="contact", parts=[{"name": "name", "valueHumanName": {"text": "a"}}, {"name": "telecom", "valueContactPoint": {"value": "1"}}, {"name": "telecom", "valueContactPoint": {"value": "2"}}]),), {"contact": [{"name": {"text": "a"}, "telecom": [{"value": "1"}, {"value": "2"}]}]}),
        ({"contact": [{"name": {"text": "a"}}]}, (operation("delete", "Patient.contact[0]"),), {}),
        ({"identifier": [A, B]}, (operation("insert", "Patient.identifier", index=2, valueIdentifier=C),), {"identifier": [A, B, C]}),
        ({"identifier": [A, B]}, (operation("insert", "Patient.identifier", index=0, valueIdentifier=C),), {"identifier": [C, A, B]}),
        ({}, (operation("insert", "Patient.identifier", index=0, valueIdentifier=C),), {"identifier": [C]}),
        ({"identifier": [A, B]}, (operation("add", "Patient", name="identifier", valueIdentifier=C),), {"identifier": [A, B, C]}),
        ({"identifier": [A, B, C]}, (operation("delete", "Patient.identifier[1]"),), {"identifier": [A, C]}),
        ({"identifier": [A, B, C]}, (operation("delete", "Patient.identifier.where(value = 'b')"),), {"identifier": [A, C]}),
        ({"identifier": [A, B, C]}, (operation("move", "Patient.identifier", source=2, destination=0),), {"identifier": [C, A, B]}),
        ({"identifier": [A, B, C]}, (operation("move", "Patient.identifier", source=0, destination=2),), {"identifier": [B, C, A]}),
        ({"identifier": [A, B]}, (operation("replace", "Patient.identifier[0].value", valueString="b"), operation("replace", "Patient.identifier[1].value", valueString="a")), {"identifier": [B, A]}),
        # Choices go by their stem, and change their type.
        ({}, (operation("add", "Patient", name="deceased", valueBoolean=True),), {"deceasedBoolean": True}),
        ({"deceasedBoolean": True}, (operation("replace", "Patient.deceased", valueDateTime="2020"),), {"deceasedDateTime": "2020"}),
        ({"deceasedBoolean": True}, (operation("delete", "Patient.deceased"),), {}),
        # Lists of primitives keep what stands beside each.
        ({"name": [{"given": ["a", "b"], "_given": [None, {"id": "2"}]}]}, (operation("delete", "Patient.name.given[0]"),), {"name": [{"given": ["b"], "_given": [{"id": "2"}]}]}),
        ({"name": [{"given": ["a", "b"], "_given": [None, {"id": "2"}]}]}, (operation("move", "Patient.name[0].given", source=1, destination=0),), {"name": [{"given": ["b", "a"], "_given": [{"id": "2"}, None]}]}),
        ({"name": [{"given": ["a"]}]}, (operation("insert", "Patient.name[0].given", index=0, valueString="x", _valueString={"id": "x"}),), {"name": [{"given": ["x", "a"], "_given": [{"id": "x"}, None]}]}),
        # Extensions, of elements and of primitives.
        ({"birthDate": "1974-12-25"}, (operation("add", "Patient.birthDate", name="extension", parts=[{"name": "url", "valueUri": BIRTH_TIME[0]["url"]}, {"name": "value", "valueDateTime": "1974-12-25T14:35:45Z"}]),), {"birthDate": "1974-12-25", "_birthDate": {"extension": BIRTH_TIME}}),
        ({"birthDate": "1974-12-25", "_birthDate": {"extension": BIRTH_TIME}}, (operation("replace", f"Patient.birthDate.extension('{BIRTH_TIME[0]['url']}').value", valueDateTime="1975"),), {"birthDate": "1974-12-25", "_birthDate": {"extension": [{**BIRTH_TIME[0], "valueDateTime": "1975"}]}}),
        ({"birthDate": "1974-12-25", "_birthDate": {"extension": BIRTH_TIME}}, (operation("delete", "Patient.birthDate.extension[0]"),), {"birthDate": "1974-12-25"}),
        # More of FHIRPath.
        ({"identifier": [A, B, C]}, (operation("delete", "identifier.last()"),), {"identifier": [A, B]}),
        ({"identifier": [A, B, C]}, (operation("delete", "Patient.identifier.skip(1).first()"),), {"identifier": [A, C]}),
        ({"identifier": [A, B, C]}, (operation("replace", "Patient.identifier.where(value.startsWith('c')).value", valueString="d"),), {"identifier": [A, B, {"value": "d"}]}),
        ({"name": [{"given": ["a", "b"]}]}, (operation("replace", "Patient.name.given.where($this = 'b')", valueString="c"),), {"name": [{"given": ["a", "c"]}]}),
        ({"contained": [{"resourceType": "Organization", "id": "o", "name": "x"}]}, (operation("replace", "Patient.contained[0].name", valueString="y"),), {"contained": [{"resourceType": "Organization", "id": "o", "name": "y"}]}),
        ({"text": {"status": "generated", "div": "<div/>"}}, (operation("replace", "Patient.text.`div`", valueString="<div>x</div>"),), {"text": {"status": "generated", "div": "<div>x</div>"}}),
    ],
)  # fmt: skip
def test_fhirpath_patch(before: dict[str, Any], done: tuple[dict[str, Any], ...], after: dict[str, Any]) -> None:
    """Each operation changes the element that its path names, and nothing else."""
    assert patient(**after) == applied(patient(**before), *done)


@pytest.mark.parametrize(
    ("refused", "status", "sentence"),
    [
        (operation("add", "Patient.identifier.where(value = 'x').period", name="end", valueDate="2021"), 422, "Operation [0] (add \"Patient.identifier.where(value = 'x').period\") cannot be done: nothing is there."),
        (operation("replace", "Patient.gender", valueCode="male"), 422, "Operation [0] (replace 'Patient.gender') cannot be done: nothing is there."),
        (operation("delete", "Patient.identifier"), 422, "Operation [0] (delete 'Patient.identifier') cannot be done: 2 elements are there, not one."),
        (operation("delete", "Patient"), 422, "Operation [0] (delete 'Patient') cannot be done: a patch does not delete the resource."),
        (operation("add", "Patient", name="active", valueBoolean=True), 422, "Operation [0] (add 'Patient') cannot be done: 'active' is there already."),
        (operation("add", "Patient", name="shoe", valueInteger=42), 422, "Operation [0] (add 'Patient') cannot be done: Patient has no element 'shoe'."),
        (operation("add", "Patient", name="multipleBirth", valueDate="2021"), 422, "Operation [0] (add 'Patient') cannot be done: multipleBirth takes no Date."),
        (operation("insert", "Patient.identifier", index=3, valueIdentifier=C), 422, "Operation [0] (insert 'Patient.identifier') cannot be done: the index 3 is outside of the list."),
        (operation("insert", "Patient.active", index=0, valueBoolean=True), 422, "Operation [0] (insert 'Patient.active') cannot be done: 'active' is no list of Patient."),
        (operation("move", "Patient.identifier", source=0, destination=2), 422, "Operation [0] (move 'Patient.identifier') cannot be done: the destination 2 is outside of the list."),
        (operation("move", "Patient.identifier", source=-1, destination=0), 422, "Operation [0] (move 'Patient.identifier') cannot be done: the source -1 is outside of the list."),
        (operation("replace", "Patient.identifier[0"), 422, "'Patient.identifier[0' is no path that a patch can take: at character 18 a '.' has to stand."),
        (operation("replace", "Patient.repeat(x)"), 422, "'Patient.repeat(x)' is no path that a patch can take: repeat() leads to no element."),
        (operation("replace", "Patient.identifier.where(value = "), 422, "'Patient.identifier.where(value = ' is no path that a patch can take: a parenthesis is not closed."),
        (operation("delete", "Patient.identifier.where(nothing())"), 422, "'nothing()' is no path that a patch can take: nothing() is not taken in a condition."),
        (operation("delete", "Patient.identifier.where(value + 1)"), 422, "'value + 1' is no path that a patch can take: the condition cannot be evaluated."),
        (operation("delete", "Patient.identifier.where(value.matches('(a+)+$'))"), 422, "\"value.matches('(a+)+$')\" is no path that a patch can take: matches() is not taken in a condition."),
        (operation("delete", "Patient.identifier.where(`'`.matches('a') or `'`)"), 422, "\"`'`.matches('a') or `'`\" is no path that a patch can take: matches() is not taken in a condition."),
        (operation("delete", "Patient.identifier.where(value.`matches` ('a'))"), 422, "\"value.`matches` ('a')\" is no path that a patch can take: ``() is not taken in a condition."),
        (operation("delete", "Patient.identifier.where(value.matches/**/('a'))"), 422, "\"value.matches/**/('a')\" is no path that a patch can take: '/*' is not taken in a condition."),
        (operation("delete", "Patient.identifier.where(%resource.active)"), 422, "'%resource.active' is no path that a patch can take: '%' is not taken in a condition."),
        (operation("delete", "Patient.identifier.where((value | value).exists())"), 422, "'(value | value).exists()' is no path that a patch can take: '|' is not taken in a condition."),
        (operation("replace", "Patient.active"), 400, "Operation [0] (replace 'Patient.active') lacks the part 'value'."),
        (operation("move", "Patient.identifier", source=0), 400, "Operation [0] (move 'Patient.identifier') lacks the part 'destination', an integer."),
        (operation("erase", "Patient.active"), 400, "Parameters.parameter[0] is no operation of FHIRPath Patch: it takes the name 'operation' and a type of add, insert, delete, replace, move."),
    ],
)  # fmt: skip
def test_fhirpath_patch_refuses(refused: dict[str, Any], status: int, sentence: str) -> None:
    """A sentence says which operation cannot be done, and why."""
    with pytest.raises(FhirError) as told:
        applied(patient(active=True, identifier=[A, B]), refused)

    assert (status, sentence) == (told.value.status, str(told.value))


@pytest.mark.parametrize(
    ("operations", "after"),
    [
        ([], {"active": True, "identifier": [A, B]}),
        ([{"op": "test", "path": "/active", "value": True}, {"op": "remove", "path": "/active"}], {"identifier": [A, B]}),
        ([{"op": "add", "path": "/identifier/-", "value": C}], {"active": True, "identifier": [A, B, C]}),
        ([{"op": "move", "from": "/identifier/1", "path": "/identifier/0"}], {"active": True, "identifier": [B, A]}),
        ([{"op": "copy", "from": "/identifier/0/value", "path": "/identifier/1/value"}], {"active": True, "identifier": [A, A]}),
        ([{"op": "replace", "path": "/identifier", "value": [C]}], {"active": True, "identifier": [C]}),
    ],
)  # fmt: skip
def test_json_patch(operations: list[dict[str, Any]], after: dict[str, Any]) -> None:
    """The six operations of RFC 6902."""
    assert patient(**after) == Patch(JSON_PATCH, operations, 1000).apply(patient(active=True, identifier=[A, B]))


@pytest.mark.parametrize(
    ("operation", "status", "sentence"),
    [
        ({"op": "test", "path": "/active", "value": False}, 409, "Operation [0] (test '/active') failed: something else is there."),
        ({"op": "test", "path": "/none", "value": False}, 409, "Operation [0] (test '/none') failed: something else is there."),
        ({"op": "remove", "path": "/none"}, 422, "Operation [0] (remove '/none') cannot be done: what its path or from names is not there."),
        ({"op": "add", "path": "/active/x", "value": 1}, 422, "Operation [0] (add '/active/x') cannot be done: what its path or from names is not there."),
        ({"op": "add", "path": "/identifier/7", "value": C}, 422, "Operation [0] (add '/identifier/7') cannot be done: what its path or from names is not there."),
        ({"op": "add", "path": "/identifier/x", "value": C}, 422, "Operation [0] (add '/identifier/x') cannot be done: what its path or from names is not there."),
        ({"op": "copy", "from": "/none", "path": "/x"}, 422, "Operation [0] (copy '/x') cannot be done: what its path or from names is not there."),
        ({"op": "move", "from": "/identifier", "path": "/identifier/0"}, 422, "Operation [0] (move '/identifier/0') cannot be done: what its path or from names is not there."),
        ({"op": "replace", "path": "active", "value": 1}, 400, "Operation [0] (replace 'active') is no operation of JSON Patch."),
        ({"op": "erase", "path": "/active"}, 400, "Operation [0] (erase '/active') is no operation of JSON Patch."),
        ({"op": "add", "path": "/active"}, 400, "Operation [0] (add '/active') is no operation of JSON Patch."),
        ({"op": "add", "path": 7, "value": 1}, 400, "Operation [0] (add '7') is no operation of JSON Patch."),
        ({"op": ["add"], "path": "/x", "value": 1}, 400, "Operation [0] (['add'] '/x') is no operation of JSON Patch."),
        ("remove", 400, "Operation [0] is no operation of JSON Patch."),
        (None, 400, "Operation [0] is no operation of JSON Patch."),
    ],
)  # fmt: skip
def test_json_patch_refuses(operation: Any, status: int, sentence: str) -> None:
    """A sentence says which operation cannot be done: 409 for a test that fails."""
    with pytest.raises(FhirError) as told:
        Patch(JSON_PATCH, [operation], 1000).apply(patient(active=True, identifier=[A, B]))

    assert (status, sentence) == (told.value.status, str(told.value))


def test_copies_of_copies_end() -> None:
    """Thirty operations that double a list each, or its depth, are refused long before they fill the memory."""
    doubled = [{"op": "copy", "from": "/extension", "path": "/extension/-"}] * 30
    nested = [{"op": "copy", "from": "/a", "path": "/a" * (number + 1) + "/a"} for number in range(30)]

    with pytest.raises(FhirError) as wide:
        Patch(JSON_PATCH, doubled, 20_000_000).apply(patient(extension=[{"url": "x" * 1000}]))
    with pytest.raises(FhirError) as deep:
        Patch(JSON_PATCH, nested, 20_000_000).apply(patient(a={"b": {}}))

    assert {413, 422} >= {wide.value.status, deep.value.status}


def test_decimals_keep_their_digits() -> None:
    """1.00 stays 1.00, whatever is patched beside it, and so does one that the patch brings."""
    resource = codec.parse(b'{"resourceType":"Observation","valueQuantity":{"value":1.00}}')
    operations = codec.parse(b'[{"op":"add","path":"/valueQuantity/extra","value":2.50}]')

    patched = Patch(JSON_PATCH, operations, 1000).apply(resource)

    assert {"value": Decimal("1.00"), "extra": Decimal("2.50")} == patched["valueQuantity"]
    assert b'"value":1.00,"extra":2.50' in codec.dump(patched)


def test_merge_patch() -> None:
    """null takes out, objects are merged, lists replaced: RFC 7396."""
    change = {
        "active": None,
        "maritalStatus": {"text": "b"},
        "identifier": [C],
        "managingOrganization": {"display": "o"},
    }

    after = Patch(MERGE_PATCH, change, 1000).apply(
        patient(active=True, maritalStatus={"text": "a", "id": "m"}, identifier=[A, B])
    )

    expected = patient(maritalStatus={"text": "b", "id": "m"}, identifier=[C], managingOrganization={"display": "o"})
    assert expected == after


POINTERS = st.lists(
    st.sampled_from(["active", "name", "0", "1", "-", "given", "_given", "x", "~1", "", "9" * 30]), max_size=4
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "path", "0", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={
        "path": POINTERS.map(lambda parts: "".join(f"/{each}" for each in parts)),
        "from": POINTERS.map(lambda parts: "".join(f"/{each}" for each in parts)),
        "value": VALUES,
    },
)
STEPS = st.sampled_from(
    [
        "Patient",
        "name",
        "given",
        "[0]",
        "[1]",
        "extension('x')",
        "first()",
        "last()",
        "where(given = 'a')",
        "where($this)",
    ]
    + [
        "ofType(string)",
        "deceased",
        "birthDate",
        "skip(1)",
        "`text`",
        "x",
        "(",
        "'",
        "contact",
        "id",
        "where(1 / 0)",
        "%x",
    ]
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["index", "source", "destination", "value", "name"])},
        optional={
            "valueString": st.sampled_from(["given", "birthDate", "extension", "deceased", "x"]),
            "valueInteger": st.integers(-1, 3),
            "part": st.just([{"name": "given", "valueString": "y"}]),
        },
    ),
    max_size=4,
)
WHOLE = {
    "active": True,
    "name": [{"given": ["a", None], "_given": [None, {"id": "g"}]}, {"text": "t"}],
    "_birthDate": {"id": "b"},
}


@settings(max_examples=300, deadline=None)
@given(st.lists(OPERATIONS | VALUES, max_size=4))
def test_no_json_patch_makes_a_fault(operations: list[Any]) -> None:
    """Whatever is sent, it is done or refused."""
    try:
        Patch(JSON_PATCH, operations, 1000).apply(patient(**WHOLE))
    except FhirError as error:
        assert error.status in (400, 409, 413, 422)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["add", "insert", "delete", "replace", "move"]), st.lists(STEPS, min_size=1, max_size=4), PARTS)
def test_no_fhirpath_patch_makes_a_fault(type: str, steps: list[str], parts: list[Any]) -> None:
    """Whatever is sent, it is done or refused, and what it makes has no empty element."""
    path = ".".join(steps).replace(".[", "[")
    given = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}, *parts]
    try:
        after = applied(patient(**WHOLE), {"name": "operation", "part": given})
    except FhirError as error:
        assert error.status in (400, 422)
    else:
        assert not any(each in ({}, []) for each in after.values())
