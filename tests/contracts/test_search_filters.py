"""What the differential tests of filters do not reach: long texts, limits, narrowed searches."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_blob.fhir.definitions import definitions
from fhir_blob.search import Compartment
from fhir_blob.search.grammar.filter_syntax import MOST_LEVELS, MOST_TESTS
from fhir_blob.search.grammar.parser import parse_query
from tests.contracts.indexes import Indexed, found, page, put, query, store, tenant
from tests.contracts.observations import BASE
from tests.contracts.test_search_index import Recording

__all__ = ["store", "tenant"]


def patient(id: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **content}


def observation(id: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}, **content}


@pytest.mark.parametrize("ending", ["z", "yz", "xyz", "x" * 252 + "wxyz"], ids=len)
def test_long_texts_end(store: Indexed, tenant: str, ending: str) -> None:
    """A text ends where it ends, however many pieces of it are in the index, and nowhere before."""
    lengths = [256, 257, 511, 512, 513, 767, 768, 769, 1024, 1025]
    whole = {f"l{length}": ("x" * (length - 4) + "wxyz") for length in lengths}
    longer = {f"m{length}": whole[f"l{length}"] + "q" * 300 for length in (256, 512, 768)}
    put(store, tenant, *(observation(id, valueString=text) for id, text in (whole | longer).items()))

    assert list(whole) == found(store, tenant, ("_filter", f"value-string ew {ending}"))


def test_one_letter(store: Indexed, tenant: str) -> None:
    """What is shorter than the pieces that Elasticsearch looks for is found, and no pattern of its own."""
    texts = ["a", "ba", "?a", "b", "aab", "*", "b?"]
    put(store, tenant, *(observation(f"o{number}", valueString=text) for number, text in enumerate(texts)))

    assert (["o0", "o1", "o2"], ["o5"], ["o6"]) == (
        found(store, tenant, ("_filter", "value-string ew A")),
        found(store, tenant, ("_filter", "value-string ew *")),
        found(store, tenant, ("_filter", "value-string ew ?")),
    )


def test_one_element(store: Indexed, tenant: str) -> None:
    """What stands in brackets and behind them is asked of one element."""
    content = [{"attachment": {"title": "x"}}]
    links = {"one": [("replaces", "a"), ("signs", "b")], "other": [("signs", "a")], "none": []}
    put(store, tenant, *(
        {"resourceType": "DocumentReference", "id": id, "status": "current", "content": content,
         "relatesTo": [{"code": code, "target": {"reference": f"DocumentReference/{to}"}} for code, to in of]}
        for id, of in links.items()
    ))  # fmt: skip

    def asked(text: str) -> list[str]:
        return found(store, tenant, ("_filter", text), type="DocumentReference")

    assert (["one"], [], ["one", "other"], ["one"], ["one", "other", "none"], ["other", "none"]) == (
        asked("relatesTo[code eq replaces].target re DocumentReference/a"),
        asked("relatesTo[code eq replaces].target re DocumentReference/b"),
        asked("relatesTo[code eq replaces or code eq signs].target re DocumentReference/a"),
        asked(
            'relatesTo[target re DocumentReference/b].code eq "http://hl7.org/fhir/document-relationship-type|signs"'
        ),
        asked("relatesTo[code eq transforms].target pr false"),
        asked("relatesTo[code eq replaces].target pr false"),
    )


def _deepest() -> str:
    """As many levels as there may be, each one a turn."""
    text = "not family eq a"
    for level in range(MOST_LEVELS - 2):
        text = f"({text}) {'or' if level % 2 else 'and'} given pr false"
    return text


@pytest.mark.parametrize(
    "text",
    [
        _deepest(),
        " or ".join(f'family eq "n{number}"' for number in range(MOST_TESTS)),
        " and ".join(f'not (family ew "n{number}")' for number in range(MOST_TESTS)),
        " and ".join(f"(gender eq female or birthdate ge {1900 + number})" for number in range(MOST_TESTS // 2)),
        " or ".join(f"organization[name eq x].partof:Organization.name sw n{number}" for number in range(20)),
        "organization[partof[partof[partof[partof[name eq x].name eq x].name eq x].name eq x].name eq x].name eq x",
        "_has:Observation:subject:performer:Organization." + "partof." * 3 + "name eq x",
        "_has:Observation:patient:_has:Provenance:target:agent:Patient[not (family eq x)].given eq y or _id eq ada",
    ],
    ids=range(8),
)
def test_as_much_as_there_may_be(store: Indexed, tenant: str, text: str) -> None:
    """The longest and the deepest filters are answered."""
    put(store, tenant, patient("ada", gender="female"))

    assert found(store, tenant, ("_filter", text), type="Patient") in ([], ["ada"])


@pytest.mark.parametrize(
    "pairs",
    [
        [("_filter", " and ".join(f"not (family ew n{number})" for number in range(20)))],
        [("_filter", f"link[{' and '.join(f'not (family ew n{number})' for number in range(20))}].gender eq male")],
        [("gender:not", f"n{number}") for number in range(20)],
    ],
    ids=["filter", "brackets", "modifier"],
)
def test_none_of_many(store: Indexed, tenant: str, pairs: list[tuple[str, str]]) -> None:
    """PostgreSQL makes no joins of many conditions: it would plan 200 of them for 9 seconds."""
    with store.store.read(tenant) as reader:
        if store.external is not None or not reader.is_postgresql:
            pytest.skip("PostgreSQL alone joins them")
        recording = Recording(reader)
        store.index.search(recording, query(*pairs, type="Patient"))  # type: ignore[arg-type]
        statement, parameters = recording.statements[0]
        steps = [step for (step,) in reader.rows(f"EXPLAIN {statement}", parameters)]

    assert [] == [step for step in steps if "Anti Join" in step]


def test_narrowed(store: Indexed, tenant: str) -> None:
    """A filter stands beside whatever else narrows the search, on every page, and the total is of both."""
    put(store, tenant, patient("ada", gender="female"), patient("bob", gender="male"))
    put(store, tenant, *(
        observation(f"o{number}", subject={"reference": f"Patient/{'ada' if number % 2 else 'bob'}"},
                    effectiveDateTime=f"20{10 + number}")
        for number in range(8)
    ))  # fmt: skip
    text = "_id eq o1 or _lastUpdated lt 1969 or _id eq bob or _id eq ada or not (_id eq o3 or _id eq o4)"

    def asked(*pairs: tuple[str, str]) -> Any:
        within = [Compartment("Patient", "ada", definitions().compartment("Patient"))]
        given = [("_filter", text), ("_sort", "_id"), ("_type", "Observation,Patient"), *pairs]
        return parse_query(None, given, base=BASE, strict=True, default_count=2, max_count=2, within=within)

    first = page(store, tenant, asked())
    second = page(store, tenant, asked(("_cursor", str(first.cursor))))

    assert ([["ada", "o1"], ["o5", "o7"]], [4, 4], None) == (
        [[each.id for each in of.matches] for of in (first, second)],
        [first.total, second.total],
        second.cursor,
    )


def test_several_types(store: Indexed, tenant: str) -> None:
    """A filter of several types, or of every type, asks what they have in common."""
    put(store, tenant, patient("p", meta={"tag": [{"code": "t"}]}), observation("o", meta={"tag": [{"code": "u"}]}))

    assert (["p"], ["o"], ["p", "o"]) == (
        found(store, tenant, ("_filter", "_tag eq t"), type=None),
        found(store, tenant, ("_filter", "_tag ne t and not (_tag pr false)"), type=None),
        found(store, tenant, ("_filter", "_id eq p or _tag eq u"), ("_type", "Patient,Observation"), type=None),
    )
