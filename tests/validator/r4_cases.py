"""Resources right by R4 itself, or wrong in one point: the element meant stands beside each."""

from __future__ import annotations

from typing import Any

from tests.validator.elements import BASE, CORE, coded
from tests.validator.resources import (
    CODE,
    NAME,
    UNITS,
    allergy,
    bundle,
    component,
    item,
    milligrams,
    observation,
    patient,
    resource,
)

GROUP = {"type": "person", "actual": True}
BEATS = {"value": 60, "unit": "beats/minute", "system": UNITS, "code": "/min"}
HEART = {
    "status": "final",
    "category": [
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}
    ],
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2020-01-01",
}


def document(reference: str, *resources: dict[str, Any]) -> dict[str, Any]:
    """A document, of which a section names the reference."""
    code = {"coding": [{"system": "http://loinc.org", "code": "11450-4"}]}
    said = {"id": "c", "status": "final", "type": code, "date": "2020", "author": [{"display": "x"}], "title": "x"}
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    section = {"title": "x", "code": code, "text": text, "entry": [{"reference": reference}]}
    made = bundle(resources=[resource("Composition", (), {**said, "section": [section]}), *resources])
    identifier = {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:00000000-0000-4000-8000-000000000000"}
    return {**made, "type": "document", "timestamp": "2020-01-01T00:00:00Z", "identifier": identifier}


# By name the resource, and the element that is in error, '' where none is.
Case = tuple[dict[str, Any], str]

CONSTRAINTS: dict[str, Case] = {
    "pat-1": (patient(contact=[{"name": NAME}, {"gender": "male"}]), "Patient.contact[1]"),
    "cpt-2": (patient(telecom=[{"value": "1"}]), "Patient.telecom[0]"),
    "obs-6": (observation(valueString="x", dataAbsentReason={"text": "x"}), "Observation"),
    "obs-7": (
        observation(code=coded("red"), valueString="x", component=[component("red", valueString="x")]),
        "Observation",
    ),
    "obs-7-kept": (
        observation(code=coded("red"), valueString="x", component=[component("green", valueString="x")]),
        "",
    ),
    "org-1": (resource("Organization", (), {"active": True}), "Organization"),
    "org-2": (resource("Organization", (), {"name": "x", "address": [{"use": "home"}]}), "Organization.address[0]"),
    "bdl-1": ({**bundle(resources=[patient(id="1", active=True)]), "total": 1}, "Bundle"),
    "que-3": (
        resource("Questionnaire", (), {"status": "draft", "item": [item("a", type="display", **CODE)]}),
        "Questionnaire.item[0]",
    ),
    "obs-3": (observation(referenceRange=[{"appliesTo": [{"text": "x"}]}]), "Observation.referenceRange[0]"),
    "tim-5": (
        resource(
            "ServiceRequest",
            (),
            {
                "status": "active",
                "intent": "order",
                "subject": {"reference": "Patient/1"},
                "occurrenceTiming": {"repeat": {"period": -1, "periodUnit": "d"}},
            },
        ),
        "ServiceRequest.occurrence.repeat",
    ),
    "dom-3": (observation(contained=[patient(id="p", active=True)]), "Observation.contained[0]"),
    "dom-3-kept": (
        resource(
            "Organization",
            (),
            {"name": "x", "contained": [patient(id="p", managingOrganization={"reference": "#"})]},
        ),
        "",
    ),
    "contained-twice": (
        observation(
            contained=[patient(id="p", active=True), patient(id="p", active=False)], subject={"reference": "#p"}
        ),
        "Observation.contained[1]",
    ),
    "relative-url": (patient(extension=[{"url": "shade", "valueCode": "x"}]), "Patient.extension[0]"),
    "full-url": (
        {**bundle(resources=[]), "entry": [{"fullUrl": f"{BASE}/Patient/2", "resource": patient(id="1", active=True)}]},
        "Bundle.entry[0]",
    ),
    "canonical": (
        resource("QuestionnaireResponse", (), {"status": "completed", "questionnaire": "Questionnaire/1"}),
        "QuestionnaireResponse.questionnaire",
    ),
    "canonical-local": (
        resource(
            "QuestionnaireResponse",
            (),
            {
                "status": "completed",
                "questionnaire": "#q",
                "contained": [resource("Questionnaire", (), {"id": "q", "status": "draft"})],
            },
        ),
        "",
    ),
    "uuid": (patient(identifier=[{"system": "urn:uuid:1", "value": "1"}]), "Patient.identifier[0].system"),
    "oid": (patient(identifier=[{"system": "urn:oid:1.2.", "value": "1"}]), "Patient.identifier[0].system"),
    "identifier-uri": (
        patient(identifier=[{"system": "urn:ietf:rfc:3986", "value": "1.2.3"}]),
        "Patient.identifier[0]",
    ),
    "rng-2": (
        observation(valueRange={"low": milligrams(2), "high": milligrams(1)}),
        "Observation.value",
    ),
    "rng-2-kept": (observation(valueRange={"low": milligrams(1), "high": milligrams(1)}), ""),
    "unit": (observation(valueQuantity=milligrams(1, code="mmHg")), "Observation.value"),
    "unit-scale": (observation(valueQuantity=milligrams(1, code="[pH]")), ""),
    "target": (observation(performer=[{"reference": "Encounter/1"}]), "Observation.performer[0]"),
    "target-here": (
        observation(contained=[resource("Group", (), {"id": "g", **GROUP})], performer=[{"reference": "#g"}]),
        "Observation.performer[0]",
    ),
    "vital": (
        resource("Observation", (), {"meta": {"profile": [f"{CORE}/heartrate"]}, **HEART, "valueQuantity": BEATS}),
        "",
    ),
    "vital-unit": (
        resource(
            "Observation", (), {"meta": {"profile": [f"{CORE}/heartrate"]}, **HEART, "valueQuantity": milligrams(1)}
        ),
        "Observation.value.code",
    ),
    "birth-place": (
        patient(extension=[{"url": f"{CORE}/patient-birthPlace", "valueString": "x"}]),
        "Patient.extension[0].value",
    ),
    "document": (document("Patient/1", patient(id="1", active=True)), ""),
    "document-part": (
        document("Patient/2", patient(id="1", active=True)),
        "Bundle.entry[0].resource.section[0].entry[0]",
    ),
    "unknown-code": (observation(code=coded("mauve")), "Observation.code.coding[0]"),
    "unknown-profile": (patient("nobody-knows", active=True), ""),
    "status": (allergy("active"), ""),
    "status-other": ({**allergy("active"), "clinicalStatus": coded("red")}, "AllergyIntolerance.clinicalStatus"),
}
