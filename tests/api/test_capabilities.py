"""What the CapabilityStatement tells of search can be asked: https://hl7.org/fhir/R4/capabilitystatement.html"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_blob.fhir.definitions import definitions
from fhir_blob.search.extraction import components
from fhir_blob.search.grammar.parser import parse_query
from tests.client import Client
from tests.services.server import Server

# A value of each type of search parameter.
VALUES = {
    "token": "http://a.example|a", "string": "a", "reference": "Patient/1", "uri": "http://a.example", "date": "ge2024",
    "number": "lt5", "quantity": "5.4|http://unitsofmeasure.org|mg", "special": "48.2|16.4|10|km",
}  # fmt: skip
WITHOUT_TYPE = {
    "_list": "1", "_type": "Patient,Observation", "_text": "liver", "_content": "liver", "_filter": "_id eq 1",
}  # fmt: skip
HAS = "_has:Provenance:target:_id"
SAMPLE = 60


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base, Prefer="handling=strict")


@pytest.fixture(scope="module")
def rest(fhir: Client) -> dict[str, Any]:
    return dict(fhir.fhir("metadata")["rest"][0])


def asked(type: str, parameter: dict[str, str]) -> tuple[str, str]:
    """The parameter with a value that it takes."""
    name = parameter["name"]
    if parameter["type"] == "composite":
        parts = components(definitions().searchable(type)[name])
        return name, "$".join(VALUES[each.type] for each in parts)
    return name, VALUES[parameter["type"]]


def declared(rest: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Type, and name and value, of everything that can be asked of one type."""
    for each in rest["resource"]:
        type = each["type"]
        yield from ((type, asked(type, parameter)) for parameter in each["searchParam"])
        yield from ((type, ("_include", value)) for value in each["searchInclude"])
        yield from ((type, ("_revinclude", value)) for value in each["searchRevInclude"])


def test_everything_is_understood(rest: dict[str, Any]) -> None:
    """Each parameter, include and revinclude of each type is known to the parser."""
    refused = [
        (type, pair)
        for type, pair in declared(rest)
        if parse_query(type, [pair], base="", strict=False, default_count=1, max_count=1).ignored
    ]

    assert [] == refused


def test_a_sample_is_answered(fhir: Client, rest: dict[str, Any]) -> None:
    """Some of them, of every value type, are asked of the server, which takes them without a complaint."""
    everything, chance = list(declared(rest)), random.Random(4)
    by_kind = {each["type"] for of in rest["resource"] for each in of["searchParam"]}
    answers = [
        (type, pair, fhir("GET", type, params=[pair, ("_count", "2")]).status_code)
        for type, pair in chance.sample(everything, SAMPLE)
    ]

    assert {*VALUES, "composite"} == by_kind
    assert [] == [each for each in answers if each[2] != 200]


def test_the_whole_system(fhir: Client, rest: dict[str, Any]) -> None:
    """The parameters of every type are taken in a search of the base, and in one of a type."""
    known = {each["name"]: each for each in rest["searchParam"]}
    pairs = [
        (HAS, "1") if name == "_has" else (name, WITHOUT_TYPE.get(name) or VALUES[each["type"]])
        for name, each in known.items()
    ]
    statuses = {pair: fhir("GET", "", params=[pair, ("_count", "2")]).status_code for pair in pairs}

    assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_has", *WITHOUT_TYPE} == set(known)
    assert [] == [pair for pair, status in statuses.items() if status != 200]


def test_definitions(rest: dict[str, Any]) -> None:
    """Each parameter names its own definition: R4's examples of a SearchParameter are none."""
    named = {each["definition"] for of in rest["resource"] for each in of["searchParam"]}

    assert "http://hl7.org/fhir/SearchParameter/Resource-id" in named
    assert [] == [each for each in named if "/example" in each]
