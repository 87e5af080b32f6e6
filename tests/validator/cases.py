"""Resources that are right by a profile, or wrong in one point: the element meant stands beside each."""

from __future__ import annotations

from tests.validator.elements import COLOUR, GREEN, RED, coded, url
from tests.validator.guide_cases import GUIDE_CASES
from tests.validator.r4_cases import CONSTRAINTS, Case
from tests.validator.resources import (
    ABSENT,
    CODE,
    MRN,
    MULTI,
    NAME,
    OFFICIAL,
    PHONE,
    RESPONSE,
    TEXT,
    bundle,
    component,
    components,
    extended,
    item,
    milligrams,
    observation,
    patient,
    questionnaire,
    race,
    resource,
)

ELEMENTS: dict[str, Case] = {
    "count": (patient("count", name=[NAME]), ""),
    "count-none": (patient("count", active=True), "Patient.name"),
    "count-many": (patient("count", name=[NAME, NAME, NAME]), "Patient.name"),
    "count-forbidden": (patient("count", name=[NAME], photo=[{"title": "x"}]), "Patient.photo"),
    "below": (patient("below", contact=[{"name": NAME}]), ""),
    "below-nothing": (patient("below", active=True), ""),
    "below-second": (patient("below", contact=[{"name": NAME}, {"telecom": [PHONE]}]), "Patient.contact[1].name"),
    "date-absent": (patient("date", _birthDate={"extension": ABSENT}), ""),
    "fixed-code": (patient("fixed-code", gender="female"), ""),
    "fixed-code-other": (patient("fixed-code", gender="male"), "Patient.gender"),
    "fixed-concept": (patient("fixed-concept", maritalStatus=coded("red")), ""),
    "fixed-concept-more": (
        patient("fixed-concept", maritalStatus={**coded("red"), "text": "x"}),
        "Patient.maritalStatus.text",
    ),
    "fixed-concept-other": (
        patient("fixed-concept", maritalStatus=coded("green")),
        "Patient.maritalStatus.coding[0].code",
    ),
    "fixed-decimal": (observation("fixed-decimal", valueQuantity=milligrams(1.5)), ""),
    "fixed-decimal-other": (observation("fixed-decimal", valueQuantity=milligrams(1.25)), "Observation.value.value"),
    "fixed-boolean-other": (patient("fixed-boolean", active=False), "Patient.active"),
    "fixed-identifier": (patient("fixed-identifier", identifier=[{"system": "urn:a:b", "value": "1"}]), ""),
    "fixed-identifier-less": (
        patient("fixed-identifier", identifier=[{"system": "urn:a:b"}]),
        "Patient.identifier[0].value",
    ),
    "pattern-concept": (patient("pattern-concept", maritalStatus=MULTI), ""),
    "pattern-concept-other": (patient("pattern-concept", maritalStatus=coded("green")), "Patient.maritalStatus"),
    "pattern-identifier": (patient("pattern-identifier", identifier=[{"system": "urn:a:b", "value": "1"}]), ""),
    "pattern-identifier-other": (
        patient("pattern-identifier", identifier=[{"system": "urn:a:c", "value": "1"}]),
        "Patient.identifier[0].system",
    ),
    "pattern-string-other": (patient("pattern-string", name=[{"family": "Ida"}]), "Patient.name[0].family"),
    "pattern-quantity": (observation("pattern-quantity", valueQuantity=milligrams(3)), ""),
    "pattern-quantity-other": (
        observation("pattern-quantity", valueQuantity=milligrams(3, code="g", unit="g")),
        "Observation.value.code",
    ),
    "one-type": (observation("one-type", valueQuantity=milligrams(1)), ""),
    "one-type-other": (observation("one-type", valueString="x"), "Observation.value"),
    "no-value": (observation("no-value", valueString="x"), "Observation.value"),
    "short": (patient("short", name=[NAME]), ""),
    "short-long": (patient("short", name=[{"family": "Lovelace"}]), "Patient.name[0].family"),
    "range-integer": (patient("range-integer", multipleBirthInteger=9), ""),
    "range-integer-less": (patient("range-integer", multipleBirthInteger=0), "Patient.multipleBirth"),
    "range-integer-more": (patient("range-integer", multipleBirthInteger=10), "Patient.multipleBirth"),
    "range-positive-less": (patient("range-positive", telecom=[{"rank": 1}]), "Patient.telecom[0].rank"),
    "range-decimal": (observation("range-decimal", valueQuantity=milligrams(1.5)), ""),
    "range-decimal-more": (observation("range-decimal", valueQuantity=milligrams(1.6)), "Observation.value.value"),
    "range-quantity": (observation("range-quantity", valueQuantity=milligrams(1.5)), ""),
    "range-quantity-more": (observation("range-quantity", valueQuantity=milligrams(2.5)), "Observation.value"),
    "range-date": (patient("range-date", birthDate="1980"), ""),
    "range-date-less": (patient("range-date", birthDate="1899-12-31"), "Patient.birthDate"),
    "range-time": (observation("range-time", valueDateTime="2020-06-01"), ""),
    "range-time-more": (observation("range-time", valueDateTime="2021-06-01"), "Observation.value"),
    "bound": (patient("bound", maritalStatus=coded("orange")), ""),
    "bound-second": (patient("bound", maritalStatus=MULTI), ""),
    "bound-no-system": (patient("bound", maritalStatus={"coding": [{"code": "red"}]}), "Patient.maritalStatus"),
    "bound-other": (patient("bound", maritalStatus=coded("green")), "Patient.maritalStatus"),
    "bound-text": (patient("bound", maritalStatus={"text": "red"}), "Patient.maritalStatus"),
    "bound-extensibly": (patient("bound-extensibly", maritalStatus=coded("red")), ""),
    "bound-extensibly-other": (patient("bound-extensibly", maritalStatus=coded("green")), ""),
    "bound-preferably-other": (patient("bound-preferably", maritalStatus=coded("green")), ""),
    "bound-at-most": (patient("bound-at-most", maritalStatus=coded("green")), "Patient.maritalStatus"),
    "invariant": (patient("invariant", telecom=[PHONE]), ""),
    "invariant-broken": (patient("invariant", active=True), "Patient"),
    "advice": (patient("advice", active=True), ""),
    "invariant-below": (patient("invariant-below", active=True, contact=[{"telecom": [PHONE]}]), ""),
    "invariant-below-broken": (
        patient("invariant-below", contact=[{"name": NAME}, {"telecom": [PHONE]}]),
        "Patient.contact[1]",
    ),
    "questionnaire": (questionnaire(item("a", **CODE)), ""),
    "questionnaire-top": (questionnaire(item("a")), "Questionnaire.item[0].code"),
    "questionnaire-below": (questionnaire(item("a", item("b"), **CODE)), ""),
    "questionnaire-deep": (
        {**questionnaire(item("a", item("b"), **CODE)), "meta": {"profile": [url("questionnaire-deep")]}},
        "Questionnaire.item[0].item[0].code",
    ),
    "names": (patient("names", name=[OFFICIAL]), ""),
    "names-other": (patient("names", name=[OFFICIAL, {"use": "old"}]), "Patient.name[1].use"),
    "names-less": (patient("names", name=[NAME]), "Patient.name[0].use"),
    "of-another-type": (patient("by-pattern", active=True), "Patient"),
}
SLICES: dict[str, Case] = {
    "by-pattern": (components("by-pattern", "red", "green", "blue"), ""),
    "by-pattern-none": (components("by-pattern", "blue"), "Observation.component"),
    "by-pattern-twice": (components("by-pattern", "red", "red"), "Observation.component"),
    "by-pattern-below": (
        observation("by-pattern", component=[component("red"), component("green")]),
        "Observation.component[1].value",
    ),
    "by-value": (components("by-value", "red", "green", "blue"), ""),
    "by-value-none": (components("by-value", "blue"), "Observation.component"),
    "closed": (components("closed", "red", "green"), ""),
    "closed-other": (components("closed", "red", "blue"), "Observation.component[1]"),
    "at-end": (components("at-end", "red", "green", "blue"), ""),
    "at-end-other": (components("at-end", "red", "blue", "green"), "Observation.component[1]"),
    "ordered": (components("ordered", "red", "blue", "green"), ""),
    "ordered-other": (components("ordered", "green", "red"), "Observation.component[1]"),
    "derived": (observation("derived", component=[component("red", valueString="x"), component("blue")]), ""),
    "derived-below": (components("derived", "red", "blue"), "Observation.component[0].value"),
    "derived-base": (components("derived", "blue"), "Observation.component"),
    "by-type": (observation("by-type", valueQuantity=milligrams(1)), ""),
    "by-type-below": (observation("by-type", valueQuantity={"value": 1}), "Observation.value.unit"),
    "by-type-long": (observation("by-type", valueString="four"), "Observation.value"),
    "by-type-other": (observation("by-type", valueBoolean=True), "Observation.value"),
    "by-existence": (patient("by-existence", name=[{"period": {"end": "2000"}}, NAME]), ""),
    "by-existence-none": (patient("by-existence", name=[{"period": {"end": "2000"}}]), "Patient.name"),
    "by-existence-below": (patient("by-existence", name=[{"given": ["a"]}]), "Patient.name[0].family"),
    "by-profile": (patient("by-profile", name=[NAME, OFFICIAL]), ""),
    "by-profile-none": (patient("by-profile", name=[NAME]), "Patient.name"),
    "by-system": (patient("by-system", identifier=[{"system": "urn:x:y"}, MRN]), ""),
    "by-system-none": (patient("by-system", identifier=[{"system": "urn:x:y"}]), "Patient.identifier"),
    "by-system-long": (
        patient("by-system", identifier=[{**MRN, "value": "123456"}]),
        "Patient.identifier[0].value",
    ),
    "by-coding": (observation("by-coding", code={"coding": [GREEN, {**RED, "display": "red"}]}), ""),
    "by-coding-below": (observation("by-coding", code=coded("red")), "Observation.code.coding[0].display"),
    "by-binding": (observation("by-binding", category=[coded("green"), coded("orange")]), ""),
    "by-binding-none": (observation("by-binding", category=[coded("green")]), "Observation.category"),
    "by-extension": (
        patient("by-extension", contact=[{"telecom": [PHONE], "extension": [extended("shade", valueCode="light")]}]),
        "",
    ),
    "by-extension-below": (
        patient("by-extension", contact=[{"telecom": [PHONE], "extension": [extended("shade", valueCode="dark")]}]),
        "Patient.contact[0].name",
    ),
    "resliced": (
        observation(
            "resliced",
            component=[
                component("red"),
                component("green", valueString="x", interpretation=[coded("blue"), coded("red")]),
            ],
        ),
        "",
    ),
    "resliced-none": (
        observation(
            "resliced",
            component=[component("red"), component("green", valueString="x", interpretation=[coded("blue")])],
        ),
        "Observation.component[1].interpretation",
    ),
    "entries-by-type": (bundle("entries-by-type", resources=[patient(id="1", active=True)]), ""),
    "entries-by-type-none": (bundle("entries-by-type", resources=[observation(id="1")]), "Bundle.entry"),
    "entries-by-profile": (bundle("entries-by-profile", resources=[patient(id="1", name=[NAME])]), ""),
    "entries-by-profile-none": (bundle("entries-by-profile", resources=[patient(id="1", active=True)]), "Bundle.entry"),
    "entries-own": (bundle(resources=[patient("count", id="1", active=True)]), "Bundle.entry[0].resource.name"),
    "by-target-contained": (
        observation("by-target", contained=[RESPONSE], hasMember=[{"reference": "#q"}]),
        "",
    ),
    "by-target": (
        observation("by-target", hasMember=[{"reference": "Observation/1"}, {"reference": "QuestionnaireResponse/1"}]),
        "",
    ),
    "by-target-none": (observation("by-target", hasMember=[{"reference": "Observation/1"}]), "Observation.hasMember"),
}
REFERENCES: dict[str, Case] = {
    "of-patients": (observation("of-patients", subject={"reference": "Patient/1"}), ""),
    "of-patients-other": (observation("of-patients", subject={"reference": "Group/1"}), "Observation.subject"),
    "of-patients-contained": (
        observation("of-patients", contained=[patient(id="p", active=True)], subject={"reference": "#p"}),
        "",
    ),
    "of-patients-contained-other": (
        observation("of-patients", contained=[resource("Device", (), {"id": "p"})], subject={"reference": "#p"}),
        "Observation.subject",
    ),
    "of-named": (
        observation("of-named", contained=[patient(id="p", name=[NAME])], subject={"reference": "#p"}),
        "",
    ),
    "of-named-other": (
        observation("of-named", contained=[patient(id="p", active=True)], subject={"reference": "#p"}),
        "Observation.subject",
    ),
    "of-named-elsewhere": (observation("of-named", subject={"reference": "Patient/1"}), ""),
    "of-named-bundled": (
        bundle(
            resources=[
                observation("of-named", id="o", subject={"reference": "Patient/1"}),
                patient(id="1", name=[NAME]),
            ]
        ),
        "",
    ),
    "of-named-bundled-other": (
        bundle(
            resources=[
                observation("of-named", id="o", subject={"reference": "Patient/1"}),
                patient(id="1", active=True),
            ]
        ),
        "Bundle.entry[0].resource.subject",
    ),
    "of-contained": (
        observation("of-contained", contained=[patient(id="p", active=True)], subject={"reference": "#p"}),
        "",
    ),
    "of-contained-other": (observation("of-contained", subject={"reference": "Patient/1"}), "Observation.subject"),
}
EXTENSIONS: dict[str, Case] = {
    "shade": (patient(active=True, extension=[extended("shade", valueCode="dark")]), ""),
    "shade-other": (patient(extension=[extended("shade", valueString="dark")]), "Patient.extension[0].value"),
    "shade-none": (patient(extension=[extended("shade", extension=ABSENT)]), "Patient.extension[0].value"),
    "shade-anywhere": (
        patient(name=[{"family": "A", "_family": {"extension": [extended("shade", valueCode="x")]}}]),
        "",
    ),
    "weight": (patient(extension=[extended("weight", valueDecimal=1.5)]), ""),
    "weight-elsewhere": (observation(extension=[extended("weight", valueDecimal=1.5)]), "Observation.extension[0]"),
    "weight-below": (
        patient(name=[{"family": "A", "extension": [extended("weight", valueDecimal=1.5)]}]),
        "Patient.name[0].extension[0]",
    ),
    "of-names": (patient(name=[{"family": "A", "extension": [extended("of-names", valueString="x")]}]), ""),
    "of-names-elsewhere": (
        patient(contact=[{"name": {"family": "A", "extension": [extended("of-names", valueString="x")]}}]),
        "Patient.contact[0].name.extension[0]",
    ),
    "of-type": (
        patient(contact=[{"name": {"family": "A", "extension": [extended("of-type", valueString="x")]}}]),
        "",
    ),
    "of-type-elsewhere": (patient(extension=[extended("of-type", valueString="x")]), "Patient.extension[0]"),
    "of-shade-elsewhere": (patient(extension=[extended("of-shade", valueString="x")]), "Patient.extension[0]"),
    "of-adults": (patient(birthDate="1980", extension=[extended("of-adults", valueString="x")]), ""),
    "of-adults-other": (patient(extension=[extended("of-adults", valueString="x")]), "Patient.extension[0]"),
    "negates": (patient(modifierExtension=[extended("negates", valueBoolean=True)]), ""),
    "negates-as-extension": (patient(extension=[extended("negates", valueBoolean=True)]), "Patient.extension[0]"),
    "weight-as-modifier": (
        patient(modifierExtension=[extended("weight", valueDecimal=1.5)]),
        "Patient.modifierExtension[0]",
    ),
    "unknown": (patient(extension=[extended("nobody-knows", valueCode="dark")]), ""),
    "unknown-modifier": (
        patient(modifierExtension=[extended("nobody-knows", valueCode="dark")]),
        "",
    ),
    "race": (race({"url": "category", "valueCoding": RED}, TEXT), ""),
    "race-other": (
        race({"url": "category", "valueCoding": GREEN}, TEXT),
        "Patient.extension[0].extension[0].value",
    ),
    "race-no-text": (race({"url": "category", "valueCoding": RED}), "Patient.extension[0].extension"),
    "race-value": (
        race({"url": "category", "valueString": "red"}, TEXT),
        "Patient.extension[0].extension[0].value",
    ),
    "race-many": (
        race(*[{"url": "category", "valueCoding": {"system": COLOUR, "code": "red"}}] * 3, TEXT),
        "Patient.extension[0].extension",
    ),
    "race-unknown": (race({"url": "else", "valueString": "x"}, TEXT), "Patient.extension[0].extension[0]"),
    "with-shade": (patient("with-shade", extension=[extended("shade", valueCode="dark")]), ""),
    "with-shade-none": (patient("with-shade", active=True), "Patient.extension"),
}
CASES: dict[str, Case] = {**GUIDE_CASES, **CONSTRAINTS, **ELEMENTS, **SLICES, **REFERENCES, **EXTENSIONS}
