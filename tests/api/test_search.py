"""The grammar of search as a client sees it: https://hl7.org/fhir/R4/search.html"""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bundles import entry, transacted
from tests.client import Client, diagnostics
from tests.services.server import start

ROWS = "urn:oid:2.16.840.1.113883.2"


@pytest.fixture(scope="module", params=["database", "elasticsearch"])
def fhir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose searches the database answers, and one that asks Elasticsearch."""
    if request.param == "database":
        yield Client(request.getfixturevalue("server").base)
        return
    given = {"elasticsearch": request.getfixturevalue("elasticsearch_url"), "index_prefix": "api-"}
    started = start(tmp_path_factory.mktemp("server"), **given)
    yield Client(started.base)
    started.kill()


def put(fhir: Client, type: str, id: str, /, **elements: Any) -> None:
    fhir.update({"resourceType": type, "id": id, **elements})


def concept(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


@pytest.fixture(scope="module")
def ward(fhir: Client) -> Client:
    """Two patients of two practices, their observations, documents and a list."""
    put(fhir, "Organization", "w-north", name="Northern practice")
    put(fhir, "Organization", "w-south", name="Southern practice", partOf={"reference": "Organization/w-north"})
    for id, family, practice in (("w-ada", "Lovelace", "w-north"), ("w-bob", "Byron", "w-south")):
        put(
            fhir, "Patient", id,
            identifier=[{"system": ROWS, "value": id}],
            name=[{"family": family}],
            managingOrganization={"reference": f"Organization/{practice}"},
        )  # fmt: skip
    for id, patient, code in (("w-o1", "w-ada", "1234-5"), ("w-o2", "w-ada", "9999-9"), ("w-o3", "w-bob", "1234-5")):
        put(
            fhir, "Observation", id,
            status="final", code=concept(code), subject={"reference": f"Patient/{patient}"}, effectiveDateTime="2024-05-01",
        )  # fmt: skip
    put(
        fhir, "DocumentReference", "w-d1",
        status="current", type=concept("34133-9"), subject={"reference": f"{fhir.base}/Patient/w-ada"},
        date="2024-05-02T08:00:00Z", content=[{"attachment": {"title": "Letter of discharge"}}],
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">The <b>liver</b> is fine.</div>'},
    )  # fmt: skip
    put(
        fhir,
        "DocumentReference",
        "w-d2",
        status="current",
        subject={"reference": "Patient/w-bob"},
        content=[{"attachment": {"title": "x"}}],
    )
    put(fhir, "List", "w-list", status="current", mode="working", entry=[{"item": {"reference": "Patient/w-bob"}}])
    put(fhir, "Provenance", "w-pr", target=[{"reference": "DocumentReference/w-d1"}], recorded="2024-05-03T00:00:00Z",
        agent=[{"who": {"reference": "Organization/w-north"}}])  # fmt: skip
    return fhir


def ids(fhir: Client, query: str, mode: str = "match") -> list[str]:
    entries = fhir.fhir(query).get("entry", [])
    return [each["resource"]["id"] for each in entries if each["search"]["mode"] == mode]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Observation?subject:Patient.identifier=w-ada", ["w-o1", "w-o2"]),
        ("Observation?subject.name=byron&code=1234-5", ["w-o3"]),
        ("Observation?patient.organization.name=Southern&_id=w-o1,w-o2,w-o3", ["w-o3"]),
        ("Observation?subject:Patient.organization:Organization.partof.name=Northern", ["w-o3"]),
        ("Observation?subject:Patient._id=w-ada&code=9999-9", ["w-o2"]),
        ("Observation?patient.name:exact=Lovelace&status:not=final", []),
        ("Observation?subject:Patient.name:missing=false&_id=w-o2", ["w-o2"]),
        ("Patient?_has:Observation:patient:code=9999-9", ["w-ada"]),
        ("Patient?_has:DocumentReference:subject:_has:Provenance:target:agent=Organization/w-north", ["w-ada"]),
        ("Patient?_has:Observation:subject:date=ge2024&_has:DocumentReference:patient:type=34133-9", ["w-ada"]),
        ("Organization?_has:Patient:organization:_has:Observation:patient:code=9999-9", ["w-north"]),
        ("Observation?patient._has:DocumentReference:patient:type=34133-9", ["w-o1", "w-o2"]),
        ("Patient?_list=w-list", ["w-bob"]),
        ("DocumentReference?_text=liver", ["w-d1"]),
        ("DocumentReference?_text=LIVER+fine", ["w-d1"]),
        ("DocumentReference?_text=discharge", []),
        ("DocumentReference?_content=discharge", ["w-d1"]),
        ("DocumentReference?_content=heart,liver", ["w-d1"]),
        ("DocumentReference?_content=discharge+heart", []),
        ("Patient/w-ada/Observation", ["w-o1", "w-o2"]),
        ("Patient/w-ada/Observation?code=9999-9", ["w-o2"]),
        ("Patient/w-ada/*", ["w-ada", "w-o1", "w-o2", "w-d1"]),
        ("Patient/w-ada/*?_type=DocumentReference,Observation&_count=2&_sort=-_id", ["w-o2", "w-o1"]),
        ("?_type=Patient,Organization&_id=w-ada,w-north,w-o1", ["w-north", "w-ada"]),
        ("?_id=w-d1,w-list", ["w-d1", "w-list"]),
        ("Patient/w-ada/$everything?_type=Observation", ["w-o1", "w-o2"]),
        ("Patient/w-ada/$everything?start=2024-05-02", ["w-ada", "w-d1"]),
        ("Patient/w-ada/$everything?end=2024-05-01", ["w-ada", "w-o1", "w-o2"]),
        ("DocumentReference/$docref?patient=w-ada", ["w-d1"]),
        ("DocumentReference/$docref?patient=w-ada&type=http://loinc.org|34133-9", ["w-d1"]),
        ("DocumentReference/$docref?patient=w-bob&type=34133-9", []),
    ],
)  # fmt: skip
def test_found(ward: Client, query: str, expected: list[str]) -> None:
    """Chains, _has, lists, words, compartments and the operations on them find these, and no others."""
    assert expected == ids(ward, query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("DocumentReference?_id=w-d1&_include=DocumentReference:subject", ["w-ada"]),
        ("DocumentReference?_id=w-d1&_include=DocumentReference:subject:Group", []),
        ("Patient?_id=w-bob&_include=Patient:organization", ["w-south"]),
        ("Patient?_id=w-bob&_include=Patient:organization&_include:iterate=Organization:partof", ["w-south", "w-north"]),
        ("DocumentReference?_id=w-d1&_include=*&_include:iterate=*", ["w-ada", "w-north"]),
        ("Patient?_id=w-ada&_revinclude=Observation:subject", ["w-o1", "w-o2"]),
        ("Patient?_id=w-ada&_revinclude=DocumentReference:*&_revinclude:iterate=Provenance:target", ["w-d1", "w-pr"]),
        ("Patient?_id=w-ada,w-bob&_include=Patient:link", []),
        ("Patient/w-ada/$everything?_type=Patient", ["w-north"]),
    ],
)  # fmt: skip
def test_included(ward: Client, query: str, expected: list[str]) -> None:
    """What comes with the matches is marked so, each resource once, and not counted."""
    answered = ward.fhir(query)

    assert expected == ids(ward, query, "include")
    assert len(ids(ward, query)) == answered["total"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("Observation?code.text=x", "code.text='x' cannot be searched: a token parameter cannot be chained."),
        ("Observation?subject:Nothing.name=x", "'Nothing' is no resource type"),
        ("Patient?_has:Observation:code=x", "it is written _has:Type:reference:parameter"),
        ("Patient?_has:Observation:code:value=x", "'code' is no reference parameter of Observation"),
        ("Patient?_has:Observation:patient:colour=x", "'colour' is no parameter of Observation"),
        ("Patient?_list=$current-allergies", "functional lists such as $current-problems are not kept"),
        ("Patient?_include=Observation", "it is written Type:parameter or Type:parameter:target"),
        ("Patient?_include=Patient:name", "'name' is no reference parameter of Patient"),
        ("?_type=Patient,Nothing", "_type='Nothing' is no resource type of FHIR R4."),
        ("Observation?subject.name:below=x", "does not take the modifier :below"),
        ("Patient?_text=...", "it has no word"),
        ("Patient/w-ada/$everything?start=yesterday", "it is not a date"),
        ("DocumentReference/$docref", "$docref takes the parameter 'patient'"),
        ("Patient?organization.partof.partof.partof.partof.partof.name=x", "a chain has at most 5 links"),
        ("Patient?identifier=" + ",".join(map(str, range(1001))), "A search takes 1000 values"),
    ],
)  # fmt: skip
def test_refused(ward: Client, query: str, sentence: str) -> None:
    """What cannot be understood is a 400 that says why, and quotes it."""
    refused = ward.get(query)

    assert 400 == refused.status_code
    assert sentence in diagnostics(refused)[0]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("Patient/none/Observation", "Patient/none is not known."),
        ("Patient/w-ada/Organization", "No Organization is in the compartment of a Patient."),
        ("Organization/w-north/Patient", "R4 has no compartment of Organization"),
        ("Patient/none/$everything", "Patient/none is not known."),
    ],
)
def test_no_such_compartment(ward: Client, path: str, sentence: str) -> None:
    """Nothing is searched in what is not there."""
    refused = ward.get(path)

    assert 404 == refused.status_code
    assert sentence in diagnostics(refused)[0]


def test_pages_of_a_compartment(ward: Client) -> None:
    """The next link of a compartment stays in it, and a cursor of one is refused in another."""
    first = ward.fhir("Patient/w-ada/*?_count=3")

    following = next(each["url"] for each in first["link"] if each["relation"] == "next")
    assert following.startswith(f"{ward.base}/Patient/w-ada/*?_count=3&_cursor=")
    assert ["w-d1"] == ids(ward, following.removeprefix(f"{ward.base}/"))
    assert 400 == ward.get(following.removeprefix(f"{ward.base}/").replace("w-ada", "w-bob")).status_code


def test_post_search(ward: Client) -> None:
    """Every search can be posted as a form."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    found = [
        ward("POST", path, data="code=9999-9", headers=form).json()["total"]
        for path in ("Observation/_search", "Patient/w-ada/Observation/_search")
    ]
    system = ward("POST", "_search", data="_type=List&_id=w-list", headers=form).json()["total"]

    assert [1, 1, 1] == [*found, system]


def test_a_transaction_searches_what_it_wrote(fhir: Client) -> None:
    """Elasticsearch hears of it after the commit, and so does the search; what needs no index is found inside."""
    _, searched, read, history = transacted(
        fhir,
        entry("PUT", "Patient/inside", {"resourceType": "Patient", "id": "inside", "name": [{"family": "Inside"}]}),
        entry("GET", "Patient?family=Inside"),
        entry("GET", "Patient/inside"),
        entry("GET", "Patient/inside/_history"),
    )

    found = searched["resource"]["total"], read["resource"]["meta"]["versionId"], history["resource"]["total"]
    assert (1, "1", 1) == found
