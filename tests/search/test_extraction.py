"""The index rows of resources, by the rules of each value type."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from fhir_blob.search.dates import EARLIEST, LATEST, span
from fhir_blob.search.extraction import extract

BASE = "https://ehr.example/fhir"


def rows(kind: str, param: str, resource: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The values of a parameter's rows."""
    return [row[2:] for row in extract(resource, base=BASE).get(kind, ()) if row[0] == param]


def observation(**content: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", **content}


@pytest.mark.parametrize(
    ("reference", "row"),
    [
        ("Patient/23", ("Patient", "23", "", "")),
        ("Patient/23/_history/2", ("Patient", "23", "2", "")),
        (f"{BASE}/Patient/23", ("Patient", "23", "", "")),
        ("https://ehr.example/fhirs/Patient/23", ("Patient", "23", "", "https://ehr.example/fhirs")),
        ("urn:uuid:0-1", ("", "", "", "urn:uuid:0-1")),
        ("#inside", ("", "", "", "")),
        ("Nothing/23", ("", "", "", "Nothing/23")),
    ],
)
def test_references(reference: str, row: tuple[str, ...]) -> None:
    """A reference is local, of another server, or of unknown shape."""
    assert [row] == rows("reference", "subject", observation(subject={"reference": reference}))


def test_logical_reference() -> None:
    """A Reference by identifier is found by it, and is not missing."""
    resource = observation(subject={"identifier": {"system": "http://a", "value": "7"}, "display": "Éva"})

    assert ([("", "", "", "")], [("http://a", "7")], [("eva", "Éva")]) == (
        rows("reference", "subject", resource),
        rows("token", "subject:identifier", resource),
        rows("string", "subject:text", resource),
    )


def test_canonical() -> None:
    """A canonical keeps its version beside it."""
    resource = {"resourceType": "CarePlan", "instantiatesCanonical": ["http://a.example/plan|2"]}

    assert [("", "", "2", "http://a.example/plan")] == rows("reference", "instantiates-canonical", resource)


def test_tokens() -> None:
    """Codings are tokens, and a concept of text alone is there, without code."""
    coded = observation(code={"coding": [{"system": "http://l", "code": "c", "display": "Weight "}], "text": "W"})
    plain = observation(code={"text": "W"})

    assert ([("http://l", "c")], [("weight", "Weight "), ("w", "W")], [("", "")]) == (
        rows("token", "code", coded),
        rows("string", "code:text", coded),
        rows("token", "code", plain),
    )


def test_identifier_of_type() -> None:
    """An identifier with a type is found by both."""
    typed = {"system": "http://a", "value": "446", "type": {"coding": [{"system": "http://v2", "code": "MR"}]}}

    assert [("http://v2", "MR|446")] == rows("token", "identifier:ofType", observation(identifier=[typed]))


def test_booleans() -> None:
    """A boolean is the token true or false, and who has no death is not deceased."""
    patient = {"resourceType": "Patient", "active": False}

    assert ([("", "false")], [("", "false")]) == (rows("token", "active", patient), rows("token", "deceased", patient))


def test_strings() -> None:
    """Every part of a name and an address is folded."""
    patient = {
        "resourceType": "Patient",
        "name": [{"family": "Müller  GROSS", "given": ["Ω"]}],
        "address": [{"line": ["1 Rue É"], "city": "Saint-Étienne"}],
    }

    assert (["muller gross", "ω"], ["1 rue e", "saint-etienne"]) == (
        [value for value, _ in rows("string", "name", patient)],
        [value for value, _ in rows("string", "address", patient)],
    )


def test_long_strings() -> None:
    """A long text is in windows that overlap by the longest part that can be looked for."""
    text = " ".join(str(number) for number in range(1000))
    windows = rows("string", "description", {"resourceType": "Library", "description": text})
    windows += rows("string", "description:more", {"resourceType": "Library", "description": text})

    assert all(any(text[at : at + 256] in window for window, _ in windows) for at in range(len(text) - 256))


def test_long_keys() -> None:
    """A key longer than an index takes ends in a digest, so that others of its beginning differ."""
    first, second = (
        rows("uri", "_source", {"resourceType": "Basic", "meta": {"source": "urn:" + "a" * 9000 + end}}) for end in "xy"
    )

    assert first != second
    assert 255 == len(first[0][0])


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ({"effectiveDateTime": "2020-05"}, span("2020-05")),
        ({"effectiveInstant": "2020-05-01T10:00:00Z"}, span("2020-05-01T10:00:00Z")),
        ({"effectivePeriod": {"start": "2020"}}, (span("2020")[0], LATEST)),
        ({"effectivePeriod": {"end": "2020"}}, (EARLIEST, span("2020")[1])),
        ({"effectiveTiming": {"event": ["2021", "2020-01-03"]}}, (span("2020-01-03")[0], span("2021")[1])),
    ],
)
def test_dates(content: dict[str, Any], row: tuple[int, int]) -> None:
    """A date covers what its precision or its ends say."""
    assert [row] == rows("date", "date", observation(**content))


def test_what_is_no_date() -> None:
    """A string where a date may stand gives no row."""
    assert [] == rows("date", "date", {"resourceType": "Immunization", "occurrenceString": "January 2012"})


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ({"valueQuantity": {"value": Decimal("5.40"), "system": "u", "code": "mg"}}, ("u", "mg", "", 5.4, 5.4)),
        ({"valueQuantity": {"value": 5, "unit": "mg", "comparator": ">"}}, ("", "", "mg", 5.0, math.inf)),
        ({"valueQuantity": {"value": 5, "comparator": "<="}}, ("", "", "", -math.inf, 5.0)),
        (
            {"valueSampledData": {"origin": {"value": 10}, "factor": 2, "data": "E 1 -3 U 4.5", "period": 1}},
            ("", "", "", 4.0, 19.0),
        ),
    ],
)
def test_quantities(content: dict[str, Any], row: tuple[Any, ...]) -> None:
    """A quantity is a point, a half line by its comparator, or what its samples span."""
    assert [row] == rows("quantity", "value-quantity", observation(**content))


def test_money() -> None:
    """Money has its currency as code."""
    invoice = {"resourceType": "Invoice", "totalGross": {"value": 12, "currency": "EUR"}}

    assert [("urn:iso:std:iso:4217", "EUR", "EUR", 12.0, 12.0)] == rows("quantity", "totalgross", invoice)


def test_composites() -> None:
    """The components of one element share a group."""
    code = {"coding": [{"code": "bp"}]}
    parts = [{"code": {"coding": [{"code": each}]}, "valueQuantity": {"value": 1}} for each in ("s", "d")]
    entries = extract(observation(code=code, component=parts), base=BASE)

    assert ([(0, "s"), (1, "d")], [0, 1]) == (
        [(row[1], row[3]) for row in entries["token"] if row[0] == "component-code-value-quantity$1"],
        [row[1] for row in entries["quantity"] if row[0] == "component-code-value-quantity$2"],
    )


def test_common_parameters() -> None:
    """Every type has its tags, security labels, profiles and source."""
    meta = {"tag": [{"code": "t"}], "security": [{"code": "R"}], "profile": ["http://p"], "source": "urn:s"}
    basic = {"resourceType": "Basic", "meta": meta}

    assert ([("", "t")], [("", "R")], [("http://p",)], [("urn:s",)]) == (
        rows("token", "_tag", basic),
        rows("token", "_security", basic),
        rows("uri", "_profile", basic),
        rows("uri", "_source", basic),
    )


def test_positions() -> None:
    """A place on the globe is a point of the unit sphere; what is off the globe is nowhere."""
    vienna = {"resourceType": "Location", "position": {"latitude": 48.2082, "longitude": 16.3738}}
    nowhere = {"resourceType": "Location", "position": {"latitude": 91, "longitude": 0}}
    found = extract(vienna, base=BASE)["number"]

    assert [("near:x", 0.639), ("near:y", 0.188), ("near:z", 0.746)] == [
        (param, round(low, 3)) for param, _, low, _ in found
    ]
    assert "number" not in extract(nowhere, base=BASE)
