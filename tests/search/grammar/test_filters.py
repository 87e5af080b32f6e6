"""What a filter means, in tables of (text, meaning), and what is none."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_blob.errors import BadParameter
from fhir_blob.search import (
    AllOf,
    AnyOf,
    Chain,
    Clause,
    Composite,
    Criterion,
    Has,
    Missing,
    Not,
    Range,
    Reference,
    Token,
    Words,
)
from fhir_blob.search.grammar.filter_syntax import LONGEST, MOST_LEVELS, MOST_TESTS, OPERATORS
from fhir_blob.search.grammar.parser import parse_query

BASE = "https://ehr.example/fhir"


def read(text: str, type: str | None = "Patient") -> tuple[Clause, ...]:
    return parse_query(type, [("_filter", text)], base=BASE, strict=True, default_count=1, max_count=1).criteria


def shown(clause: Clause) -> str:
    """A clause in short."""
    match clause:
        case Criterion():
            modifier = "" if clause.modifier is None else f":{clause.modifier}"
            return f"{clause.parameter.code}{modifier}={' '.join(map(value, clause.values))}"
        case Chain():
            return f"{clause.parameter.code}>{'|'.join(f'{type}.{shown(inner)}' for type, inner in clause.ways)}"
        case Has():
            return f"{clause.source}.{clause.parameter.code}<{shown(clause.clause)}"
        case AllOf():
            return f"({' & '.join(map(shown, clause.clauses))})"
        case AnyOf():
            return f"({' | '.join(map(shown, clause.clauses))})"
        case Not():
            return f"!{shown(clause.clause)}"
        case Words():
            return f"{clause.parameter}={clause.alternatives}"
    raise AssertionError(clause)


def value(given: object) -> str:
    match given:
        case Token():
            return given.code or "*" if given.system is None else f"{given.system}|{given.code or ''}"
        case Reference():
            return f"{given.type or '?'}/{given.id}"
        case Range():
            return f"{given.prefix}{given.value:.10g}"
        case Missing():
            return str(given.missing).lower()
        case Composite():
            return "$".join(map(value, given.parts))
    return getattr(given, "text", None) or str(getattr(given, "value", given))


@pytest.mark.parametrize(
    ("type", "text", "meaning"),
    [
        ("Patient", 'family eq "O\\"Neil \\u00e9"', 'family:eq=O"Neil é'),
        ("Patient", "family ne a", "family:ne=a"),
        ("Patient", 'family sw "a, b"', "family=a, b"),
        ("Patient", "family co a", "family:contains=a"),
        ("Patient", 'family ew "(a]"', "family:ew=(a]"),
        ("Patient", "gender eq male", "gender=male"),
        ("Patient", "gender ne http://hl7.org/fhir/administrative-gender|male", "gender:ne=|male"),
        ("Patient", "gender eq a,b", "gender=a,b"),
        ("Patient", "family pr false", "family:missing=true"),
        ("Patient", "family pr true", "family:missing=false"),
        ("Patient", "birthdate sa 1970", "birthdate=sa0"),
        ("Patient", "birthdate po 1970", "birthdate=po0"),
        ("Patient", 'birthdate co "1970-01-01T00:00:00+00:00"', "birthdate=co0"),
        ("Patient", "_id ne ada", "!_id=ada"),
        ("Patient", "_profile ne http://a,b", "_profile:ne=http://a,b"),
        ("Patient", '_text eq "liver, big"', "_text=(('liver', 'big'),)"),
        ("Patient", "_list eq 42", "List.item<_id=42"),
        ("Patient", "general-practitioner:Organization.name sw a", "general-practitioner>Organization.name=a"),
        ("Patient", "link.family eq a", "link>Patient.family:eq=a"),
        ("Patient", "link[gender eq male].family eq a", "link>Patient.(gender=male & family:eq=a)"),
        ("Patient", "_has:Observation:patient:code eq a", "Observation.patient<code=a"),
        ("Patient", "_has:Observation:patient:performer:Organization.name sw a", "Observation.patient<performer>Organization.name=a"),
        ("Observation", "value-quantity ge 5.4|ucum|kg", "value-quantity=ge5400"),
        ("Observation", "code eq snomed|1", "code=http://snomed.info/sct|1"),
        ("Observation", "code-value-quantity eq a$gt5", "code-value-quantity=a$gt5"),
        ("Observation", "code-value-quantity[code eq a].value gt 5", "code-value-quantity=a$gt5"),
        ("Observation", "combo-code-value-quantity[value gt 5 and code eq a].value pr true", "combo-code-value-quantity=a$gt5"),
        ("DocumentReference", "relatesTo[code eq a or code eq b].target re DocumentReference/1", "relationship=DocumentReference/1$a DocumentReference/1$b"),
        ("DocumentReference", "relatesTo[code eq a].target pr false", "!relationship=false$a"),
        ("Group", "characteristic[code eq a].value eq b", "characteristic-value=a$b"),
        ("MolecularSequence", "chromosome-window-coordinate[chromosome eq 1].windowStart lt 9", "chromosome-window-coordinate=1$lt9$false"),
        (None, "_tag eq a", "_tag=a"),
    ],
)  # fmt: skip
def test_tests(type: str | None, text: str, meaning: str) -> None:
    """A path, an operator and a value."""
    assert [meaning] == [shown(each) for each in read(text, type)]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("_id eq a and _id eq b", ["_id=a", "_id=b"]),
        ("_id eq a or _id eq b or _id eq c", ["(_id=a | _id=b | _id=c)"]),
        ("_id eq a or _id eq b and _id eq c", ["(_id=a | _id=b)", "_id=c"]),
        ("_id eq a and _id eq b or _id eq c", ["((_id=a & _id=b) | _id=c)"]),
        ("_id eq a or (_id eq b and _id eq c)", ["(_id=a | (_id=b & _id=c))"]),
        ("not (_id eq a and _id eq b)", ["!(_id=a & _id=b)"]),
        ("not(_id eq a)and(_id eq b)", ["!_id=a", "_id=b"]),
        ("not _id eq a and _id eq b", ["!_id=a", "_id=b"]),
        ("  ( ( _id   eq a ) )  ", ["_id=a"]),
    ],
)
def test_logic(text: str, meaning: list[str]) -> None:
    """From left to right: neither and nor or goes first."""
    assert meaning == [shown(each) for each in read(text)]


def test_ways() -> None:
    """A chain goes to every type that it may go to and that can be asked this."""
    (chain,) = read('subject.name co "x"', "Observation")

    assert isinstance(chain, Chain)
    assert ["Patient", "Location"] == [type for type, _ in chain.ways]


@pytest.mark.parametrize(
    ("type", "text", "reason"),
    [
        ("Patient", "name", "an operator"),
        ("Patient", "name co", "a value"),
        ("Patient", 'name co "a', "a value"),
        ("Patient", 'name co "a"b', "a value"),
        ("Patient", 'name co "\\x"', "a JSON string"),
        ("Patient", 'name co "\\ud800"', "characters that no resource can have"),
        ("Patient", 'name co "\\u0000"', "characters that no resource can have"),
        ("Patient", "name xx a", "an operator"),
        ("Patient", "name EQ a", "an operator"),
        ("Patient", "name eq a name eq b", "'and' or 'or' is expected at 'name eq b'"),
        ("Patient", "(name eq a", "'and', 'or' or ')' is expected at its end"),
        ("Patient", "name eq a and", "the name of a search parameter"),
        ("Patient", "not", "the name of a search parameter"),
        ("Patient", " ", "the name of a search parameter"),
        ("Patient", "link[family eq a", "'and', 'or' or ']'"),
        ("Patient", "link[family eq a] eq b", "'.' and a name"),
        ("Patient", "link[].family eq a", "the name of a search parameter"),
        ("Patient", "colour eq a", "'colour' is no search parameter of Patient"),
        ("Patient", "link.colour eq a", "'colour' is no search parameter of"),
        ("Patient", "link:Nobody.family eq a", "'Nobody' is no resource type"),
        ("Patient", "family.given eq a", "leads nowhere"),
        ("Patient", "_has:Observation:code:code eq a", "no reference parameter"),
        ("Patient", "_has:Nobody:patient:code eq a", "no reference parameter"),
        ("Patient", "birthdate eq yesterday", "not a date"),
        ("Patient", "birthdate eq ge2014", "not a date"),
        ("Patient", "birthdate sw 2014", "'sw' is not asked of a parameter of type date"),
        ("Patient", "gender gt a", "'gt' is not asked of a parameter of type token"),
        ("Patient", "gender sb a", "terminology server"),
        ("Patient", "gender ni http://a", "terminology server"),
        ("Patient", "general-practitioner ne a", "'ne' is not asked of a parameter of type reference"),
        ("Patient", "family pr maybe", "true or false"),
        ("Patient", "_id pr true", "always there"),
        ("Patient", "_text co a", "'eq' alone"),
        ("Patient", 'family eq ""', "1 to 256 characters"),
        ("Patient", f"family eq {'x' * 257}", "1 to 256 characters"),
        ("Patient", 'gender eq ""', "no value"),
        ("Patient", "link.link.link.link.link.link.family eq a", "at most 5 links"),
        ("Observation", "value-quantity co 5", "'co' is not asked of a parameter of type quantity"),
        ("Observation", "value-quantity gt 5|mg", "number|system|code"),
        ("Observation", "component-code-value-quantity[not (code eq a)].value gt 5", "what one element has not"),
        ("Observation", "component-code-value-quantity[code eq a and code eq b].value gt 5", "asked twice"),
        ("Observation", "component-code-value-quantity[colour eq a].value gt 5", "code, value are asked"),
        ("Observation", "component-code-value-quantity[code eq a].value.unit eq mg", "one name"),
        ("Observation", "code[code eq a].value eq b", "leads nowhere"),
    ],
)
def test_refused(type: str, text: str, reason: str) -> None:
    """A BadParameter says what is wrong with it, and quotes."""
    with pytest.raises(BadParameter) as caught:
        read(text, type)

    assert "_filter" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name eq " + "x" * LONGEST, f"at most {LONGEST} are read"),
        ("(" * 5000 + "name eq a" + ")" * 4000, f"more than {MOST_LEVELS} levels"),
        ("not " * 2000 + "name eq a", f"more than {MOST_LEVELS} levels"),
        ("link[" * 1500 + "name eq a", f"more than {MOST_LEVELS} levels"),
        (" and ".join(["name eq a or name eq b"] * MOST_LEVELS), f"more than {MOST_LEVELS} levels"),
        (" or ".join(["name eq a"] * (MOST_TESTS + 1)), f"more than {MOST_TESTS} tests"),
        ("link." * 1900 + "name eq a", "at most 5 links"),
        ("_has:Patient:link:" * 500 + "name eq a", "at most 5 links"),
        ('name eq "' + "\\" * 9000, "a value"),
    ],
)
def test_too_much(text: str, reason: str) -> None:
    """What is too long, too deep or too many is refused at once."""
    started = time.process_time()
    with pytest.raises(BadParameter) as caught:
        read(text)

    assert reason in str(caught.value)
    assert time.process_time() - started < 1


def test_too_wide() -> None:
    """A chain to whatever there is, again and again, takes no more than a search may have, and no time."""
    inner = " or ".join(["_id eq a"] * 20)
    text = f"target[{inner}].target[{inner}].target[{inner}]._id eq a"
    started = time.process_time()
    with pytest.raises(BadParameter, match="1000 values"):
        read(text, "Provenance")

    assert time.process_time() - started < 2


words = [
    "and",
    "or",
    "not",
    "(",
    ")",
    "[",
    "]",
    ".",
    '"a b"',
    "link",
    "family",
    "birthdate",
    "2014",
    "_has:Observation:patient:",
    "\\",
    '"',
    "é",
    "\n",
    *OPERATORS,
]


@settings(max_examples=400, deadline=None, database=None)
@given(parts=st.lists(st.sampled_from(words), max_size=12), between=st.sampled_from([" ", ""]))
def test_anything(parts: list[str], between: str) -> None:
    """Whatever is sent is a filter or a BadParameter."""
    try:
        found = read(f"family eq a and {between.join(parts)}")
    except BadParameter as error:
        assert "_filter" in str(error)
    else:
        assert found
