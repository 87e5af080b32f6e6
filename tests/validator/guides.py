"""Profiles of the kind that implementation guides have: US Core, the International Patient Summary, IHE MHD."""

from __future__ import annotations

from tests.validator.elements import (
    BASE,
    COLOUR,
    CORE,
    coded,
    constraint,
    element,
    extension,
    profile,
    slicing,
    url,
)
from tests.validator.resources import UNITS

LOINC = "http://loinc.org"
VALUE_SETS = "http://hl7.org/fhir/ValueSet"
VITALS = f"{CORE}/vitalsigns"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


def loinc(code: str) -> dict[str, object]:
    return {"coding": [{"system": LOINC, "code": code}]}


def target(*names: str, **more: object) -> list[dict[str, object]]:
    known = [f"{CORE}/{name}" if name[0].isupper() else url(name) for name in names]
    return [{"code": "Reference", "targetProfile": known, **more}]


def filtered(name: str, system: str, property: str, operator: str, value: str) -> dict[str, object]:
    include = {"system": system, "filter": [{"property": property, "op": operator, "value": value}]}
    return composed(name, include)


def composed(name: str, *include: dict[str, object], **more: object) -> dict[str, object]:
    return {
        "resourceType": "ValueSet",
        "id": name,
        "url": f"{BASE}/ValueSet/{name}",
        "name": name.title().replace("-", ""),
        "status": "active",
        "compose": {"include": list(include), **more},
    }


def bound(name: str, strength: str = "required") -> dict[str, str]:
    return {"strength": strength, "valueSet": f"{BASE}/ValueSet/{name}"}


TERMS = [
    {
        "resourceType": "CodeSystem",
        "id": "animal",
        "url": f"{BASE}/CodeSystem/animal",
        "name": "Animal",
        "status": "active",
        "content": "complete",
        "hierarchyMeaning": "is-a",
        "property": [{"code": "legs", "type": "string"}],
        "concept": [
            {
                "code": "bird",
                "property": [{"code": "legs", "valueString": "2"}],
                "concept": [{"code": "penguin", "property": [{"code": "legs", "valueString": "2"}]}],
            },
            {"code": "fish", "property": [{"code": "legs", "valueString": "0"}]},
        ],
    },
    filtered("birds", f"{BASE}/CodeSystem/animal", "concept", "is-a", "bird"),
    filtered("parents", ROLES, "concept", "is-a", "PRN"),
    composed("imported", {"valueSet": [f"{BASE}/ValueSet/birds"]}),
    composed(
        "no-fish",
        {"system": f"{BASE}/CodeSystem/animal"},
        exclude=[{"system": f"{BASE}/CodeSystem/animal", "concept": [{"code": "fish"}]}],
    ),
]
BP = "Observation.component"
CORE_LIKE = [
    profile(
        "core-patient",
        "Patient",
        element("Patient.identifier", min=1, mustSupport=True),
        element("Patient.identifier.system", min=1),
        element("Patient.identifier.value", min=1),
        element(
            "Patient.name",
            min=1,
            constraint=[constraint("core-1", "(family.exists() or given.exists()) xor extension.exists()")],
        ),
        element("Patient.maritalStatus", binding={"strength": "required", "valueSet": f"{VALUE_SETS}/marital-status"}),
    ),
    profile(
        "core-vital",
        "Observation",
        element("Observation.subject", type=target("core-patient")),
        element("Observation.effective[x]", type=[{"code": "dateTime"}]),
        baseDefinition=VITALS,
    ),
    profile(
        "core-bp",
        "Observation",
        element("Observation.code", patternCodeableConcept=loinc("85354-9")),
        element(BP, min=2, slicing=slicing("pattern", "code")),
        element(f"{BP}:systolic", min=1, max="1"),
        element(f"{BP}:systolic.code", patternCodeableConcept=loinc("8480-6")),
        element(
            f"{BP}:systolic.value[x]",
            type=[{"code": "Quantity"}],
            patternQuantity={"system": UNITS, "code": "mm[Hg]"},
        ),
        element(f"{BP}:diastolic", min=1, max="1"),
        element(f"{BP}:diastolic.code", patternCodeableConcept=loinc("8462-4")),
        element(f"{BP}:diastolic.valueQuantity.value", min=1),
        base="core-vital",
    ),
    profile(
        "core-lab",
        "Observation",
        element("Observation.category", min=1, slicing=slicing("pattern", "$this")),
        element(
            "Observation.category:lab",
            min=1,
            max="1",
            patternCodeableConcept={"coding": [{"system": CATEGORY, "code": "laboratory"}]},
        ),
        element(
            "Observation.value[x]", constraint=[constraint("core-2", "$this is Quantity or $this is CodeableConcept")]
        ),
        element("Observation.valueQuantity.code", min=1),
        element("Observation.valueCodeableConcept.coding", min=1),
    ),
    profile(
        "resliced-category",
        "Observation",
        element("Observation.category", slicing=slicing("pattern", "coding.system")),
        element("Observation.category:colour", min=1, max="3", slicing=slicing("pattern", "coding.code")),
        element("Observation.category:colour.coding.system", min=1, patternUri=COLOUR),
        element("Observation.category:colour/red", min=1, max="1"),
        element("Observation.category:colour/red.coding.system", min=1, patternUri=COLOUR),
        element("Observation.category:colour/red.coding.code", min=1, patternCode="red"),
    ),
    profile(
        "mrn",
        "Identifier",
        element("Identifier.system", min=1, fixedUri="urn:a:mrn"),
        element("Identifier.value", min=1),
    ),
    profile(
        "passport",
        "Identifier",
        element("Identifier.system", min=1, fixedUri="urn:a:pass"),
        element("Identifier.period", min=1),
    ),
    profile(
        "by-identifier-profile",
        "Patient",
        element("Patient.identifier", slicing=slicing("value", "system")),
        element("Patient.identifier:mrn", min=1, max="1", type=[{"code": "Identifier", "profile": [url("mrn")]}]),
    ),
    profile(
        "either-identifier",
        "Patient",
        element("Patient.identifier", type=[{"code": "Identifier", "profile": [url("mrn"), url("passport")]}]),
    ),
    profile(
        "two-discriminators",
        "Patient",
        element(
            "Patient.telecom",
            slicing={
                "discriminator": [{"type": "value", "path": "system"}, {"type": "value", "path": "use"}],
                "rules": "open",
            },
        ),
        element("Patient.telecom:homePhone", min=1, max="1"),
        element("Patient.telecom:homePhone.system", min=1, fixedCode="phone"),
        element("Patient.telecom:homePhone.value", min=1),
        element("Patient.telecom:homePhone.use", min=1, fixedCode="home"),
    ),
    profile(
        "nested-coding",
        "Observation",
        element(BP, slicing=slicing("value", "code.coding.code")),
        element(f"{BP}:red", min=1, max="1"),
        element(f"{BP}:red.code.coding", slicing=slicing("value", "system")),
        element(f"{BP}:red.code.coding:colour", min=1, max="1"),
        element(f"{BP}:red.code.coding:colour.system", min=1, fixedUri=COLOUR),
        element(f"{BP}:red.code.coding:colour.code", min=1, fixedCode="red"),
        element(f"{BP}:red.code.coding:colour.display", min=1),
    ),
    profile("shortcut", "Observation", element("Observation.valueQuantity.code", min=1)),
    profile("no-quantity", "Observation", element("Observation.valueQuantity", max="0")),
    profile(
        "two-types", "Observation", element("Observation.value[x]", type=[{"code": "Quantity"}, {"code": "string"}])
    ),
    profile("ranged", "Observation", element("Observation.component.referenceRange.text", min=1)),
    profile("ranged-top", "Observation", element("Observation.referenceRange.text", min=1)),
    profile("pattern-reference", "Observation", element("Observation.subject", patternReference={"type": "Patient"})),
    profile("pattern-type", "Patient", element("Patient.identifier.type", patternCodeableConcept=coded("red"))),
    profile(
        "must-name",
        "Patient",
        element("Patient.contact", min=1),
        element("Patient.contact.relationship.coding.code", min=1),
    ),
    profile("versioned", "Observation", element("Observation.subject", type=target("Patient", versioning="specific"))),
    profile("either-target", "Observation", element("Observation.subject", type=target("core-patient", "Group"))),
    extension(
        "doubt",
        element("Extension.value[x]", min=1, type=[{"code": "boolean"}]),
        context="Patient",
        root={"isModifier": True, "isModifierReason": "doubt"},
    ),
    profile(
        "doubtful",
        "Patient",
        element("Patient.modifierExtension", slicing=slicing("value", "url")),
        element(
            "Patient.modifierExtension:doubt", min=1, max="1", type=[{"code": "Extension", "profile": [url("doubt")]}]
        ),
    ),
    profile(
        "closed-extensions",
        "Patient",
        element("Patient.extension", slicing=slicing("value", "url", "closed")),
        element("Patient.extension:shade", min=0, max="1", type=[{"code": "Extension", "profile": [url("shade")]}]),
    ),
    profile("animals", "Observation", element("Observation.code", binding=bound("birds"))),
    profile("animals-imported", "Observation", element("Observation.code", binding=bound("imported"))),
    profile("animals-excluded", "Observation", element("Observation.code", binding=bound("no-fish"))),
    profile("relatives", "RelatedPerson", element("RelatedPerson.relationship", binding=bound("parents"))),
    profile(
        "member",
        "Observation",
        root={"constraint": [constraint("m-1", f"code.memberOf('{BASE}/ValueSet/birds')")]},
    ),
    profile(
        "resolving",
        "Observation",
        root={"constraint": [constraint("r-1", "subject.resolve().ofType(Patient).active = true")]},
    ),
]
SECTION = "Composition.section"
ENTRY = "Bundle.entry"
SUMMARY_LIKE = [
    profile(
        "ips-composition",
        "Composition",
        element("Composition.type", patternCodeableConcept=loinc("60591-5")),
        element("Composition.subject", min=1, type=target("Patient")),
        element(SECTION, min=1, slicing=slicing("pattern", "code")),
        element(f"{SECTION}.title", min=1),
        element(f"{SECTION}:problems", min=1, max="1"),
        element(f"{SECTION}:problems.code", min=1, patternCodeableConcept=loinc("11450-4")),
        element(f"{SECTION}:problems.entry", slicing=slicing("type", "resolve()")),
        element(f"{SECTION}:problems.entry:problem", min=1, type=target("Condition")),
        element(f"{SECTION}:results", min=0, max="1"),
        element(f"{SECTION}:results.code", min=1, patternCodeableConcept=loinc("30954-2")),
        element(f"{SECTION}:results.entry", slicing=slicing("profile", "resolve()")),
        element(f"{SECTION}:results.entry:lab", min=1, type=target("core-lab")),
    ),
    profile(
        "ips-bundle",
        "Bundle",
        element("Bundle.type", fixedCode="document"),
        element(ENTRY, min=2, slicing=slicing("type", "resource")),
        element(f"{ENTRY}.fullUrl", min=1),
        element(f"{ENTRY}:composition", min=1, max="1"),
        element(
            f"{ENTRY}:composition.resource", min=1, type=[{"code": "Composition", "profile": [url("ips-composition")]}]
        ),
        element(f"{ENTRY}:patient", min=1, max="1"),
        element(f"{ENTRY}:patient.resource", min=1, type=[{"code": "Patient"}]),
        element(f"{ENTRY}:condition", min=0, max="*"),
        element(f"{ENTRY}:condition.resource", min=1, type=[{"code": "Condition"}]),
    ),
]
LISTING = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
SHARED_LIKE = [
    profile(
        "mhd-document",
        "DocumentReference",
        element("DocumentReference.masterIdentifier", min=1),
        element("DocumentReference.status", fixedCode="current"),
        element("DocumentReference.type", min=1),
        element("DocumentReference.content", max="1"),
        element("DocumentReference.content.attachment.contentType", min=1),
        element("DocumentReference.content.attachment.url", min=1),
        element("DocumentReference.content.attachment.size", min=1, maxValueUnsignedInt=1000),
        element("DocumentReference.context", min=1),
        element(
            "DocumentReference.context.sourcePatientInfo",
            min=1,
            type=target("Patient", aggregation=["contained"]),
        ),
    ),
    profile(
        "mhd-list",
        "List",
        element("List.mode", fixedCode="working"),
        element("List.code", min=1, patternCodeableConcept={"coding": [{"system": LISTING, "code": "submissionset"}]}),
        element("List.subject", min=1),
        element("List.entry.item", type=target("mhd-document")),
    ),
    profile(
        "mhd-bundle",
        "Bundle",
        element("Bundle.type", fixedCode="transaction"),
        element(ENTRY, slicing=slicing("profile", "resource", "closed")),
        element(f"{ENTRY}:set", min=1, max="1"),
        element(f"{ENTRY}:set.resource", min=1, type=[{"code": "List", "profile": [url("mhd-list")]}]),
        element(f"{ENTRY}:set.request.method", fixedCode="POST"),
        element(f"{ENTRY}:documents", min=0, max="*"),
        element(
            f"{ENTRY}:documents.resource", min=1, type=[{"code": "DocumentReference", "profile": [url("mhd-document")]}]
        ),
        element(f"{ENTRY}:bytes", min=0, max="*"),
        element(f"{ENTRY}:bytes.resource", min=1, type=[{"code": "Binary", "profile": [f"{CORE}/Binary"]}]),
    ),
]
GUIDES = [*TERMS, *CORE_LIKE, *SUMMARY_LIKE, *SHARED_LIKE]
