"""What a search says of its answer, in tables of (text, meaning)."""

from __future__ import annotations

import pytest

from fhir_blob.errors import BadParameter
from fhir_blob.search import Include, Near, Query, Token
from fhir_blob.search.grammar.parser import parse_query


def parse(*pairs: tuple[str, str], type: str | None = "Observation", strict: bool = False) -> Query:
    return parse_query(type, pairs, base="https://ehr.example/fhir", strict=strict, default_count=20, max_count=500)


@pytest.mark.parametrize(
    "name", ["_sort", "_count", "_total", "_include", "_summary", "_elements", "code", "_id", "_has:Group:member:code"]
)
@pytest.mark.parametrize("value", ["", ",", ",,"])
def test_blank(name: str, value: str) -> None:
    """A parameter without a value is passed over and named, or refused when the client is strict."""
    query = parse((name, value), ("status", "final"))
    with pytest.raises(BadParameter, match="has no value"):
        parse((name, value), strict=True)

    assert ((name,), (), (("status", "final"),)) == (query.blank, query.ignored, query.given)


@pytest.mark.parametrize(
    "name",
    ["_sort:asc", "_count:x", "_summary:not", "_include:foo", "_revinclude:below", "_elements:", "_format:json"]
    + ["_list:not", "_text:contains", "_content:exact", "_type:not", "_contained:missing", "code:", "subject:.name"],
)
def test_modifiers(name: str) -> None:
    """A modifier that a parameter does not take is never passed over: R4 has it refused."""
    with pytest.raises(BadParameter, match=r"does not take the modifier|no modifier follows"):
        parse((name, "x"))


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (["date,-code"], [("date", False), ("code", True)]),
        (["date", "-code"], [("date", False), ("code", True)]),
        ([",date,"], [("date", False)]),
        (["-_lastUpdated"], [("_lastUpdated", True)]),
    ],
)
def test_sort(given: list[str], keys: list[tuple[str, bool]]) -> None:
    """The keys stand in order, in one parameter or in several."""
    query = parse(*(("_sort", each) for each in given))

    assert keys == [(each.parameter.code, each.descending) for each in query.sort]


def test_sort_by_distance() -> None:
    """It is measured from the place that `near` names, wherever it stands."""
    query = parse(("_sort", "-near,name"), ("near", "48.2|16.4|10"), type="Location")

    assert [Near(48.2, 16.4, 10_000.02), None] == [each.place for each in query.sort]


@pytest.mark.parametrize("near", [[], ["1|1,2|2"], ["1|1", "2|2"]])
def test_sort_by_no_distance(near: list[str]) -> None:
    """Without a place, or with several, nothing is nearer than anything else."""
    with pytest.raises(BadParameter, match="_sort='near' cannot be searched: it takes one place to measure from"):
        parse(("_sort", "near"), *(("near", each) for each in near), type="Location")


@pytest.mark.parametrize("name", ["_count", "_total", "_summary", "_format", "_pretty", "_cursor"])
def test_said_twice(name: str) -> None:
    """What can be meant once may be repeated, but not contradicted."""
    values = {"_count": ("5", "6"), "_total": ("none", "accurate")}.get(name, ("a", "b"))

    assert 2 == len(parse((name, values[0]), (name, values[0])).given)
    with pytest.raises(BadParameter, match=f"it was {values[0]!r} before"):
        parse((name, values[0]), (name, values[1]))


@pytest.mark.parametrize(("text", "total"), [("none", "none"), ("estimate", "accurate"), ("accurate", "accurate")])
def test_total(text: str, total: str) -> None:
    """Who asks for an estimate gets a number, too."""
    assert total == parse(("_total", text)).total


@pytest.mark.parametrize("pair", [("_contained", "false"), ("_containedType", "container"), ("_elements", "id,code")])
def test_understood(pair: tuple[str, str]) -> None:
    """What this server does anyway is understood."""
    query = parse(pair, strict=True)

    assert ((pair,), ()) == (query.given, query.criteria)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([("_contained", "true")], "contained resources are not searched by themselves"),
        ([("_contained", "both")], "contained resources are not searched by themselves"),
        ([("_contained", "maybe")], "it takes false, true or both"),
        ([("_containedType", "x")], "it takes container or contained"),
        ([("_summary", "text"), ("_include", "*")], "it cannot be mixed with _include and _revinclude"),
        ([("_has", "x")], "it is written _has:Type:reference:parameter"),
        ([("_cursor", ""), ("_cursor", "x")], "it was '' before"),
    ],
)
def test_refused(pairs: list[tuple[str, str]], sentence: str) -> None:
    """What cannot be done, or not together, is a BadParameter that says why."""
    with pytest.raises(BadParameter) as caught:
        parse(*pairs)

    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "include"),
    [
        ("_include", "*", Include("*", None)),
        ("_include:iterate", "*", Include("*", None, iterates=True)),
        ("_revinclude", "*", Include("*", None, reverse=True)),
        ("_revinclude:recurse", "*", Include("*", None, iterates=True, reverse=True)),
        ("_revinclude", "List:*:Patient", Include("List", None, "Patient", reverse=True)),
    ],
)
def test_includes_of_anything(name: str, value: str, include: Include) -> None:
    """An asterisk is any parameter, and any type."""
    assert (include,) == parse((name, value)).includes


def test_both_spellings() -> None:
    """R4 writes it `ofType` in its code system and `of-type` in its text."""
    criterion = parse(("identifier:of-type", "http://v2|MR|446")).criteria[0]

    assert ("ofType", (Token("http://v2", "MR|446"),)) == (criterion.modifier, criterion.values)  # type: ignore[union-attr]
