"""Short ways to write the resources of the cases."""

from __future__ import annotations

from typing import Any

from tests.validator.elements import CORE, GREEN, RED, coded, url

CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
UNITS = "http://unitsofmeasure.org"
ABSENT = [{"url": f"{CORE}/data-absent-reason", "valueCode": "unknown"}]
NAME = {"family": "Ada"}
PHONE = {"system": "phone", "value": "1"}


def patient(*profiles: str, **more: Any) -> dict[str, Any]:
    return resource("Patient", profiles, more)


def observation(*profiles: str, **more: Any) -> dict[str, Any]:
    return resource("Observation", profiles, {"status": "final", "code": {"text": "a code"}, **more})


def resource(type: str, profiles: tuple[str, ...], more: dict[str, Any]) -> dict[str, Any]:
    meta = {"meta": {"profile": [url(each) for each in profiles]}} if profiles else {}
    return {"resourceType": type, **meta, **more}


def component(code: str, **more: Any) -> dict[str, Any]:
    return {"code": coded(code), **more}


def components(name: str, *codes: str, **more: Any) -> dict[str, Any]:
    made = [component(code, **({"valueString": "x"} if code == "green" else {})) for code in codes]
    return observation(name, component=made, **more)


def milligrams(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": "mg", "system": UNITS, "code": "mg", **more}


def extended(name: str, **value: Any) -> dict[str, Any]:
    return {"url": url(name), **value}


def race(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return patient(extension=[{"url": url("race"), "extension": list(parts), **more}])


def bundle(*profiles: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"http://example.org/fhir/{each['resourceType']}/{each['id']}", "resource": each}
        for each in resources
    ]
    return resource("Bundle", profiles, {"type": "collection", "entry": entries})


def questionnaire(*items: dict[str, Any]) -> dict[str, Any]:
    return resource("Questionnaire", ("questionnaire",), {"status": "draft", "item": list(items)})


def item(link: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    below = {"item": list(items)} if items else {}
    return {"linkId": link, "text": link, "type": "group" if items else "string", **more, **below}


def allergy(status: str) -> dict[str, Any]:
    clinical = {"coding": [{"system": CLINICAL, "code": status}]}
    return resource("AllergyIntolerance", (), {"clinicalStatus": clinical, "patient": {"reference": "Patient/1"}})


MULTI = {"text": "category", "coding": [GREEN, RED]}
CODE = {"code": [RED]}
TEXT = {"url": "text", "valueString": "a text"}
MRN = {"system": "urn:a:mrn", "value": "1"}
RESPONSE = {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed"}
OFFICIAL = {"use": "official", "family": "Ada"}
