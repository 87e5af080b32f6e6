"""Resources right by R4 itself, or wrong in one point: the element meant stands beside each."""

from __future__ import annotations

from typing import Any

from tests.validator.elements import BASE, coded
from tests.validator.resources import CODE, NAME, allergy, bundle, component, item, observation, patient, resource

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
    "unknown-code": (observation(code=coded("mauve")), "Observation.code.coding[0]"),
    "unknown-profile": (patient("nobody-knows", active=True), ""),
    "status": (allergy("active"), ""),
    "status-other": ({**allergy("active"), "clinicalStatus": coded("red")}, "AllergyIntolerance.clinicalStatus"),
}
