"""Profiles: what their elements ask for, slice by slice: https://hl7.org/fhir/R4/profiling.html"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from fhir_blob.fhir import profiles
from fhir_blob.fhir.attachments import GET_URL
from fhir_blob.fhir.profiling import conformance

URL = "http://example.org/StructureDefinition/profile"
CORE = "http://hl7.org/fhir/StructureDefinition/"
COLOURS = {
    "resourceType": "ValueSet",
    "url": "http://example.org/ValueSet/colours",
    "compose": {"include": [{"system": "urn:colour", "concept": [{"code": "red"}, {"code": "blue"}]}]},
}
NAMED = {
    "resourceType": "StructureDefinition",
    "url": "http://example.org/StructureDefinition/named",
    "type": "Patient",
    "baseDefinition": f"{CORE}Patient",
    "differential": {"element": [{"path": "Patient"}, {"path": "Patient.name", "min": 1}]},
}
SHADE = {
    "resourceType": "StructureDefinition",
    "url": "http://example.org/StructureDefinition/shade",
    "type": "Extension",
    "baseDefinition": f"{CORE}Extension",
    "differential": {
        "element": [
            {"path": "Extension"},
            {"path": "Extension.url", "fixedUri": "http://example.org/StructureDefinition/shade"},
            {"path": "Extension.value[x]", "min": 1, "type": [{"code": "code"}]},
        ]
    },
}
KNOWN = {each["url"]: each for each in (COLOURS, NAMED, SHADE, *profiles.resources())}


def wrong(resource: dict[str, Any], *elements: dict[str, Any], **more: Any) -> list[tuple[str, str, str | None]]:
    """(severity, code, path) by a profile of these elements."""
    type = resource["resourceType"]
    base = {"type": type, "baseDefinition": f"{CORE}{type}", "differential": {"element": [{"path": type}, *elements]}}
    profile = {"resourceType": "StructureDefinition", "url": URL, **base, **more}

    def find(type: str, url: str) -> Mapping[str, Any] | None:
        found = {**KNOWN, URL: profile}.get(url.partition("|")[0])
        return found if found is not None and found["resourceType"] == type else None

    return [(each.severity, each.code, each.expression) for each in conformance.check(resource, URL, find)]


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def observation(*codes: str, **more: Any) -> dict[str, Any]:
    components = [{"code": {"coding": [{"system": "urn:c", "code": code}]}} for code in codes]
    return {"resourceType": "Observation", "component": components, **more}


RED = {"system": "urn:colour", "code": "red"}
CONTACT = {"path": "Patient.contact", "min": 0}
ELEMENTS: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, str]]]] = {
    "there": (patient(active=True), {"path": "Patient.active", "min": 1}, []),
    "missing": (patient(), {"path": "Patient.active", "min": 1}, [("error", "required", "Patient.active")]),
    "too many": (
        patient(name=[{"family": "a"}, {"family": "b"}]),
        {"path": "Patient.name", "max": "1"},
        [("error", "structure", "Patient.name")],
    ),
    "forbidden": (
        patient(active=True),
        {"path": "Patient.active", "max": "0"},
        [("error", "structure", "Patient.active")],
    ),
    "below what is not there": (patient(), {"path": "Patient.contact.name", "min": 1}, []),
    "below each": (
        patient(contact=[{"name": {"family": "a"}}, {"gender": "male"}]),
        {"path": "Patient.contact.name", "min": 1},
        [("error", "required", "Patient.contact[1].name")],
    ),
    "fixed": (
        patient(gender="male"),
        {"path": "Patient.gender", "fixedCode": "female"},
        [("error", "value", "Patient.gender")],
    ),
    "a fixed flag": (patient(active=True), {"path": "Patient.active", "fixedBoolean": True}, []),
    "pattern": (
        patient(maritalStatus={"coding": [{"code": "x"}, RED], "text": "t"}),
        {"path": "Patient.maritalStatus", "patternCodeableConcept": {"coding": [{"code": "red"}]}},
        [],
    ),
    "another pattern": (
        patient(maritalStatus={"coding": [RED]}),
        {"path": "Patient.maritalStatus", "patternCodeableConcept": {"coding": [{"code": "blue"}]}},
        [("error", "value", "Patient.maritalStatus")],
    ),
    "type": (
        patient(deceasedBoolean=True),
        {"path": "Patient.deceased[x]", "type": [{"code": "dateTime"}]},
        [("error", "structure", "Patient.deceased")],
    ),
    "binding": (
        patient(maritalStatus={"coding": [RED]}),
        {"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": COLOURS["url"]}},
        [],
    ),
    "outside a binding": (
        patient(maritalStatus={"coding": [{"system": "urn:else", "code": "red"}]}),
        {"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": COLOURS["url"]}},
        [("error", "code-invalid", "Patient.maritalStatus")],
    ),
    "a binding nobody can list": (
        patient(maritalStatus={"coding": [RED]}),
        {"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": "http://example.org/none"}},
        [("information", "not-supported", "Patient.maritalStatus")],
    ),
    "target": (
        patient(managingOrganization={"reference": "Patient/1"}),
        {
            "path": "Patient.managingOrganization",
            "type": [{"code": "Reference", "targetProfile": [f"{CORE}Organization"]}],
        },
        [("error", "structure", "Patient.managingOrganization")],
    ),
    "length": (
        patient(name=[{"family": "abc"}]),
        {"path": "Patient.name.family", "maxLength": 2},
        [("error", "too-long", "Patient.name[0].family")],
    ),
}
CONSTRAINTS = {
    "kept": ("name.exists() or telecom.exists()", []),
    "broken": ("telecom.count() > 1 and name.exists()", [("error", "invariant", "Patient")]),
    "matches": ("name.family.matches('^[a-z]+$')", []),
    "not understood": ("name.frobnicate()", [("information", "not-supported", "Patient")]),
    "traces": ("name.trace('x').exists()", []),
    "traces a part": ("name.trace('x', family).exists()", []),
    "needs what is elsewhere": ("name.resolve().exists()", [("information", "not-supported", "Patient")]),
    "for ever": ("name.family.matches('^(a|aa)+$')", []),
    "looks ahead": ("name.family.matches('^(?!b)a')", [("information", "not-supported", "Patient")]),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements(name: str) -> None:
    """What is said of an element holds for each such element, and is told by its path."""
    resource, element, expected = ELEMENTS[name]

    assert expected == wrong(resource, element)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_invariants(name: str) -> None:
    """An invariant is FHIRPath; what cannot be evaluated, or may take for ever, is told."""
    expression, expected = CONSTRAINTS[name]
    constraint = {"key": "x-1", "severity": "error", "human": "it is so", "expression": expression}

    assert expected == wrong(
        patient(name=[{"family": "a"}]),
        {"path": "Patient.name"},
        differential={"element": [{"path": "Patient", "constraint": [constraint]}]},
    )


def sliced(type: str, path: str, rules: str = "open") -> dict[str, Any]:
    slicing = {"discriminator": [{"type": type, "path": path}], "rules": rules}
    return {"id": "Observation.component", "path": "Observation.component", "slicing": slicing}


def slice_of(name: str, code: str, **more: Any) -> list[dict[str, Any]]:
    id = f"Observation.component:{name}"
    coding = {"patternCodeableConcept": {"coding": [{"code": code}]}}
    return [
        {"id": id, "path": "Observation.component", "sliceName": name, **more},
        {"id": f"{id}.code", "path": "Observation.component.code", **coding},
    ]


@pytest.mark.parametrize("kind", ["value", "pattern"])
def test_slices(kind: str) -> None:
    """A slice is counted, and what is said of it holds for what goes by it alone."""
    low, high = slice_of("low", "l", min=1, max="1"), slice_of("high", "h", max="1")
    value = {"id": "Observation.component:high.value[x]", "path": "Observation.component.value[x]", "min": 1}
    elements = [sliced(kind, "code"), *low, *high, value]

    assert [] == wrong(observation("l", "other"), *elements)
    assert [("error", "required", "Observation.component")] == wrong(observation("other"), *elements)
    assert [
        ("error", "structure", "Observation.component"),
        ("error", "required", "Observation.component[2].value"),
    ] == wrong(observation("l", "l", "h"), *elements)


def test_slices_by_a_slice_below() -> None:
    """The value that tells a slice may itself stand in a slice: https://hl7.org/fhir/R4/bp.html"""
    id = "Observation.component:low"
    low = {"id": id, "path": "Observation.component", "sliceName": "low", "min": 1}
    slicing = {"discriminator": [{"type": "value", "path": "code"}], "rules": "open"}
    codings = {"id": f"{id}.code.coding", "path": "Observation.component.code.coding", "slicing": slicing}
    coding = {"id": f"{id}.code.coding:c", "path": "Observation.component.code.coding", "sliceName": "c"}
    code = {"id": f"{id}.code.coding:c.code", "path": "Observation.component.code.coding.code", "fixedCode": "l"}
    elements = [sliced("value", "code.coding.code"), low, codings, coding, code]

    assert [] == wrong(observation("x", "l"), *elements)
    assert [("error", "required", "Observation.component")] == wrong(observation("x"), *elements)


def test_closed() -> None:
    """What is in no slice is refused where the slicing is closed."""
    elements = [sliced("value", "code", "closed"), *slice_of("low", "l")]

    assert [("error", "structure", "Observation.component[1]")] == wrong(observation("l", "x"), *elements)


def test_slices_by_type_and_existence() -> None:
    """Discriminators by the type of a choice, and by whether an element is there."""
    texts = {"id": "Observation.component:t", "path": "Observation.component", "sliceName": "t", "max": "1"}
    value = {"id": "Observation.component:t.value[x]", "path": "Observation.component.value[x]"}
    two = observation(component=[{"valueString": "a"}, {"valueString": "b"}, {"valueInteger": 1}, {}])

    by_type = wrong(two, sliced("type", "value"), texts, {**value, "type": [{"code": "string"}]})
    by_existence = wrong(two, sliced("exists", "value"), {**texts, "max": "2"}, {**value, "min": 1})

    assert [("error", "structure", "Observation.component")] == by_type == by_existence


def test_slices_that_are_not_told_apart() -> None:
    """What cannot be checked is told once it matters."""
    slice = {"id": "Observation.component:a", "path": "Observation.component", "sliceName": "a", "min": 1}
    found = wrong(observation("x"), sliced("value", "code"), slice)

    assert [("information", "not-supported", "Observation.component[0]")] == found
    assert [] == wrong({"resourceType": "Observation"}, sliced("value", "code"), {**slice, "min": 0})


def test_extension_slice() -> None:
    """An extension is told by its url, and is as its own definition says."""
    slice = {
        "id": "Patient.extension:shade",
        "path": "Patient.extension",
        "sliceName": "shade",
        "min": 1,
        "type": [{"code": "Extension", "profile": [SHADE["url"]]}],
    }
    given = {"url": SHADE["url"], "valueCode": "dark"}

    assert [] == wrong(patient(extension=[given]), slice)
    assert [("error", "required", "Patient.extension")] == wrong(patient(), slice)
    assert [("error", "structure", "Patient.extension[0].value")] == wrong(
        patient(extension=[{"url": SHADE["url"], "valueString": "dark"}]), slice
    )


def test_derived() -> None:
    """What the profile is derived from counts too."""
    found = wrong(patient(), {"path": "Patient.active", "min": 1}, baseDefinition=NAMED["url"])

    assert [("error", "required", "Patient.name"), ("error", "required", "Patient.active")] == found


def test_profiles_that_name_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes in a circle, in nine ways at each turn, ends."""
    monkeypatch.setattr(conformance, "_SECONDS", 0.1)
    many = [{"code": "HumanName", "profile": [f"{URL}/{number}" for number in range(9)]}]
    given, began = {"path": "HumanName.given", "min": 1}, time.monotonic()
    circle = {"type": "HumanName", "differential": {"element": [{"path": "HumanName", "type": many}, given]}}
    profile = {**NAMED, "differential": {"element": [{"path": "Patient.name", "type": many}]}}

    found = conformance.check(patient(name=[{}]), URL, lambda type, url: profile if url == URL else circle)

    assert [("information", "Patient")] == [(each.severity, each.expression) for each in found]
    assert time.monotonic() - began < 2


def test_of_another_type() -> None:
    """A profile of another type is told, and so is one that is unknown."""
    resource = {"resourceType": "Basic"}

    assert [("error", "structure", "Basic")] == wrong(
        resource, baseDefinition=NAMED["url"], differential={"element": []}
    )
    assert [("error", "structure", "Basic")] == [
        (each.severity, each.code, each.expression)
        for each in conformance.check(resource, f"{CORE}Patient", lambda type, url: None)
    ]


def test_own_profiles() -> None:
    """Those that resources name themselves, in a Bundle too; an unknown one is a warning."""
    inner = patient(meta={"profile": [NAMED["url"], "http://example.org/none"]})
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}

    found = conformance.check_own(bundle, lambda type, url: KNOWN.get(url))

    assert [
        ("error", "required", "Bundle.entry[0].resource.name"),
        ("warning", "not-found", "Bundle.entry[0].resource"),
    ] == [(each.severity, each.code, each.expression) for each in found]


def test_own_extensions() -> None:
    """The extensions of this server are as profiles/ defines them."""
    photo = {"contentType": "image/png", "extension": [{"url": GET_URL, "valueString": "x"}, {"url": "http://x.y/z"}]}

    found = conformance.check_own(patient(photo=[photo]), lambda type, url: KNOWN.get(url))

    assert [
        ("error", "structure", "Patient.photo[0].extension[0].value"),
        ("information", "not-found", "Patient.photo[0].extension[1]"),
    ] == [(each.severity, each.code, each.expression) for each in found]
