"""Resources right by a profile of guides.py, or wrong in one point: the element meant stands beside each."""

from __future__ import annotations

from typing import Any

from tests.validator.elements import BASE, GREEN, RED, coded
from tests.validator.guides import CATEGORY, LISTING, MARITAL, ROLES, UNITS, loinc
from tests.validator.r4_cases import Case
from tests.validator.resources import (
    MRN,
    NAME,
    component,
    extended,
    milligrams,
    observation,
    patient,
    resource,
)

LAB = {"coding": [{"system": CATEGORY, "code": "laboratory"}]}
VITAL = {"coding": [{"system": CATEGORY, "code": "vital-signs"}]}
HOME = {"system": "phone", "use": "home", "value": "1"}
PASS = {"system": "urn:a:pass", "value": "1", "period": {"start": "2020"}}


def married(code: str) -> dict[str, Any]:
    return {"coding": [{"system": MARITAL, "code": code}]}


def core(**more: Any) -> dict[str, Any]:
    return patient("core-patient", **{"identifier": [MRN], "name": [NAME], **more})


def pressure(value: Any) -> dict[str, Any]:
    return {"value": value, "unit": "mmHg", "system": UNITS, "code": "mm[Hg]"}


def part(code: str, **more: Any) -> dict[str, Any]:
    return {"code": loinc(code), **more}


SYSTOLIC, DIASTOLIC = part("8480-6", valueQuantity=pressure(120)), part("8462-4", valueQuantity=pressure(80))


def blood(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {
        "category": [VITAL],
        "code": loinc("85354-9"),
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2020-01-01T10:00:00Z",
        "component": list(parts),
        **more,
    }
    return observation("core-bp", **said)


def lab(**more: Any) -> dict[str, Any]:
    return observation("core-lab", **{"category": [LAB], "valueQuantity": milligrams(1), **more})


def animal(code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{BASE}/CodeSystem/animal", "code": code}]}


def relative(code: str) -> dict[str, Any]:
    relationship = [{"coding": [{"system": ROLES, "code": code}]}]
    return resource(
        "RelatedPerson", ("relatives",), {"patient": {"reference": "Patient/1"}, "relationship": relationship}
    )


def categories(*codes: str) -> dict[str, Any]:
    return observation("resliced-category", category=[coded(code) for code in codes])


ACTIVE = patient(id="p", active=True)
CORE_LIKE: dict[str, Case] = {
    "core": (core(maritalStatus=married("M")), ""),
    "core-marital": (core(maritalStatus=coded("red")), "Patient.maritalStatus"),
    "core-identifier": (core(identifier=[{"value": "1"}]), "Patient.identifier[0].system"),
    "core-name": (core(name=[{"text": "Ada"}]), "Patient.name[0]"),
    "bp": (blood(SYSTOLIC, DIASTOLIC), ""),
    "bp-one": (blood(SYSTOLIC, part("8867-4", valueQuantity=pressure(1))), "Observation.component"),
    "bp-unit": (
        blood(part("8480-6", valueQuantity={**pressure(1), "code": "/min", "unit": "/min"}), DIASTOLIC),
        "Observation.component[0].value.code",
    ),
    "bp-year": (blood(SYSTOLIC, DIASTOLIC, effectiveDateTime="2020"), "Observation.effective"),
    "bp-category": (blood(SYSTOLIC, DIASTOLIC, category=[LAB]), "Observation.category"),
    "bp-code": (blood(SYSTOLIC, DIASTOLIC, code=loinc("8480-6")), "Observation.code"),
    "lab": (lab(), ""),
    "lab-concept": ({**lab(valueCodeableConcept=coded("red")), "valueQuantity": None}, ""),
    "lab-code": (lab(valueQuantity={"value": 1, "unit": "mg"}), "Observation.value.code"),
    "lab-text": ({**lab(valueCodeableConcept={"text": "x"}), "valueQuantity": None}, "Observation.value.coding"),
    "lab-string": ({**lab(valueString="x"), "valueQuantity": None}, "Observation.value"),
    "lab-category": (lab(category=[VITAL]), "Observation.category"),
    "category": (categories("red", "green"), ""),
    "category-none": (categories("green"), "Observation.category"),
    "category-twice": (categories("red", "red"), "Observation.category"),
    "category-many": (categories("red", "green", "green", "green"), "Observation.category"),
    "identifier": (patient("by-identifier-profile", identifier=[PASS, MRN]), ""),
    "identifier-none": (patient("by-identifier-profile", identifier=[PASS]), "Patient.identifier"),
    "identifier-below": (
        patient("by-identifier-profile", identifier=[{"system": "urn:a:mrn"}]),
        "Patient.identifier[0].value",
    ),
    "either": (patient("either-identifier", identifier=[PASS, MRN]), ""),
    "either-none": (patient("either-identifier", identifier=[MRN, {"value": "1"}]), "Patient.identifier[1]"),
    "telecom": (patient("two-discriminators", telecom=[{**HOME, "use": "work"}, HOME]), ""),
    "telecom-none": (patient("two-discriminators", telecom=[{**HOME, "use": "work"}]), "Patient.telecom"),
    "telecom-twice": (patient("two-discriminators", telecom=[HOME, HOME]), "Patient.telecom"),
    "nested": (
        observation(
            "nested-coding",
            component=[{"code": {"coding": [{**GREEN, "system": "urn:x:y"}, {**RED, "display": "red"}]}}],
        ),
        "",
    ),
    "nested-below": (
        observation("nested-coding", component=[component("red")]),
        "Observation.component[0].code.coding[0].display",
    ),
    "nested-none": (observation("nested-coding", component=[component("green")]), "Observation.component"),
    "shortcut": (observation("shortcut", valueQuantity=milligrams(1)), ""),
    "shortcut-none": (observation("shortcut", valueQuantity={"value": 1}), "Observation.value.code"),
    "no-quantity": (observation("no-quantity", valueString="x"), ""),
    "no-quantity-there": (observation("no-quantity", valueQuantity=milligrams(1)), "Observation.value"),
    "two-types": (observation("two-types", valueString="x"), ""),
    "two-types-other": (observation("two-types", valueBoolean=True), "Observation.value"),
    "ranged": (observation("ranged", component=[component("red", referenceRange=[{"text": "x"}])]), ""),
    "ranged-none": (
        observation("ranged", component=[component("red", referenceRange=[{"low": milligrams(1)}])]),
        "Observation.component[0].referenceRange[0].text",
    ),
    "ranged-top": (
        observation("ranged-top", component=[component("red", referenceRange=[{"low": milligrams(1)}])]),
        "",
    ),
    "ranged-top-none": (
        observation("ranged-top", referenceRange=[{"low": milligrams(1)}]),
        "Observation.referenceRange[0].text",
    ),
    "pattern-reference": (
        observation("pattern-reference", subject={"reference": "Patient/1", "type": "Patient"}),
        "",
    ),
    "pattern-reference-other": (
        observation("pattern-reference", subject={"reference": "Group/1", "type": "Group"}),
        "Observation.subject.type",
    ),
    "pattern-type": (patient("pattern-type", identifier=[{**MRN, "type": {**coded("red"), "text": "x"}}]), ""),
    "pattern-type-other": (
        patient("pattern-type", identifier=[{**MRN, "type": coded("green")}]),
        "Patient.identifier[0].type",
    ),
    "must-name": (patient("must-name", contact=[{"name": NAME, "relationship": [coded("red")]}]), ""),
    "must-name-deep": (
        patient("must-name", contact=[{"name": NAME, "relationship": [{"coding": [{"display": "x"}]}]}]),
        "Patient.contact[0].relationship[0].coding[0].code",
    ),
    "doubtful": (patient("doubtful", modifierExtension=[extended("doubt", valueBoolean=True)]), ""),
    "doubtful-none": (patient("doubtful", active=True), "Patient.modifierExtension"),
    "closed-extensions": (patient("closed-extensions", extension=[extended("shade", valueCode="x")]), ""),
    "closed-extensions-other": (
        patient("closed-extensions", extension=[extended("weight", valueDecimal=1.5)]),
        "Patient.extension[0]",
    ),
    "either-target": (observation("either-target", subject={"reference": "Group/1"}), ""),
    "either-target-other": (observation("either-target", subject={"reference": "Device/1"}), "Observation.subject"),
    "either-target-here": (
        observation("either-target", contained=[ACTIVE], subject={"reference": "#p"}),
        "Observation.subject",
    ),
    "animals": (observation("animals", code=animal("penguin")), ""),
    "animals-other": (observation("animals", code=animal("fish")), "Observation.code"),
    "animals-imported-other": (observation("animals-imported", code=animal("fish")), "Observation.code"),
    "animals-imported": (observation("animals-imported", code=animal("bird")), ""),
    "animals-excluded": (observation("animals-excluded", code=animal("bird")), ""),
    "animals-excluded-other": (observation("animals-excluded", code=animal("fish")), "Observation.code"),
    "relatives": (relative("NMTH"), ""),
    "relatives-other": (relative("SIS"), "RelatedPerson.relationship[0]"),
    "member": (observation("member", code=animal("penguin")), ""),
    "member-other": (observation("member", code=animal("fish")), "Observation"),
    "resolving": (observation("resolving", contained=[ACTIVE], subject={"reference": "#p"}), ""),
    "resolving-other": (
        observation("resolving", contained=[patient(id="p", active=False)], subject={"reference": "#p"}),
        "Observation",
    ),
}


def section(code: str, *references: str, **more: Any) -> dict[str, Any]:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    entries = {"entry": [{"reference": each} for each in references]} if references else {}
    return {"title": code, "code": loinc(code), "text": text, **entries, **more}


def summary(*sections: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {
        "id": "c",
        "status": "final",
        "type": loinc("60591-5"),
        "subject": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000002"},
        "date": "2020-01-01",
        "author": [{"reference": "urn:uuid:00000000-0000-4000-8000-000000000002"}],
        "title": "Summary",
        "section": list(sections),
        **more,
    }
    return resource("Composition", (), said)


def document(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012}", "resource": each}
        for number, each in enumerate(resources, start=1)
    ]
    identifier = {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:00000000-0000-4000-8000-000000000000"}
    said = {"identifier": identifier, "type": "document", "timestamp": "2020-01-01T00:00:00Z", "entry": entries}
    return resource("Bundle", ("ips-bundle",), said)


SUBJECT = {"reference": "urn:uuid:00000000-0000-4000-8000-000000000002"}
PERSON = patient(id="p", name=[NAME])
PROBLEM = resource("Condition", (), {"id": "k", "subject": SUBJECT})
MEASURED = observation(id="o", category=[LAB], subject=SUBJECT, valueQuantity=milligrams(1))
THIRD, FOURTH = (f"urn:uuid:00000000-0000-4000-8000-00000000000{number}" for number in (3, 4))
PROBLEMS = section("11450-4", THIRD)
FAR_SUBJECT = {"subject": {"display": "far away"}}
FAR = {**FAR_SUBJECT, "author": [{"display": "far away"}]}
SUMMARY_LIKE: dict[str, Case] = {
    "ips": (document(summary(PROBLEMS), PERSON, PROBLEM), ""),
    "ips-results": (document(summary(PROBLEMS, section("30954-2", FOURTH)), PERSON, PROBLEM, MEASURED), ""),
    "ips-no-patient": (
        document(summary(section("11450-4", SUBJECT["reference"]), **FAR), {**PROBLEM, **FAR_SUBJECT}),
        "Bundle.entry",
    ),
    "ips-no-problem": (
        document(summary(section("11450-4", THIRD)), PERSON, MEASURED),
        "Bundle.entry[0].resource.section[0].entry",
    ),
    "ips-no-section": (
        document(summary(section("30954-2", THIRD)), PERSON, MEASURED),
        "Bundle.entry[0].resource.section",
    ),
    "ips-title": (
        document(summary({**PROBLEMS, "title": None}), PERSON, PROBLEM),
        "Bundle.entry[0].resource.section[0].title",
    ),
    "ips-results-other": (
        document(summary(PROBLEMS, section("30954-2", FOURTH)), PERSON, PROBLEM, {**MEASURED, "category": [VITAL]}),
        "Bundle.entry[0].resource.section[1].entry",
    ),
}


BLOB = "urn:uuid:00000000-0000-4000-8000-000000000003"


def shared(**more: Any) -> dict[str, Any]:
    said = {
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"},
        "status": "current",
        "type": coded("red"),
        "contained": [patient(id="p", name=[NAME])],
        "context": {"sourcePatientInfo": {"reference": "#p"}},
        "content": [{"attachment": {"contentType": "application/pdf", "url": BLOB, "size": 9}}],
        **more,
    }
    return resource("DocumentReference", ("mhd-document",), said)


def listing(**more: Any) -> dict[str, Any]:
    said = {
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": LISTING, "code": "submissionset"}]},
        "subject": {"reference": "Patient/1"},
        "entry": [{"item": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000002"}}],
        **more,
    }
    return resource("List", ("mhd-list",), said)


def provided(*resources: dict[str, Any], method: str = "POST") -> dict[str, Any]:
    entries = [
        {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
            "resource": each,
            "request": {"method": method if number == 1 else "POST", "url": each["resourceType"]},
        }
        for number, each in enumerate(resources, start=1)
    ]
    return resource("Bundle", ("mhd-bundle",), {"type": "transaction", "entry": entries})


BYTES = {"resourceType": "Binary", "contentType": "application/pdf", "data": "aGk="}
SHARED_LIKE: dict[str, Case] = {
    "mhd": (shared(), ""),
    "mhd-elsewhere": (
        shared(context={"sourcePatientInfo": {"reference": "Patient/1"}}, contained=None),
        "DocumentReference.context.sourcePatientInfo",
    ),
    "mhd-no-context": (shared(context=None, contained=None), "DocumentReference.context"),
    "mhd-size": (
        shared(content=[{"attachment": {"contentType": "application/pdf", "url": BLOB, "size": 1001}}]),
        "DocumentReference.content[0].attachment.size",
    ),
    "mhd-no-type": (
        shared(content=[{"attachment": {"url": BLOB, "size": 1}}]),
        "DocumentReference.content[0].attachment.contentType",
    ),
    "mhd-bundle": (provided(listing(), shared(), BYTES), ""),
    "mhd-bundle-method": (
        provided(listing(), shared(), BYTES, method="PUT"),
        "Bundle.entry[0].request.method",
    ),
    "mhd-bundle-none": (provided(shared()), "Bundle.entry"),
    "mhd-bundle-other": (provided(listing(), shared(), patient(active=True)), "Bundle.entry[2]"),
}


def _there(value: Any) -> Any:
    """Without what is None."""
    if isinstance(value, dict):
        return {name: _there(each) for name, each in value.items() if each is not None}
    return [_there(each) for each in value] if isinstance(value, list) else value


GUIDE_CASES: dict[str, Case] = {
    f"guide-{name}": (_there(given), element)
    for name, (given, element) in {**CORE_LIKE, **SUMMARY_LIKE, **SHARED_LIKE}.items()
}
