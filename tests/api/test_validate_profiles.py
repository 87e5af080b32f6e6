"""$validate by what is stored and by what R4 publishes: value sets with filters, targets in the store, units."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client
from tests.services.server import Server
from tests.validator.elements import BASE, CORE, RED, constraint, element, profile, url
from tests.validator.guides import GUIDES
from tests.validator.resources import NAME, milligrams, observation, patient

GRAM = {"value": 1, "system": "http://unitsofmeasure.org", "code": "g"}
OWN = [
    profile(
        "validated-subject",
        "Observation",
        element("Observation.subject", type=[{"code": "Reference", "targetProfile": [url("validated-named")]}]),
        root={"constraint": [constraint("v-1", "subject.exists() implies subject.resolve().active = true")]},
    ),
    profile("validated-named", "Patient", element("Patient.name", min=1)),
    profile(
        "validated-weight",
        "Observation",
        element("Observation.value[x]", type=[{"code": "Quantity"}], minValueQuantity=GRAM),
    ),
]
USED = {f"{BASE}/CodeSystem/animal", f"{BASE}/ValueSet/birds", f"{BASE}/ValueSet/imported", url("animals-imported")}
OK = [("information", None, "All OK.")]


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    client = Client(server.base)
    for each in (*OWN, *(each for each in GUIDES if each["url"] in USED)):
        client.update(each)
    return client


def told(client: Client, resource: dict[str, Any], query: str = "") -> list[tuple[str, str | None, str]]:
    response = client("POST", f"{resource['resourceType']}/$validate{query}", json=resource)
    assert 200 == response.status_code, response.text
    issues = response.json()["issue"]
    return [(each["severity"], each.get("expression", [None])[0], each["diagnostics"]) for each in issues]


def test_stored_targets(client: Client) -> None:
    """A reference to what is stored is held against the profile of its target; what is not stored is left open."""
    given = [patient(name=[NAME], active=True), patient(active=True), patient(name=[NAME], active=False)]
    ids = [client.create(each)["id"] for each in given]
    paths = [*(f"Patient/{id}" for id in ids), f"{client.base}/Patient/{ids[1]}", "Patient/nobody"]

    found = [told(client, observation("validated-subject", subject={"reference": each})) for each in paths]

    other = f"Observation.subject: it refers to what is by none of '{url('validated-named')}'."
    unnamed = [("error", "Observation.subject", other)]
    broken = [("error", "Observation", "Observation: the rule v-1 (v-1)")]
    assert [OK, unnamed, broken, unnamed] == found[:4]
    assert {("information", "Observation"), ("information", "Observation.subject")} == {each[:2] for each in found[4]}


def test_filters(client: Client) -> None:
    """A value set with a filter, imported by another, over a code system in the store."""
    codings = [{"system": f"{BASE}/CodeSystem/animal", "code": code} for code in ("penguin", "fish")]

    found = [told(client, observation("animals-imported", code={"coding": [each]})) for each in (*codings, RED)]

    sentence = "Observation.code: '{}' is no code of '{}/ValueSet/imported', to which the profile binds it."
    wrong = [
        [("error", "Observation.code", sentence.format(f"{each['system']}|{each['code']}", BASE))]
        for each in (codings[1], RED)
    ]
    assert [OK, *wrong] == found


def test_units(client: Client) -> None:
    """A limit in grams holds for milligrams."""
    found = [told(client, observation("validated-weight", valueQuantity=milligrams(each))) for each in (1000, 999.5)]

    less = "Observation.value: it is less than 1 g, which the profile allows."
    assert [OK, [("error", "Observation.value", less)]] == found


def test_published(client: Client) -> None:
    """The profiles, extensions, value sets and code systems that R4 publishes are known to every server."""
    heart = observation(
        valueQuantity=milligrams(1), code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    )
    born = patient(extension=[{"url": f"{CORE}/patient-birthPlace", "valueString": "Rome"}])
    category = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital"}]}

    by_profile = told(client, heart, f"?profile={CORE}/heartrate")

    assert {
        ("error", "Observation.category"),
        ("error", "Observation.subject"),
        ("error", "Observation.effective"),
        ("error", "Observation.value.code"),
    } == {each[:2] for each in by_profile}
    assert [("error", "Patient.extension[0].value")] == [each[:2] for each in told(client, born)]
    assert ("error", "Observation.category[0].coding[0]") in [
        each[:2] for each in told(client, observation(category=[category]))
    ]
