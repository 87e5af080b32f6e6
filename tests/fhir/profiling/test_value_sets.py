"""Whether a code is in a value set: True, False, or None where that takes what is not here.

Source: https://hl7.org/fhir/R4/valueset.html, https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fhir_blob.fhir import r4
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.profiling import published
from fhir_blob.fhir.profiling.value_sets import Terms

ANIMALS = "http://example.org/CodeSystem/animals"
SET = "http://example.org/ValueSet/set"


def kind(code: str, *below: dict[str, Any], **properties: Any) -> dict[str, Any]:
    said = [
        {"code": name, "valueBoolean" if isinstance(value, bool) else "valueString": value}
        for name, value in properties.items()
    ]
    return {"code": code, "display": code.title(), "property": said, "concept": list(below)}


SYSTEM: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "url": ANIMALS,
    "content": "complete",
    "property": [{"code": "legs", "type": "string"}],
    "concept": [
        kind("animal", kind("bird", kind("penguin"), legs="2"), kind("fish", kind("shark", inactive=True), legs="0")),
        kind("pet", child="bird"),
        {**kind("stone"), "display": "Stone of old"},
    ],
}
FOLDED = {**SYSTEM, "url": f"{ANIMALS}-folded", "caseSensitive": False}
PART = {**SYSTEM, "url": f"{ANIMALS}-part", "content": "fragment"}
BIRDS = {"resourceType": "ValueSet", "url": f"{SET}-birds", "compose": {"include": [{"system": ANIMALS, "filter": [
    {"property": "concept", "op": "is-a", "value": "bird"}
]}]}}  # fmt: skip
EXPANDED = {
    "resourceType": "ValueSet",
    "url": f"{SET}-expanded",
    "expansion": {"contains": [
        {"abstract": True, "code": "group", "system": "urn:s", "contains": [{"system": "urn:s", "code": "in"}]}
    ]},
}  # fmt: skip
KNOWN = {each["url"]: each for each in (SYSTEM, FOLDED, PART, BIRDS, EXPANDED)}


def holds(system: str | None, code: str, *include: dict[str, Any], exclude: Any = (), url: str = SET) -> bool | None:
    value_set = {"resourceType": "ValueSet", "compose": {"include": list(include), "exclude": list(exclude)}}

    def find(type: str, url: str) -> Mapping[str, Any] | None:
        found = {**KNOWN, SET: value_set}.get(url)
        return found if found is not None and found["resourceType"] == type else published.find(type, url)

    return Terms(find).holds(url, system, code)


def filtered(name: str, operator: str, value: str, system: str = ANIMALS) -> dict[str, Any]:
    return {"system": system, "filter": [{"property": name, "op": operator, "value": value}]}


ALL = ("animal", "bird", "penguin", "fish", "shark", "pet", "stone")
FILTERS = [
    ("concept", "is-a", "bird", {"bird", "penguin"}),
    ("concept", "is-a", "pet", {"pet", "bird", "penguin"}),
    ("concept", "descendent-of", "animal", {"bird", "penguin", "fish", "shark"}),
    ("concept", "is-not-a", "bird", {"animal", "fish", "shark", "pet", "stone"}),
    ("concept", "generalizes", "penguin", {"penguin", "bird", "animal", "pet"}),
    ("concept", "=", "stone", {"stone"}),
    ("code", "regex", "[a-f].*", {"animal", "bird", "fish"}),
    ("code", "regex", "ish", set()),
    ("display", "=", "Stone of old", {"stone"}),
    ("legs", "=", "2", {"bird"}),
    ("legs", "in", "0, 2", {"bird", "fish"}),
    ("legs", "not-in", "0,1", {"animal", "bird", "penguin", "shark", "pet", "stone"}),
    ("legs", "exists", "true", {"bird", "fish"}),
    ("legs", "exists", "false", {"animal", "penguin", "shark", "pet", "stone"}),
    ("parent", "=", "bird", {"penguin"}),
    ("child", "=", "bird", {"animal", "pet"}),
    ("inactive", "=", "true", {"shark"}),
    ("inactive", "=", "false", {"animal", "bird", "penguin", "fish", "pet", "stone"}),
]


@pytest.mark.parametrize(("name", "operator", "value", "expected"), FILTERS)
def test_filters(name: str, operator: str, value: str, expected: set[str]) -> None:
    """Each operator over a code system that is here as a whole."""
    found = {code: holds(ANIMALS, code, filtered(name, operator, value)) for code in (*ALL, "unicorn")}

    assert {code: code in expected for code in (*ALL, "unicorn")} == found


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (filtered("wings", "=", "2"), None),
        (filtered("concept", "is-a", "unicorn"), False),
        (filtered("code", "regex", "(?=b)bird"), None),
        (filtered("concept", "resembles", "bird"), None),
        ({"system": ANIMALS, "valueSet": [BIRDS["url"]]}, True),
        ({"valueSet": [BIRDS["url"]]}, True),
        ({"valueSet": [BIRDS["url"], "http://example.org/none"]}, None),
        ({"system": "urn:else", "valueSet": ["http://example.org/none"]}, False),
        ({"system": ANIMALS, "concept": [{"code": "fish"}]}, False),
        ({"valueSet": [SET]}, None),
    ],
)
def test_bird(include: dict[str, Any], expected: bool | None) -> None:
    """What is not here is not guessed at; what it cannot change is answered."""
    assert expected is holds(ANIMALS, "bird", include)


def test_excluded() -> None:
    """An exclude takes codes away, also those that a filter lets through; an unknown one leaves it open."""
    every, none = {"system": ANIMALS}, {"valueSet": ["http://example.org/none"]}

    assert True is holds(ANIMALS, "fish", every, exclude=[filtered("concept", "is-a", "bird")])
    assert False is holds(ANIMALS, "penguin", every, exclude=[filtered("concept", "is-a", "bird")])
    assert None is holds(ANIMALS, "fish", every, exclude=[none])
    assert False is holds(ANIMALS, "unicorn", every, exclude=[none])


def test_spelling_and_fragments() -> None:
    """Where case does not matter it does not; what is not in a part of a system may be in the rest."""
    assert True is holds(FOLDED["url"], "BIRD", {"system": FOLDED["url"]})
    assert True is holds(FOLDED["url"], "BIRD", {"system": FOLDED["url"], "concept": [{"code": "Bird"}]})
    assert False is holds(ANIMALS, "BIRD", {"system": ANIMALS})
    assert True is holds(PART["url"], "bird", {"system": PART["url"]})
    assert None is holds(PART["url"], "unicorn", {"system": PART["url"]})


def test_expansion() -> None:
    """Of an expansion count the codes that are not abstract; a code without a system is one of any."""
    found = [holds(*each, url=EXPANDED["url"]) for each in (("urn:s", "in"), (None, "in"), ("urn:s", "group"))]

    assert [True, True, False] == found


SNOMED, LOINC, LANGUAGES = "http://snomed.info/sct", "http://loinc.org", "urn:ietf:bcp:47"
TYPES, UNITS = "urn:ietf:bcp:13", "http://unitsofmeasure.org"
PUBLISHED = [
    ("http://hl7.org/fhir/ValueSet/marital-status", "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "M", 1),
    ("http://hl7.org/fhir/ValueSet/marital-status", "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "Q", 0),
    ("http://hl7.org/fhir/ValueSet/body-site", SNOMED, "1", None),
    ("http://hl7.org/fhir/ValueSet/body-site", LOINC, "1", 0),
    ("http://hl7.org/fhir/ValueSet/observation-vitalsignresult", LOINC, "8867-4", 1),
    ("http://hl7.org/fhir/ValueSet/all-languages", LANGUAGES, "de-CH-1996", 1),
    ("http://hl7.org/fhir/ValueSet/all-languages", LANGUAGES, "german language", 0),
    ("http://hl7.org/fhir/ValueSet/all-languages", LANGUAGES, "i-klingon", 1),
    ("http://hl7.org/fhir/ValueSet/mimetypes", TYPES, "application/fhir+json; fhirVersion=4.0", 1),
    ("http://hl7.org/fhir/ValueSet/mimetypes", None, "PDF", 0),
    ("http://hl7.org/fhir/ValueSet/ucum-units", UNITS, "mm[Hg]", 1),
    ("http://hl7.org/fhir/ValueSet/ucum-units", UNITS, "mmHg", 0),
    ("http://hl7.org/fhir/ValueSet/all-time-units", UNITS, "wk", 1),
    ("http://hl7.org/fhir/ValueSet/all-time-units", UNITS, "kg", 0),
    ("http://hl7.org/fhir/ValueSet/iso3166-1-3", "urn:iso:std:iso:3166", "de", 0),
    ("http://snomed.info/sct?fhir_vs=isa/138875005", SNOMED, "138875005", None),
    ("http://snomed.info/sct?fhir_vs=isa/138875005", LOINC, "138875005", 0),
    ("http://loinc.org/vs", ANIMALS, "bird", 0),
    ("http://loinc.org/vs", LOINC, "8867-4", None),
    ("http://terminology.hl7.org/ValueSet/v3-FamilyMember", "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
     "GRMTH", 1),
    ("http://terminology.hl7.org/ValueSet/v3-FamilyMember", "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
     "HOSP", 0),
]  # fmt: skip


@pytest.mark.parametrize(("url", "system", "code", "expected"), PUBLISHED)
def test_published(url: str, system: str | None, code: str, expected: int | None) -> None:
    """R4's own value sets, over its own systems and those that a rule makes; SNOMED CT and LOINC are elsewhere."""
    assert (None if expected is None else bool(expected)) is holds(system, code, url=url)


def test_required() -> None:
    """Of every required binding of R4 that can be listed each code is in it, and another is not."""
    terms = Terms(published.find)
    urls = [
        url
        for url in json.loads((Path(r4.__file__).parent / "value_sets.json").read_bytes())
        if definitions().codes(url)
    ]
    wrong = [url for url in urls if terms.holds(url, None, "no code of any") is not False]
    missing = [(url, code) for url in urls for code in definitions().codes(url) if not terms.holds(url, None, code)]

    assert len(urls) > 200
    assert ([], []) == (wrong, missing)
