"""Transactions: all or nothing, in their order, references between the entries resolved."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.bundles import Json, bundle, entry, new_url, patient_record, statuses, transact, transacted
from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

PATIENT = {"resourceType": "Patient", "name": [{"family": "Transacted"}]}
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "transacted"}}
DATA = base64.b64encode(b"Letter.").decode()
BINARY = {"resourceType": "Binary", "contentType": "text/plain"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def patient(value: str) -> Json:
    """A Patient with an identifier that is the test's own."""
    return {**PATIENT, "identifier": [{"system": "urn:test:transactions", "value": value}]}


def total(fhir: Client, search: str) -> int:
    return int(fhir.fhir(f"{search}&_summary=count")["total"])


def test_answers_stand_in_the_order_of_the_request(fhir: Client) -> None:
    """Each entry has the status, location, ETag and time of its own, whatever was stored first."""
    fhir.update({**PATIENT, "id": "order-old"})

    read, made, put, gone = transacted(
        fhir,
        entry("GET", "Patient/order-new"),
        entry("POST", "Patient", PATIENT),
        entry("PUT", "Patient/order-new", {**PATIENT, "id": "order-new"}),
        entry("DELETE", "Patient/order-old"),
    )

    id = made["resource"]["id"]
    assert ["200", "201", "201", "204"] == statuses([read, made, put, gone])
    assert "201 Created" == made["response"]["status"]
    assert f"Patient/{id}/_history/1" == made["response"]["location"]
    assert 'W/"1"' == made["response"]["etag"]
    assert made["resource"]["meta"]["lastUpdated"] == made["response"]["lastModified"]
    assert f"{fhir.base}/Patient/{id}" == made["fullUrl"]
    assert "order-new" == read["resource"]["id"]
    assert 410 == fhir.get("Patient/order-old").status_code


@pytest.mark.parametrize(
    ("prefer", "has"),
    [("return=minimal", ()), ("return=representation", ("resource",)), ("return=OperationOutcome", ("outcome",))],
)
def test_prefer_says_what_comes_back(fhir: Client, prefer: str, has: tuple[str, ...]) -> None:
    """A resource, an outcome, or neither."""
    (made,) = transacted(fhir, entry("POST", "Patient", PATIENT), Prefer=prefer)

    assert has == tuple(name for name in ("resource", "outcome") if name in made or name in made["response"])


def test_references_between_entries_are_resolved(fhir: Client) -> None:
    """By urn:uuid, urn:oid, absolute and relative URL, in references, uris, extensions and narratives."""
    one, two, old = new_url(), "urn:oid:1.2.36.146.595.217.0.1", "https://old.example/fhir"
    extended = {"url": "https://example.org/of", "valueUri": one}
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{one}">her</a><a class="x" href=\'{old}/Patient/3\'>it</a></div>'
    made = transacted(
        fhir,
        entry(
            "POST",
            "Observation",
            {
                **OBSERVATION,
                "text": {"status": "generated", "div": div},
                "extension": [extended],
                "subject": {"reference": one},
                "performer": [{"reference": f"{old}/Patient/3"}, {"reference": "Patient/3"}, {"reference": two}],
                "focus": [
                    {"reference": f"{old}/Patient/3/_history/1"},
                    {"reference": "https://else.example/Patient/3"},
                ],
                "contained": [
                    {
                        "resourceType": "Group",
                        "id": "g",
                        "type": "person",
                        "actual": True,
                        "managingEntity": {"reference": one},
                    }
                ],
                "hasMember": [{"reference": "#g"}],
            },
            full_url=f"{old}/Observation/1",
        ),
        entry("POST", "Patient", PATIENT, full_url=one),
        entry("POST", "Patient", PATIENT, full_url=two),
        entry("POST", "Patient", PATIENT, full_url=f"{old}/Patient/3"),
    )

    first, second, third = (f"Patient/{each['resource']['id']}" for each in made[1:])
    found = fhir.fhir(f"Observation/{made[0]['resource']['id']}")
    assert first == found["subject"]["reference"]
    assert [third, third, second] == [each["reference"] for each in found["performer"]]
    assert [f"{old}/Patient/3/_history/1", "https://else.example/Patient/3"] == [
        each["reference"] for each in found["focus"]
    ]
    assert first == found["extension"][0]["valueUri"]
    assert first == found["contained"][0]["managingEntity"]["reference"]
    assert f'href="{first}"' in found["text"]["div"]
    assert f"href='{third}'" in found["text"]["div"]
    assert 1 == total(fhir, f"Observation?subject={first}")


def test_conditional_references_mean_what_is_there_or_comes(fhir: Client) -> None:
    """One is found in the database, the other is an entry of the same transaction."""
    there = fhir.create(patient("reference-there"))
    made = transacted(
        fhir,
        entry(
            "POST",
            "Observation",
            {**OBSERVATION, "subject": {"reference": "Patient?identifier=urn:test:transactions|reference-there"}},
        ),
        entry(
            "POST",
            "Observation",
            {**OBSERVATION, "subject": {"reference": "Patient?identifier=urn:test:transactions|reference-comes"}},
        ),
        entry("POST", "Patient", patient("reference-comes")),
    )

    subjects = [each["resource"]["subject"]["reference"] for each in made[:2]]
    assert [f"Patient/{there['id']}", f"Patient/{made[2]['resource']['id']}"] == subjects
    assert 1 == total(fhir, "Patient?identifier=urn:test:transactions|reference-comes")


@pytest.mark.parametrize(
    ("reference", "status", "sentence"),
    [
        ("Patient?identifier=urn:test:transactions|nobody", 412, "The conditional reference 'Patient?identifier=urn:test:transactions|nobody' matches nothing."),
        ("Patient?identifier=urn:test:transactions|twice", 412, "'Patient?identifier=urn:test:transactions|twice' matches more than one Patient."),
        ("Patient?unknown=1", 400, "The search parameter 'unknown' is not known."),
        ("urn:uuid:2b6a7d5c-0000-4000-8000-000000000000", 422, "'urn:uuid:2b6a7d5c-0000-4000-8000-000000000000' is the fullUrl of no entry that is stored."),
    ],
)  # fmt: skip
def test_a_reference_that_means_nothing_fails_all(fhir: Client, reference: str, status: int, sentence: str) -> None:
    """Neither the entry nor any other is stored."""
    if "twice" in reference:
        fhir.create(patient("twice")), fhir.create(patient("twice"))
    before = total(fhir, "Patient?name=Transacted")
    refused = transact(
        fhir,
        entry("POST", "Patient", PATIENT),
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": reference}}),
    )

    assert status == refused.status_code, refused.text
    assert diagnostics(refused)[0].endswith(sentence)
    assert refused.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    assert before == total(fhir, "Patient?name=Transacted")


def test_every_mistake_is_listed(fhir: Client) -> None:
    """Of each entry, by the FHIRPath of the element in the Bundle."""
    refused = transact(
        fhir,
        entry("POST", "Patient", {**PATIENT, "gender": "mal"}),
        entry("POST", "Patient", PATIENT),
        entry("PUT", "Patient/a", {**PATIENT, "id": "b"}),
        entry("POST", "Patient", {**OBSERVATION, "status": "final"}),
        entry("GET", "Nothing/1"),
        entry("POST", "Observation", {"resourceType": "Observation", "status": "final"}),
        entry("POST", "Patient"),
        {"resource": PATIENT},
        entry("FETCH", "Patient/1"),
    )

    listed = {issue["expression"][0]: issue["diagnostics"] for issue in refused.json()["issue"]}
    assert 400 <= refused.status_code < 500
    assert {
        "Bundle.entry[4]",
        "Bundle.entry[6].resource",
        "Bundle.entry[7].request",
        "Bundle.entry[8].request.method",
    } == set(listed)
    refused = transact(
        fhir,
        entry("POST", "Patient", {**PATIENT, "gender": "mal"}),
        entry("PUT", "Patient/a", {**PATIENT, "id": "b"}),
        entry("POST", "Patient", OBSERVATION),
        entry("POST", "Observation", {"resourceType": "Observation", "status": "final"}),
        entry("GET", "Patient?_count=x"),
    )
    listed = {issue["expression"][0]: issue["diagnostics"] for issue in refused.json()["issue"]}
    assert {
        "Bundle.entry[0].resource.gender": "Bundle.entry[0].resource.gender: 'mal' is not one of female, male, other, unknown.",
        "Bundle.entry[1].resource.id": "Bundle.entry[1].resource.id: The body's id is 'b', but the URL's is 'a'.",
        "Bundle.entry[2].resource.resourceType": "Bundle.entry[2].resource.resourceType: The body is not a Patient: its resourceType is 'Observation'.",
        "Bundle.entry[3].resource.code": "Bundle.entry[3].resource.code: is missing.",
    }.items() <= listed.items()
    assert "Bundle.entry[4]" in listed


@pytest.mark.parametrize(
    ("entries", "status", "sentence"),
    [
        ([entry("PUT", "Patient/twice", {**PATIENT, "id": "twice"}), entry("DELETE", "Patient/twice")], 400, "Bundle.entry[1]: Patient/twice is written by Bundle.entry[0] too."),
        ([entry("POST", "Patient", PATIENT), entry("GET", "Patient/never-there")], 404, "Bundle.entry[1]: Patient/never-there is not known."),
        ([entry("POST", "Patient", PATIENT), entry("POST", "/", bundle("batch"))], 405, "Bundle.entry[1]: A Bundle cannot be processed within another."),
        ([entry("POST", "Binary/1/$complete")], 400, "Bundle.entry[0]: $complete is done in a batch or by itself, not in a transaction."),
        ([entry("PUT", "Patient/m", {**PATIENT, "id": "m"}, ifMatch='W/"7"')], 412, "Bundle.entry[0]: If-Match is W/\"7\", but Patient/m is not there."),
        ([entry("DELETE", "Patient?identifier=")], 400, "Bundle.entry[0]: The search parameter 'identifier' has no value."),
        ([entry("PATCH", "Patient/never-there", {"resourceType": "Parameters"})], 404, "Bundle.entry[0]: Patient/never-there is not known."),
        ([entry("PATCH", "Patient/1", PATIENT)], 400, "Bundle.entry[0].resource.resourceType: A PATCH is a Parameters, or a Binary with a JSON Patch."),
    ],
)  # fmt: skip
def test_refusals_name_the_entry(fhir: Client, entries: list[Json], status: int, sentence: str) -> None:
    """Each mistake has its status, and one sentence with the entry."""
    refused = transact(fhir, *entries)

    assert (status, [sentence]) == (refused.status_code, diagnostics(refused))


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (PATIENT, 400, "The body is not a Bundle: [base] takes a Bundle of type batch or transaction."),
        ([], 400, "The body is not a Bundle: [base] takes a Bundle of type batch or transaction."),
        (bundle("document"), 400, "The Bundle's type is 'document': [base] takes batch or transaction; to keep a Bundle as it is, POST it to Bundle."),
        ({**bundle("transaction"), "entry": {}}, 422, "Bundle.entry: an object has to be a list."),
        (bundle("transaction", None, 7), 422, "Bundle.entry[0]: null is no Bundle.entry: it has to be a JSON object."),  # type: ignore[arg-type]
        (bundle("transaction", {"request": 7}), 422, "Bundle.entry[0].request: 7 is no Bundle.entry.request: it has to be a JSON object."),
        ({**bundle("transaction"), "strange": 1, "entry": [entry("GET", "Patient")]}, 422, "Bundle.strange: is an unknown element."),
    ],
)  # fmt: skip
def test_what_is_no_such_bundle_is_refused(fhir: Client, body: Any, status: int, sentence: str) -> None:
    """With a sentence that says what is taken."""
    refused = fhir("POST", "", json=body)

    assert (status, sentence) == (refused.status_code, diagnostics(refused)[0])


def test_the_base_takes_bundles_with_and_without_a_slash(fhir: Client, server: Server) -> None:
    """Nothing is redirected, and other media types are refused."""
    empty = {"resourceType": "Bundle", "type": "transaction"}

    assert 200 == requests.post(server.base, json=empty, allow_redirects=False, timeout=60).status_code
    assert 200 == requests.post(f"{server.base}/", json=empty, allow_redirects=False, timeout=60).status_code
    assert (
        415
        == requests.post(server.base, data=b"<Bundle/>", headers={"Content-Type": "text/plain"}, timeout=60).status_code
    )
    assert 405 == requests.put(server.base, json=empty, timeout=60).status_code


def test_conditions_are_kept(fhir: Client) -> None:
    """ifNoneExist finds or makes, also twice in one Bundle; ifMatch, ifNoneMatch; PUT, PATCH and DELETE by criteria."""
    there = fhir.create(patient("condition-there"))
    fhir.create(patient("condition-gone")), fhir.create(patient("condition-patched"))
    of = "identifier=urn:test:transactions|condition-"
    second = new_url()
    patch = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "add"},
                    {"name": "path", "valueString": "Patient"},
                    {"name": "name", "valueString": "active"},
                    {"name": "value", "valueBoolean": True},
                ],
            }
        ],
    }
    done = transacted(
        fhir,
        entry("POST", "Patient", patient("condition-there"), ifNoneExist=f"{of}there&name:missing=false"),
        entry("POST", "Patient", patient("condition-new"), ifNoneExist=f"{of}new"),
        entry("POST", "Patient", patient("condition-new"), ifNoneExist=f"{of}new", full_url=second),
        entry("PUT", f"Patient?{of}put", patient("condition-put")),
        entry("PATCH", f"Patient?{of}patched", patch),
        entry("DELETE", f"Patient?{of}gone"),
        entry("PUT", "Patient/condition-star", {**PATIENT, "id": "condition-star"}, ifNoneMatch="*"),
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": second}}),
    )

    assert ["200", "201", "200", "201", "200", "204", "201", "201"] == statuses(done)
    assert there["id"] == done[0]["resource"]["id"]
    assert done[1]["resource"]["id"] == done[2]["resource"]["id"]
    assert f"Patient/{done[1]['resource']['id']}" == done[7]["resource"]["subject"]["reference"]
    assert done[4]["resource"]["active"] is True
    assert [1, 1, 0] == [total(fhir, f"Patient?{of}{each}") for each in ("new", "put", "gone")]
    again = transact(fhir, entry("PUT", "Patient/condition-star", {**PATIENT, "id": "condition-star"}, ifNoneMatch="*"))
    assert (412, ["Bundle.entry[0]: If-None-Match is *, but Patient/condition-star is there."]) == (
        again.status_code,
        diagnostics(again),
    )


def test_what_is_deleted_first_no_longer_matches(fhir: Client) -> None:
    """DELETE comes before POST, so ifNoneExist makes anew what the same transaction deletes."""
    there = fhir.create(patient("deleted-first"))
    criteria = "identifier=urn:test:transactions|deleted-first"
    made, gone = transacted(
        fhir,
        entry("POST", "Patient", patient("deleted-first"), ifNoneExist=criteria),
        entry("DELETE", f"Patient?{criteria}"),
    )

    assert ["201", "204"] == statuses([made, gone])
    assert there["id"] != made["resource"]["id"]
    assert 1 == total(fhir, f"Patient?{criteria}")


def test_patches_are_recorded_as_such(fhir: Client) -> None:
    """JSON Patch comes as a Binary; the history says PATCH, and who was faster is not overwritten."""
    id = fhir.create(PATIENT)["id"]
    data = base64.b64encode(b'[{"op": "add", "path": "/gender", "value": "female"}]').decode()
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    (done,) = transacted(fhir, entry("PATCH", f"Patient/{id}", patch, ifMatch='W/"1"'))

    assert "female" == done["resource"]["gender"]
    assert ["PATCH", "POST"] == [each["request"]["method"] for each in fhir.fhir(f"Patient/{id}/_history")["entry"]]
    assert 412 == transact(fhir, entry("PATCH", f"Patient/{id}", patch, ifMatch='W/"1"')).status_code


def test_reads_see_what_was_written(fhir: Client) -> None:
    """Search, vread, history and Binary, whose FHIR form it always is."""
    done = transacted(
        fhir,
        entry("GET", "Patient?identifier=urn:test:transactions|seen"),
        entry("GET", "Patient/seen/_history/1"),
        entry("GET", "Patient/seen/_history"),
        entry("GET", "Binary/seen"),
        entry("PUT", "Patient/seen", {**patient("seen"), "id": "seen"}),
        entry("PUT", "Binary/seen", {**BINARY, "id": "seen", "data": DATA}),
        entry("GET", "Patient/seen", ifNoneMatch='W/"1"'),
        entry("HEAD", "Patient/seen"),
    )

    assert ["200", "200", "200", "200", "201", "201", "304", "200"] == statuses(done)
    assert "seen" == done[0]["resource"]["entry"][0]["resource"]["id"]
    assert 1 == len(done[2]["resource"]["entry"])
    assert ("Binary", DATA) == (done[3]["resource"]["resourceType"], done[3]["resource"]["data"])
    assert ["resource" in each for each in done[6:]] == [False, False]


def test_two_that_race_on_one_criterion_make_one(fhir: Client) -> None:
    """Of eight transactions at once one creates, and all refer to what it made."""
    criteria = "identifier=urn:test:transactions|race"

    def run(number: int) -> Json:
        url = new_url()
        return transacted(
            fhir,
            entry("POST", "Patient", patient("race"), full_url=url, ifNoneExist=criteria),
            entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": url}}),
        )[1]["resource"]["subject"]

    with ThreadPoolExecutor(8) as pool:
        subjects = list(pool.map(run, range(8)))

    assert 1 == len({each["reference"] for each in subjects})
    assert 1 == total(fhir, f"Patient?{criteria}")


def test_limits_hold(start_server: StartServer) -> None:
    """More entries than the setting says are 413; integrity is enforced for entries too, and names them."""
    fhir = Client(start_server(max_bundle_entries=2, integrity="enforce").base)
    url = new_url()
    too_many = transact(fhir, *(entry("POST", "Patient", PATIENT) for _ in range(3)))
    broken = transact(
        fhir,
        entry("POST", "Patient", PATIENT),
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": "Patient/nobody"}}),
    )
    whole = transact(
        fhir,
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": url}}),
        entry("POST", "Patient", PATIENT, full_url=url),
    )

    assert (413, ["The Bundle has 3 entries; at most 2 are taken at once."]) == (
        too_many.status_code,
        diagnostics(too_many),
    )
    assert (422, ["Bundle.entry[1].resource.subject.reference"]) == (
        broken.status_code,
        broken.json()["issue"][0]["expression"],
    )
    assert 200 == whole.status_code


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_large_record_loads(database: str, start_server: StartServer, request: pytest.FixtureRequest) -> None:
    """1,400 entries with documents in one transaction; who writes meanwhile gets through."""
    given = {"database": request.getfixturevalue("fresh_postgresql_url")} if database == "postgresql" else {}
    fhir = Client(start_server(**given).base)
    record = patient_record(60)
    headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(fhir, "POST", "", data=record, headers=headers)
        while not loading.done():
            Client(fhir.base).create(PATIENT)
            time.sleep(0.05)
        done = loading.result()

    assert 200 == done.status_code, done.text[:500]
    assert 60 * 23 + 1 == len(done.json()["entry"])
    id = done.json()["entry"][0]["response"]["location"].split("/")[1]
    assert [1200, 60] == [total(fhir, f"{type}?subject=Patient/{id}") for type in ("Observation", "DocumentReference")]
