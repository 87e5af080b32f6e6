"""What search parameters of R4, and some of this installation's own, find in the records.

Source: https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir.definitions import Component, SearchParameter
from tests.contracts import readings as read
from tests.contracts.readings import Resource, at


@dataclass(frozen=True, slots=True)
class Parameter:
    """`parts` are the kinds of a composite's components; a value of it is a tuple of lists of values."""

    kind: str
    read: Callable[[Resource], list[Any]]
    parts: tuple[str, ...] = ()


def _of(kind: str, convert: Callable[[Any], list[Any]], *paths: str) -> Parameter:
    return Parameter(
        kind, lambda resource: [found for path in paths for each in at(resource, path) for found in convert(each)]
    )


def _code(values: str, *paths: str) -> Parameter:
    """Codes of a value set, named as their system is below http://hl7.org/fhir."""
    return _of("token", read.code_of(f"http://hl7.org/fhir/{values}"), *paths)


def _both(roots: tuple[str, ...], first: Parameter, second: Parameter) -> Parameter:
    def found(resource: Resource) -> list[Any]:
        elements = [each for root in roots for each in (at(resource, root) if root else [resource])]
        pairs = [(first.read(each), second.read(each)) for each in elements]
        return [each for each in pairs if all(each)]

    return Parameter("composite", found, (first.kind, second.kind))


def _all(*parameters: Parameter) -> Parameter:
    return Parameter(parameters[0].kind, lambda resource: [v for each in parameters for v in each.read(resource)])


def _where(kind: str, found: Callable[[Resource], list[Any]]) -> Parameter:
    return Parameter(kind, found)


def _patients(resource: Resource) -> list[read.Reference]:
    found = [each for value in at(resource, "subject") for each in read.reference(value)]
    return [each for each in found if read.local(each.literal)[1] == "Patient"]


def _contacts(system: str) -> Callable[[Resource], list[read.Token]]:
    return lambda resource: [
        token for each in at(resource, "telecom") if each["system"] == system for token in read.contact(each)
    ]


def _is_dead(resource: Resource) -> list[read.Token]:
    return read.boolean("deceasedDateTime" in resource or resource.get("deceasedBoolean", False))


def _label(resource: Resource) -> list[str]:
    official = [each for each in at(resource, "name") if each.get("use") == "official"]
    return [f"{each['given'][0] if 'given' in each else ''} {each['family']}" for each in official]


_CODE, _COMBO = _of("token", read.concept, "code"), ("", "component")
_AMOUNT, _CONCEPT = _of("quantity", read.quantity, "valueQuantity"), _of("token", read.concept, "valueCodeableConcept")
_COMMON = {
    "_id": _of("token", read.code, "id"),
    "_lastUpdated": _of("date", read.moment, "meta.lastUpdated"),
    "_profile": _of("uri", read.text, "meta.profile"),
    "_source": _of("uri", read.text, "meta.source"),
    "_tag": _of("token", read.coding, "meta.tag"),
    "_security": _of("token", read.coding, "meta.security"),
}
_SUBJECT = {"subject": _of("reference", read.reference, "subject"), "patient": _where("reference", _patients)}
_IDENTIFIER = {"identifier": _of("token", read.identifier, "identifier")}


def _status(values: str) -> dict[str, Parameter]:
    return {"status": _code(values, "status")}


PARAMETERS: dict[str, dict[str, Parameter]] = {
    "Patient": {
        **_COMMON, **_IDENTIFIER,
        "active": _of("token", read.boolean, "active"), "gender": _code("administrative-gender", "gender"),
        "name": _of("string", read.human, "name"), "family": _of("string", read.text, "name.family"),
        "given": _of("string", read.text, "name.given"), "birthdate": _of("date", read.moment, "birthDate"),
        "address": _of("string", read.address, "address"), "address-city": _of("string", read.text, "address.city"),
        "address-use": _code("address-use", "address.use"), "telecom": _of("token", read.contact, "telecom"),
        "phone": _where("token", _contacts("phone")), "email": _where("token", _contacts("email")),
        "deceased": _where("token", _is_dead), "death-date": _of("date", read.moment, "deceasedDateTime"),
        "organization": _of("reference", read.reference, "managingOrganization"),
        "general-practitioner": _of("reference", read.reference, "generalPractitioner"),
        "language": _of("token", read.concept, "communication.language"),
        "x-label": _where("string", _label),
        "x-names": _where("number", lambda each: read.number(len(each.get("name", [])))),
        "x-phone": _where("token", lambda each: [t for t in _contacts("phone")(each) if t.code.startswith("1")]),
        "x-telecom": _both(("telecom",), _code("contact-point-system", "system"), _of("token", read.code, "value")),
    },
    "DocumentReference": {
        **_COMMON, **_status("document-reference-status"), **_SUBJECT,
        "identifier": _of("token", read.identifier, "masterIdentifier", "identifier"),
        "type": _of("token", read.concept, "type"), "category": _of("token", read.concept, "category"),
        "date": _of("date", read.moment, "date"), "period": _of("date", read.period, "context.period"),
        "author": _of("reference", read.reference, "author"), "event": _of("token", read.concept, "context.event"),
        "description": _of("string", read.text, "description"), "format": _of("token", read.coding, "content.format"),
        "contenttype": _of("token", read.code_of("urn:ietf:bcp:13"), "content.attachment.contentType"),
        "location": _of("uri", read.text, "content.attachment.url"),
        "relatesto": _of("reference", read.reference, "relatesTo.target"),
        "relation": _code("document-relationship-type", "relatesTo.code"),
        "relationship": _both(
            ("relatesTo",), _of("reference", read.reference, "target"), _code("document-relationship-type", "code")
        ),
    },
    "Observation": {
        **_COMMON, **_status("observation-status"), **_SUBJECT, **_IDENTIFIER, "code": _CODE,
        "category": _of("token", read.concept, "category"), "performer": _of("reference", read.reference, "performer"),
        "date": _all(_of("date", read.moment, "effectiveDateTime"), _of("date", read.period, "effectivePeriod")),
        "value-date": _all(_of("date", read.moment, "valueDateTime"), _of("date", read.period, "valuePeriod")),
        "value-quantity": _AMOUNT, "value-concept": _CONCEPT,
        "value-string": _of("string", read.text, "valueString", "valueCodeableConcept.text"),
        "combo-code": _of("token", read.concept, "code", "component.code"),
        "component-code": _of("token", read.concept, "component.code"),
        "combo-value-quantity": _of("quantity", read.quantity, "valueQuantity", "component.valueQuantity"),
        "code-value-quantity": _both(("",), _CODE, _AMOUNT), "code-value-concept": _both(("",), _CODE, _CONCEPT),
        "code-value-string": _both(("",), _CODE, _of("string", read.text, "valueString")),
        "combo-code-value-quantity": _both(_COMBO, _CODE, _AMOUNT),
        "component-code-value-concept": _both(("component",), _CODE, _CONCEPT),
        "x-many": _where("token", lambda each: read.boolean(len(each.get("component", [])) > 1)),
    },
    "Location": {
        **_COMMON, **_status("location-status"), "name": _of("string", read.text, "name", "alias"),
        "near": _of("special", read.position, "position"),
    },
    "RiskAssessment": {
        **_COMMON, **_SUBJECT, "risk": _of("token", read.concept, "prediction.qualitativeRisk"),
        "probability": _of("number", read.number, "prediction.probabilityDecimal", "prediction.probabilityRange"),
        "date": _of("date", read.moment, "occurrenceDateTime"), "method": _of("token", read.concept, "method"),
        "condition": _of("reference", read.reference, "condition"),
    },
    "Invoice": {
        **_COMMON, **_SUBJECT, **_status("invoice-status"), "date": _of("date", read.moment, "date"),
        "totalgross": _of("quantity", read.quantity, "totalGross"), "type": _of("token", read.concept, "type"),
        "totalnet": _of("quantity", read.quantity, "totalNet"),
    },
    "ValueSet": {
        **_COMMON, **_status("publication-status"), "url": _of("uri", read.text, "url"),
        "version": _of("token", read.code, "version"),
        "name": _of("string", read.text, "name"), "date": _of("date", read.moment, "date"),
        "reference": _of("uri", read.text, "compose.include.system"),
        "context": _of("token", read.concept, "useContext.valueCodeableConcept"),
        "context-quantity": _all(
            _of("quantity", read.quantity, "useContext.valueQuantity"),
            _of("quantity", read.spread, "useContext.valueRange"),
        ),
        "context-type-value": _both(("useContext",), _of("token", read.coding, "code"), _CONCEPT),
        "context-type-quantity": _both(
            ("useContext",), _of("token", read.coding, "code"),
            _all(_AMOUNT, _of("quantity", read.spread, "valueRange")),
        ),
    },
    "QuestionnaireResponse": {
        **_COMMON, **_status("questionnaire-answers-status"), **_IDENTIFIER,
        "questionnaire": _of("reference", read.reference, "questionnaire"),
        "authored": _of("date", read.moment, "authored"), "author": _of("reference", read.reference, "author"),
    },
}  # fmt: skip


def _added(code: str, kind: str, expression: str, *parts: Component) -> SearchParameter:
    return SearchParameter(code, kind, expression, (), parts, f"https://p.example/SearchParameter/{code}")


# Search parameters of this installation, in FHIRPath beyond what R4's own expressions use.
ADDED: dict[str, dict[str, SearchParameter]] = {
    type: {each.code: each for each in given}
    for type, given in {
        "Patient": [
            _added("x-label", "string", "Patient.name.where(use = 'official').select(given.first() & ' ' & family)"),
            _added("x-names", "number", "Patient.name.count()"),
            _added("x-phone", "token", "Patient.telecom.where(system = 'phone' and value.startsWith('1'))"),
            _added(
                "x-telecom", "composite", "Patient.telecom", Component("token", "system"), Component("token", "value")
            ),
        ],
        "Observation": [_added("x-many", "token", "Observation.component.count() > 1")],
    }.items()
}


def common(types: list[str]) -> dict[str, Parameter]:
    """The parameters that all of the types have, in the same kind."""
    first, *others = (PARAMETERS[each] for each in types)
    return {code: each for code, each in first.items() if all(code in o and o[code].kind == each.kind for o in others)}
