"""What a profile's rules tell beside errors: what is better otherwise, and what could not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fhir_blob.fhir import codec
from fhir_blob.fhir.profiling import conformance, constraints
from tests.validator.cases import CASES
from tests.validator.conformance import RESOURCES
from tests.validator.elements import BASE, binding, coded, element, extension, profile, slicing, url
from tests.validator.resources import NAME, bundle, extended, milligrams, observation, patient

ELSEWHERE = {"strength": "required", "valueSet": f"{BASE}/ValueSet/elsewhere"}
PROFILE = "checked"
UNCHECKED = ("information", "not-supported")


def told(resource: dict[str, Any], *elements: dict[str, Any], **more: Any) -> list[tuple[str, str, str | None]]:
    """(severity, code, path) by a profile of these elements."""
    made = {**profile(PROFILE, resource["resourceType"], *elements), **more}
    return [(each.severity, each.code, each.expression) for each in _by(resource, made)]


def _by(resource: dict[str, Any], *further: dict[str, Any]) -> list[Any]:
    known = {(each["resourceType"], each["url"]): each for each in (*RESOURCES, *further)}

    def find(type: str, url: str) -> Mapping[str, Any] | None:
        return known.get((type, url.partition("|")[0]))

    return conformance.check_own({**resource, "meta": {"profile": [url(PROFILE)]}}, find)


STRENGTHS = {
    "required": [("error", "code-invalid", "Patient.maritalStatus")],
    "extensible": [("warning", "code-invalid", "Patient.maritalStatus")],
    "preferred": [("information", "code-invalid", "Patient.maritalStatus")],
    "example": [],
}


@pytest.mark.parametrize("strength", STRENGTHS)
def test_strengths(strength: str) -> None:
    """A code outside of the value set weighs as the binding is strong."""
    bound = element("Patient.maritalStatus", binding=binding(strength))

    assert STRENGTHS[strength] == told(patient(maritalStatus=coded("green")), bound)


UNKNOWN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a value set that is elsewhere": (
        patient(maritalStatus=coded("red")),
        element("Patient.maritalStatus", binding=ELSEWHERE),
        "Patient.maritalStatus",
    ),
    "a limit in another unit": (
        observation(valueQuantity=milligrams(1)),
        element("Observation.value[x]", minValueQuantity={"value": 1, "unit": "g"}),
        "Observation.value",
    ),
    "the profile of what is elsewhere": (
        observation(subject={"reference": "Patient/1"}),
        element("Observation.subject", type=[{"code": "Reference", "targetProfile": [url("count")]}]),
        "Observation.subject",
    ),
    "an unknown profile of what is here": (
        observation(subject={"reference": "#p"}, contained=[patient(id="p", active=True)]),
        element("Observation.subject", type=[{"code": "Reference", "targetProfile": [url("nobody-knows")]}]),
        "Observation.subject",
    ),
    "an invariant without FHIRPath": (
        patient(active=True),
        element("Patient.active", constraint=[{"key": "x-1", "severity": "error", "human": "so", "xpath": "f:a"}]),
        "Patient.active",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unchecked(name: str) -> None:
    """What cannot be checked is told as an information, never passed in silence."""
    resource, said, path = UNKNOWN[name]

    assert [(*UNCHECKED, path)] == told(resource, said)


DISCRIMINATORS = {
    "no such function": slicing("value", "code.where(x='y')"),
    "no value": slicing("value", "code"),
    "an extension that nobody fixes": slicing("value", "extension('urn:x').value"),
    "no such kind": slicing("position", "$this"),
    "neither there nor not": slicing("exists", "value"),
    "no discriminator": {"rules": "open"},
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_unclear_slices(name: str) -> None:
    """A discriminator that cannot be evaluated is told, at the first element that it is asked of."""
    resource = observation(component=[{"code": coded("red"), "valueString": "x"}])
    sliced = element("Observation.component", slicing=DISCRIMINATORS[name])

    found = told(resource, sliced, element("Observation.component:a", min=1))

    assert [(*UNCHECKED, "Observation.component[0]")] == found


def test_slices_of_what_is_elsewhere() -> None:
    """A profile of a reference's target tells slices apart only where the target is here."""
    elements = [
        element("Observation.hasMember", slicing=slicing("profile", "resolve()")),
        element(
            "Observation.hasMember:named",
            min=1,
            max="1",
            type=[{"code": "Reference", "targetProfile": [url("count")]}],
        ),
    ]
    here = observation(contained=[patient(id="p", name=[NAME])], hasMember=[{"reference": "#p"}])

    assert [] == told(here, *elements)
    assert [(*UNCHECKED, "Observation.hasMember[0]")] == told(
        observation(hasMember=[{"reference": "Patient/1"}]), *elements
    )


def test_no_elements() -> None:
    """A profile with neither snapshot nor differential says nothing; that is no approval."""
    made = {name: value for name, value in profile(PROFILE, "Patient").items() if name != "differential"}

    assert [("warning", "not-supported", "Patient")] == [
        (each.severity, each.code, each.expression) for each in _by(patient(active=True), made)
    ]


def test_simple_quantity() -> None:
    """https://hl7.org/fhir/R4/datatypes.html#SimpleQuantity is a profile that every server knows."""
    simple = "http://hl7.org/fhir/StructureDefinition/SimpleQuantity"
    said = element("Observation.value[x]", type=[{"code": "Quantity", "profile": [simple]}])

    assert [] == told(observation(valueQuantity=milligrams(1)), said)
    assert [("error", "invariant", "Observation.value")] == told(
        observation(valueQuantity=milligrams(1, comparator="<")), said
    )


def test_bundled() -> None:
    """A reference is bundled where its target is an entry of the same Bundle, by fullUrl or beside it."""
    made = profile(
        PROFILE, "Observation", element("Observation.subject", type=[{"code": "Reference", "aggregation": ["bundled"]}])
    )
    own = {"meta": {"profile": [url(PROFILE)]}}
    entries = [
        {**observation(id="1", subject={"reference": reference}), **own}
        for reference in ("Patient/1", f"{BASE}/Patient/1/_history/2", "Patient/2")
    ]
    given = bundle(resources=[*entries, patient(id="1", active=True)])
    del given["entry"][2]["fullUrl"]

    found = conformance.check_own(given, lambda type, url: made if url == made["url"] else None)

    assert [("error", "Bundle.entry[2].resource.subject")] == [(each.severity, each.expression) for each in found]


def test_contexts() -> None:
    """An extension may stand in another, or where FHIRPath leads."""
    inner = extended("of-shade", valueString="x")
    led = extension("led", element("Extension.value[x]", min=1), context="Patient.name.first()", kind="fhirpath")
    names = [{"family": "a"}, {"family": "b", "extension": [extended("led", valueString="x")]}]

    below = _by(patient(extension=[extended("shade", valueCode="x", extension=[inner])]), profile(PROFILE, "Patient"))
    second = _by(patient(name=names), profile(PROFILE, "Patient"), led)

    assert [] == below
    assert [("error", "extension", "Patient.name[1].extension[0]")] == [
        (each.severity, each.code, each.expression) for each in second
    ]
    assert [] == _by(patient(name=names[1:]), profile(PROFILE, "Patient"), led)


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not done in time is told once, by profiles and by R4's own constraints."""
    monkeypatch.setattr(conformance, "_SECONDS", -1.0)
    monkeypatch.setattr(constraints, "_SECONDS", -1.0)
    resource = codec.parse(b'{"resourceType": "Patient", "name": [{}, {}]}')

    assert [(*UNCHECKED, "Patient")] == told(
        resource, element("Patient.name", min=3), element("Patient.name.use", min=1)
    )
    assert [(*UNCHECKED, "Patient")] == [
        (each.severity, each.code, each.expression) for each in constraints.check(resource, lambda type, url: None)
    ]


def test_nothing_changes() -> None:
    """A validation leaves resources and profiles as they are."""
    before = repr((CASES, RESOURCES))

    for resource, _ in CASES.values():
        _by(resource, profile(PROFILE, resource["resourceType"]))
        list(constraints.check(resource, lambda type, url: None))

    assert before == repr((CASES, RESOURCES))
