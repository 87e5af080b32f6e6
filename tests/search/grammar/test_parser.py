"""What a query means, in tables of (text, meaning)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_blob.errors import BadParameter
from fhir_blob.search import Chain, Composite, Missing, Near, Query, Range, Reference, String, Token, Uri, Value
from fhir_blob.search.grammar.parser import parse_period, parse_query

BASE = "https://ehr.example/fhir"


def parse(*pairs: tuple[str, str], type: str | None = "Observation", **options: Any) -> Query:
    given = {"base": BASE, "strict": False, "default_count": 20, "max_count": 500, **options}
    return parse_query(type, pairs, **given)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("name", "text", "modifier", "values"),
    [
        ("code", "8480-6", None, (Token(None, "8480-6"),)),
        ("code", "http://loinc.org|8480-6", None, (Token("http://loinc.org", "8480-6"),)),
        ("code", "|8480-6", None, (Token("", "8480-6"),)),
        ("code", "http://loinc.org|", None, (Token("http://loinc.org", None),)),
        ("code", "a,b", None, (Token(None, "a"), Token(None, "b"))),
        ("code", r"a\,b", None, (Token(None, "a,b"),)),
        ("code", r"a\|b\$c\\d", None, (Token(None, r"a|b$c\d"),)),
        ("code:not", "a", "not", (Token(None, "a"),)),
        ("code:text", "Systolic, sitting", "text", (String("Systolic"), String(" sitting"))),
        ("code:missing", "true", "missing", (Missing(True),)),
        ("code:missing", "false", "missing", (Missing(False),)),
        ("identifier:ofType", "http://v2|MR|446", "ofType", (Token("http://v2", "MR|446"),)),
        ("subject", "23", None, (Reference(None, "23"),)),
        ("subject", "Patient/23", None, (Reference("Patient", "23"),)),
        ("subject", "Patient/23/_history/4", None, (Reference("Patient", "23", version="4"),)),
        ("subject", f"{BASE}/Patient/23", None, (Reference("Patient", "23"),)),
        ("subject", "http://o.example/r4/Patient/23", None, (Reference("Patient", "23", "http://o.example/r4"),)),
        ("subject", "urn:uuid:1-2", None, (Reference("", "", "urn:uuid:1-2"),)),
        ("subject:Patient", "23", None, (Reference("Patient", "23"),)),
        ("subject:identifier", "http://a|7", "identifier", (Token("http://a", "7"),)),
        ("value-string:exact", "Son", "exact", (String("Son"),)),
        ("value-string:contains", "on", "contains", (String("on"),)),
        ("_profile:below", "http://a/b", "below", (Uri("http://a/b"),)),
        (
            "_profile:above",
            "http://a/b/c",
            "above",
            (Uri("http://a"), Uri("http://a/"), Uri("http://a/b"), Uri("http://a/b/"), Uri("http://a/b/c")),
        ),
        ("value-quantity", "5.4", None, (Range("eq", 5.35, 5.45, 5.4),)),
        ("value-quantity", "5.40", None, (Range("eq", 5.395, 5.405, 5.4),)),
        ("value-quantity", "le100", None, (Range("le", 99.5, 100.5, 100),)),
        ("value-quantity", "1e2", None, (Range("eq", 95, 105, 100),)),
        ("value-quantity", "1.2e2", None, (Range("eq", 115, 125, 120),)),
        ("value-quantity", "-3", None, (Range("eq", -3.5, -2.5, -3),)),
        ("value-quantity", "ap100", None, (Range("ap", 90, 110, 100),)),
        ("value-quantity", "gt5.4|http://u|mg", None, (Range("gt", 5.35, 5.45, 5.4, "http://u", "mg"),)),
        ("value-quantity", "5.4||mg", None, (Range("eq", 5.35, 5.45, 5.4, None, "mg"),)),
        (
            "code-value-quantity",
            "http://loinc.org|8480-6$lt60",
            None,
            (Composite((Token("http://loinc.org", "8480-6"), Range("lt", 59.5, 60.5, 60))),),
        ),
    ],
)
def test_values(name: str, text: str, modifier: str | None, values: tuple[Value, ...]) -> None:
    """A value means what its parameter's type and modifier say."""
    criterion = parse((name, text)).criteria[0]

    assert (modifier, values) == (criterion.modifier, criterion.values)


@pytest.mark.parametrize(
    ("text", "prefix", "low", "high"),
    [
        ("2013", "eq", "2013-01-01", "2014-01-01"),
        ("ge2013-12", "ge", "2013-12-01", "2014-01-01"),
        ("ne2016-02-29", "ne", "2016-02-29", "2016-03-01"),
        ("lt2013-01-14T10:00", "lt", "2013-01-14T10:00", "2013-01-14T10:01"),
        ("sa2013-01-14T10:00:00Z", "sa", "2013-01-14T10:00:00", "2013-01-14T10:00:01"),
        ("eb2013-01-14T10:00:00+02:00", "eb", "2013-01-14T08:00:00", "2013-01-14T08:00:01"),
        ("2013-01-14T10:00:00 02:00", "eq", "2013-01-14T08:00:00", "2013-01-14T08:00:01"),
    ],
)
def test_dates(text: str, prefix: str, low: str, high: str) -> None:
    """A date is the span of its written precision."""
    value = parse(("date", text)).criteria[0].values[0]

    assert Range(prefix, at(low), at(high), at(low)) == value


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1970-01-01T00:00:00.5Z", (500_000, 600_000)),
        ("1970-01-01T00:00:00.123456789Z", (123_456, 123_457)),
        ("9999", (253370764800000000, 253402300800000000)),
        ("9999-12", (253399622400000000, 253402300800000000)),
    ],
)
def test_period(text: str, span: tuple[int, int]) -> None:
    """Fractions count, and the last year that FHIR can write ends."""
    assert span == parse_period("_since", text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("date", "yesterday"),
        ("date", "2013-02-30"),
        ("date", "2013-13"),
        ("date", "0000"),
        ("date", "xx2013"),
        ("date", "২০১৩"),
        ("value-quantity", "many"),
        ("value-quantity", "5|mg"),
        ("value-quantity", "1e9999"),
        ("value-quantity", "gt1e309"),
        ("value-quantity", "ap-9.9e307|http://unitsofmeasure.org|km,1e400"),
        ("value-quantity", "٣"),
        ("code", "a|b|c"),
        ("code", "|"),
        ("code:in", "http://a/ValueSet/1"),
        ("code:exact", "a"),
        ("date:exact", "2013"),
        ("code:missing", "yes"),
        ("code:nonsense", "a"),
        ("subject:Patient", "Group/1"),
        ("subject:Nobody", "1"),
        ("identifier:ofType", "http://v2|MR"),
        ("code-value-quantity", "8480-6"),
        ("_id:not", "1"),
        ("_sort", "nothing"),
        ("_sort", "code-value-quantity"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_total", "some"),
        ("code", "a\0"),
        ("code", "\ud800"),
        ("code", ",".join(["a"] * 1001)),
    ],
)
def test_refused(name: str, text: str) -> None:
    """What cannot be understood is a BadParameter that quotes the parameter."""
    with pytest.raises(BadParameter) as caught:
        parse((name, text))

    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("48.2|16.4", 50_000),
        ("48.2|16.4||", 50_000),
        ("48.2|16.4|11.2", 11_200),
        ("48.2|16.4|11.2|km", 11_200),
        ("48.2|16.4|3|mi", 4828.032),
        ("48.2|16.4|1e2|m", 100),
    ],
)
def test_near(text: str, metres: float) -> None:
    """A place, a distance of 50 km where none is named, and its unit, km where none is named."""
    place = parse(("near", text), type="Location").criteria[0].values[0]

    assert Near(48.2, 16.4, metres + 0.02) == place


@pytest.mark.parametrize(
    "text", ["48.2", "x|16.4", "90.1|0", "0|-180.5", "1|1|-3", "1|1|far", "1|1|2|leagues", "1|1|1|km|1", "nan|0", "|"]
)
def test_nowhere(text: str) -> None:
    """What is no place is quoted."""
    with pytest.raises(BadParameter) as caught:
        parse(("near", text), type="Location")

    assert f"near={text!r}" in str(caught.value)


def test_long_values_are_quoted_in_part() -> None:
    """An error quotes no more than a hundred characters."""
    with pytest.raises(BadParameter) as caught:
        parse(("date", "z" * 5000))

    assert 100 == str(caught.value).count("z")


def test_terminology_is_named() -> None:
    """A modifier that takes a terminology server says so."""
    with pytest.raises(BadParameter, match="terminology server"):
        parse(("code:below", "http://snomed.info/sct|123"))


@pytest.mark.parametrize("name", ["colour", "subject.colour", "subject:Patient.colour", "_includes"])
def test_unknown(name: str) -> None:
    """An unknown parameter is ignored and named, or refused when the client is strict."""
    query = parse((name, "x"), ("status", "final"))
    with pytest.raises(BadParameter) as caught:
        parse((name, "x"), strict=True)

    assert ((name,), (("status", "final"),)) == (query.ignored, query.given)
    assert repr(name) in str(caught.value)


def test_controls() -> None:
    """Sorting, counting and what the edge does with the answer are no criteria."""
    query = parse(("_sort", "-date,_id"), ("_count", "7"), ("_total", "none"), ("_summary", "true"), ("_cursor", "c"))

    assert ([("date", True), ("_id", False)], 7, "none", "c", ()) == (
        [(key.parameter.code, key.descending) for key in query.sort],
        query.count,
        query.total,
        query.cursor,
        query.criteria,
    )


H = "http://hl7.org/fhir"


@pytest.mark.parametrize(
    ("types", "name", "text", "values"),
    [
        ("Observation", "status", f"{H}/observation-status|final", (Token("", "final"),)),
        ("Observation", "status", f"{H}/observation-status|", (Token("", None),)),
        ("Observation", "status", "http://other|final", (Token("http://other", "final"),)),
        ("Observation", "status:not", "|final", (Token("", "final"),)),
        (
            "DocumentReference,Observation",
            "status",
            f"{H}/observation-status|final",
            (Token(f"{H}/observation-status", "final"), Token("", "final", ("Observation",))),
        ),
        ("ValueSet,CodeSystem", "status", f"{H}/publication-status|draft", (Token("", "draft"),)),
        (
            "DocumentReference",
            "relationship",
            f"DocumentReference/1${H}/document-relationship-type|signs",
            (Composite((Reference("DocumentReference", "1"), Token("", "signs"))),),
        ),
    ],
)
def test_implied_systems(types: str, name: str, text: str, values: tuple[Value, ...]) -> None:
    """A code is found by the system that its value set has, though the index has none of it."""
    query = parse(("_type", types), (name, text), type=None)

    assert values == query.criteria[0].values  # type: ignore[union-attr]


def test_count_is_capped() -> None:
    """No page is longer than the server allows; none at all is asked for the total alone."""
    assert (500, 0, "accurate") == (
        parse(("_count", "9999")).count,
        parse(("_count", "0"), ("_total", "none")).count,
        parse(("_count", "0"), ("_total", "none")).total,
    )


def test_every_type() -> None:
    """A search of the whole system takes the parameters that all types have."""
    query = parse(("_tag", "t"), ("code", "c"), type=None)

    assert ((), ["_tag"], ("code",)) == (query.types, [each.parameter.code for each in query.criteria], query.ignored)


def test_chains_of_several_types() -> None:
    """A chain goes to whatever one of the types may refer to."""
    query = parse(("_type", "DocumentReference,Observation"), ("subject.name", "x"), type=None)

    (chain,) = query.criteria
    assert isinstance(chain, Chain)
    assert {"Practitioner", "Patient", "Location"} <= {type for type, _ in chain.ways}


def test_too_long() -> None:
    """A query is read up to a length."""
    with pytest.raises(BadParameter, match="The query has 2000"):
        parse(("code", "x" * 2000 * 100))
