"""What a transaction does with references in patches, with criteria of its entries, and with what it reads.

Source: https://hl7.org/fhir/R4/http.html#trules
"""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.bundles import Json, bundle, entry, new_url, statuses, transact, transacted
from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

SYSTEM = "urn:test:rules"
PATIENT: Json = {"resourceType": "Patient", "name": [{"family": "Ruled"}]}
OBSERVATION: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "ruled"}}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def patient(*values: str, **more: Any) -> Json:
    """A Patient with identifiers that are the test's own."""
    return {**PATIENT, "identifier": [{"system": SYSTEM, "value": value} for value in values], **more}


def of(value: str) -> str:
    return f"identifier={SYSTEM}|{value}"


def total(fhir: Client, value: str) -> int:
    return int(fhir.fhir(f"Patient?{of(value)}&_summary=count")["total"])


def _carried(media_type: str, document: Any) -> Json:
    data = base64.b64encode(json.dumps(document).encode()).decode()
    return {"resourceType": "Binary", "contentType": media_type, "data": data}


def json_patch(subject: str) -> Json:
    add = {"op": "add", "path": "/subject", "value": {"reference": subject}}
    focus = {"op": "add", "path": "/focus", "value": [{"reference": "Patient/as-it-is"}]}
    more = {"op": "add", "path": "/focus/-", "value": {"reference": subject}}
    again = {"op": "replace", "path": "/focus/1/reference", "value": subject}
    return _carried("application/json-patch+json", [add, focus, more, again])


def generic_patch(subject: str) -> Json:
    document = [{"op": "add", "path": "", "value": {**OBSERVATION, "id": "ID", "subject": {"reference": subject}}}]
    return _carried("application/json", [{**document[0], "path": "/subject", "value": {"reference": subject}}])


def merge_patch(subject: str) -> Json:
    return _carried("application/merge-patch+json", {"subject": {"reference": subject}})


def fhirpath_patch(subject: str) -> Json:
    return _operation(("path", "Observation"), ("name", "subject"), value={"valueReference": {"reference": subject}})


def fhirpath_patch_of_parts(subject: str) -> Json:
    parts = [{"name": "reference", "valueString": subject}]
    return _operation(("path", "Observation"), ("name", "subject"), value={"part": parts})


def fhirpath_patch_of_the_text(subject: str) -> Json:
    return _operation(("path", "Observation.performer.reference"), type="replace", value={"valueString": subject})


def _operation(*strings: tuple[str, str], value: Json, type: str = "add") -> Json:
    parts: list[Json] = [{"name": "type", "valueCode": type}]
    parts += ({"name": name, "valueString": text} for name, text in strings)
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "operation", "part": [*parts, {"name": "value", **value}]}],
    }


PATCHES = (json_patch, generic_patch, merge_patch, fhirpath_patch, fhirpath_patch_of_parts, fhirpath_patch_of_the_text)


def new_observation(fhir: Client) -> str:
    return str(fhir.create({**OBSERVATION, "performer": [{"reference": "Practitioner/before"}]})["id"])


@pytest.mark.parametrize("patch", PATCHES)
def test_references_in_a_patch_are_resolved(fhir: Client, patch: Callable[[str], Json]) -> None:
    """A urn:uuid by the entry of that name, criteria by what they match, there already or in the same transaction."""
    there, coming, url = f"{patch.__name__}-there", f"{patch.__name__}-comes", new_url()
    id = fhir.create(patient(there))["id"]
    ids = [new_observation(fhir) for _ in range(3)]

    made, *done = transacted(
        fhir,
        entry("POST", "Patient", patient(coming), full_url=url),
        *(
            entry("PATCH", f"Observation/{each}", patch(subject))
            for each, subject in zip(ids, (url, f"Patient?{of(there)}", f"Patient?{of(coming)}"), strict=True)
        ),
    )

    new = f"Patient/{made['resource']['id']}"
    name = "performer" if patch is fhirpath_patch_of_the_text else "subject"
    found = [each["resource"][name] for each in done]
    references = [(each[0] if isinstance(each, list) else each)["reference"] for each in found]
    assert [new, f"Patient/{id}", new] == references
    if patch is json_patch:
        assert [{"reference": "Patient/as-it-is"}, {"reference": new}] == done[0]["resource"]["focus"]


@pytest.mark.parametrize("patch", PATCHES)
def test_a_patch_that_refers_to_nothing_fails_all(fhir: Client, patch: Callable[[str], Json]) -> None:
    """412 where criteria match nothing, 422 for a fullUrl that no entry has; nothing is stored."""
    id = new_observation(fhir)
    nobody, nothing = f"Patient?{of('nobody')}", "urn:uuid:2b6a7d5c-0000-4000-8000-000000000000"

    refused = [transact(fhir, entry("PATCH", f"Observation/{id}", patch(each))) for each in (nobody, nothing)]

    assert [412, 422] == [each.status_code for each in refused]
    assert [
        f"Bundle.entry[0]: The conditional reference {nobody!r} matches nothing.",
        f"Bundle.entry[0]: {nothing!r} is the fullUrl of no entry that is stored.",
    ] == [diagnostics(each)[0] for each in refused]
    assert "1" == fhir.fhir(f"Observation/{id}")["meta"]["versionId"]


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_only_what_is_stored_can_be_referred_to(fhir: Client, method: str) -> None:
    """The fullUrl of an entry that deletes or reads is no name for what others store."""
    url, id = new_url(), fhir.create(PATIENT)["id"]

    refused = transact(
        fhir,
        entry(method, f"Patient/{id}", full_url=url),
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": url}}),
    )

    told = f"Bundle.entry[1].resource.subject.reference: {url!r} is the fullUrl of no entry that is stored."
    assert (422, [told]) == (refused.status_code, diagnostics(refused))
    assert 200 == fhir.get(f"Patient/{id}").status_code


def test_what_was_stored_before_means_what_it_meant(fhir: Client) -> None:
    """A patch of something else leaves the references alone, whatever the entries are called."""
    id, old = fhir.create({**OBSERVATION, "subject": {"reference": "Patient/3"}})["id"], "https://old.example/fhir"

    _, done = transacted(
        fhir,
        entry("POST", "Patient", PATIENT, full_url=f"{old}/Patient/3"),
        entry(
            "PATCH",
            f"Observation/{id}",
            _carried("application/merge-patch+json", {"status": "amended"}),
            full_url=f"{old}/Observation/{id}",
        ),
    )

    assert ("amended", "Patient/3") == (done["resource"]["status"], done["resource"]["subject"]["reference"])


def test_one_criterion_twice_makes_one(fhir: Client) -> None:
    """As a batch would: the second finds the first, in whatever order its criteria stand, and both names mean it."""
    one, two = new_url(), new_url()

    first, second, observation = transacted(
        fhir,
        entry("POST", "Patient", patient("once"), full_url=one, ifNoneExist=f"{of('once')}&family=Ruled"),
        entry("POST", "Patient", patient("once"), full_url=two, ifNoneExist=f"family=Ruled&{of('once')}"),
        entry("POST", "Observation", {**OBSERVATION, "subject": {"reference": two}, "focus": [{"reference": one}]}),
    )

    assert ["201", "200"] == statuses([first, second])
    name = f"Patient/{first['resource']['id']}"
    assert first["resource"]["id"] == second["resource"]["id"]
    assert [name, name] == [observation["resource"][each]["reference"] for each in ("subject",)] + [
        each["reference"] for each in observation["resource"]["focus"]
    ]
    assert 1 == total(fhir, "once")


@pytest.mark.parametrize("turned", [False, True])
def test_criteria_that_two_entries_meet_are_refused(fhir: Client, turned: bool) -> None:
    """412 in whatever order they stand: one after the other each would find the first, and which were that?"""
    entries = [
        entry("POST", "Patient", patient("both-a", "both-b"), ifNoneExist=of("both-a")),
        entry("POST", "Patient", patient("both-a", "both-b", active=True), ifNoneExist=of("both-b")),
    ]

    refused = transact(fhir, *(reversed(entries) if turned else entries))

    told = (
        f"'Patient?{of('both-b' if turned else 'both-a')}' matches more than one Patient once the entries are stored."
    )
    assert (412, [f"Bundle.entry[0]: {told}"]) == (refused.status_code, diagnostics(refused))
    assert [0, 0] == [total(fhir, "both-a"), total(fhir, "both-b")]


@pytest.mark.parametrize(
    "second",
    [
        entry("POST", "Patient", patient("shared")),
        entry("PUT", "Patient/shared", patient("shared", id="shared")),
        entry("PUT", f"Patient?{of('shared')}", patient("shared", active=True)),
        entry("PUT", "Patient?identifier=urn:test:rules|else", patient("shared", "else")),
    ],
)
def test_criteria_that_any_other_entry_meets_are_refused(fhir: Client, second: Json) -> None:
    """412 too, and nothing is stored: by its criteria the resource was to be the only one."""
    refused = transact(fhir, entry("POST", "Patient", patient("shared"), ifNoneExist=of("shared")), second)

    assert (412, True) == (refused.status_code, diagnostics(refused)[0].endswith("once the entries are stored."))
    assert 0 == total(fhir, "shared")


def test_criteria_that_no_other_entry_meets(fhir: Client) -> None:
    """Two that are alike but for their identifiers are both made; again, both are found."""
    entries = [entry("POST", "Patient", patient(each), ifNoneExist=of(each)) for each in ("apart-a", "apart-b")]

    first, second = (transacted(fhir, *entries) for _ in range(2))

    assert (["201", "201"], ["200", "200"]) == (statuses(first), statuses(second))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_reads_are_of_the_transaction_itself(
    start_server: StartServer, request: pytest.FixtureRequest, database: str
) -> None:
    """Whoever writes the same resource at the same time, each transaction sees what it wrote, and nothing later."""
    url = request.getfixturevalue("fresh_postgresql_url") if database == "postgresql" else ""
    base, ended = start_server(database=url).base, Event()

    def disturb() -> None:
        other = Client(base)
        while not ended.is_set():
            other.update(patient("busy", id="busy"))

    fhir = Client(base)
    paths = ("Patient/busy", f"Patient?{of('busy')}", "Patient/busy/_history?_count=1", "Patient/_history?_count=1")
    seen = []
    with ThreadPoolExecutor(2) as threads:
        others = [threads.submit(disturb) for _ in range(2)]
        for _ in range(30):
            made, read, *lists = transacted(
                fhir,
                entry("PUT", "Patient/busy", patient("busy", id="busy", active=True)),
                *(entry("GET", path) for path in paths),
            )
            found = [read["resource"], *(each["resource"]["entry"][0]["resource"] for each in lists)]
            seen.append([(each["meta"]["versionId"], each.get("active")) for each in (made["resource"], *found)])
        ended.set()
    for each in others:
        each.result()

    assert [] == [each for each in seen if len(set(each)) > 1 or each[0][1] is not True]


@pytest.mark.parametrize(
    ("path", "status"),
    [("Patient/nobody", 404), ("Patient/nobody/_history", 404), ("Patient/read-first/_history/9", 404), ("Patient?_count=x", 400)],
)  # fmt: skip
def test_what_cannot_be_read_fails_all(fhir: Client, path: str, status: int) -> None:
    """Nothing is stored, and the entry is named."""
    refused = transact(
        fhir, entry("PUT", "Patient/read-first", patient("read-first", id="read-first")), entry("GET", path)
    )

    assert (status, True) == (refused.status_code, diagnostics(refused)[0].startswith("Bundle.entry[1]"))
    assert 404 == fhir.get("Patient/read-first").status_code


def test_the_form_of_what_is_read(fhir: Client) -> None:
    """Each entry's own URL says it."""
    fhir.update({**PATIENT, "id": "formed", "active": True})

    one, some, count, fresh, other = transacted(
        fhir,
        entry("GET", "Patient/formed?_elements=active"),
        entry("GET", "Patient?_id=formed&_summary=count"),
        entry("GET", "Patient?_id=formed&_elements=name"),
        entry("GET", "Patient/formed", ifNoneMatch='W/"1"'),
        entry("GET", "metadata?_summary=true"),
    )

    assert (True, None) == (one["resource"]["active"], one["resource"].get("name"))
    assert (1, False) == (some["resource"]["total"], "entry" in some["resource"])
    assert ["name" in each["resource"] for each in count["resource"]["entry"]] == [True]
    assert "active" not in count["resource"]["entry"][0]["resource"]
    assert ["304", "200"] == statuses([fresh, other])


def test_what_the_entries_ask_is_bounded(start_server: StartServer) -> None:
    """413 for a transaction that would find too much; of a batch the entries after that are not done, and say so."""
    fhir = Client(start_server(max_json_bytes=20_000).base)
    for _ in range(4):
        fhir.create({**PATIENT, "name": [{"family": "Ruled", "text": "x" * 15_000}]})
    searches = [entry("GET", "Patient?family=Ruled")] * 3

    transaction = transact(fhir, entry("POST", "Patient", patient("asked")), *searches)
    batch = fhir("POST", "", json=bundle("batch", *searches, entry("POST", "Patient", patient("asked")))).json()[
        "entry"
    ]

    told = "The entries ask for more than the 80000 bytes answered at once."
    assert (413, [f"Bundle.entry[2]: {told}"]) == (transaction.status_code, diagnostics(transaction))
    assert ["200", "200", "413", "413"] == statuses(batch)
    told = "This was not done: the answers before it have more than the 80000 bytes sent at once."
    assert f"Bundle.entry[3]: {told}" == batch[3]["response"]["outcome"]["issue"][0]["diagnostics"]
    assert 0 == total(fhir, "asked")


def test_conditional_references_are_as_few_as_entries(start_server: StartServer) -> None:
    """Each is looked up while nobody else can write, so 413 for more; one that comes again counts once."""
    fhir = Client(start_server(max_bundle_entries=3).base)
    fhir.create(patient("few"))
    some, many = ([{"reference": f"Patient?{of('few')}&_count={each % most}"} for each in range(9)] for most in (3, 4))

    done, refused = (
        transact(fhir, entry("POST", "Observation", {**OBSERVATION, "focus": each})) for each in (some, many)
    )

    told = "The Bundle has more than 3 conditional references."
    assert (200, 413, [told]) == (done.status_code, refused.status_code, diagnostics(refused))
