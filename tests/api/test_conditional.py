"""Conditional create, update, patch and delete, as clients see them."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import psutil
import pytest

from fhir_blob.store.sql import open_store
from tests.client import Client, diagnostics, extension
from tests.services.server import Server, StartServer

SYSTEM = "https://conditional.example/mrn"


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def patient(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": number}], **more}


def where(number: str) -> str:
    return f"identifier={SYSTEM}|{number}"


def found(fhir: Client, number: str) -> int:
    return int(fhir.fhir(f"Patient?{where(number)}&_summary=count")["total"])


@pytest.mark.parametrize("before", ["", "?", "Patient?", "http://anywhere/fhir/Patient?"])
def test_create_where_none_exists(fhir: Client, before: str) -> None:
    """201 the first time, 200 with the same Location, ETag and resource the second."""
    number = f"create{len(before)}"
    headers = {"If-None-Exist": before + where(number)}

    first, second = (fhir("POST", "Patient", json=patient(number), headers=headers) for _ in range(2))

    assert (201, 200) == (first.status_code, second.status_code)
    assert first.json() == second.json()
    assert [first.headers[name] for name in ("Location", "ETag")] == [
        second.headers[name] for name in ("Location", "ETag")
    ]
    assert 1 == found(fhir, number)


def test_criteria_of_a_create_may_stand_in_the_query(fhir: Client) -> None:
    """As Aidbox has it: 201, then 200 with what is there; alone, in a batch and in a transaction."""
    path = f"Patient?{where('queried')}"
    entries = [{"request": {"method": "POST", "url": path}, "resource": patient("queried")}]

    first, second = (fhir("POST", f"{path}&_format=json", json=patient("queried")) for _ in range(2))
    bundles = [
        fhir("POST", "", json={"resourceType": "Bundle", "type": type, "entry": entries}).json()["entry"][0]
        for type in ("batch", "transaction")
    ]

    assert (201, 200) == (first.status_code, second.status_code)
    assert ["200 OK"] * 2 == [each["response"]["status"] for each in bundles]
    assert {first.json()["id"]} == {each["id"] for each in (second.json(), *(each["resource"] for each in bundles))}
    assert 1 == found(fhir, "queried")


@pytest.mark.parametrize(
    ("query", "headers", "status", "sentence"),
    [
        ("identifer=1", {}, 400, "The search parameter 'identifer' is not known."),
        ("identifier=", {}, 400, "The search parameter 'identifier' has no value."),
        ("_count=1", {}, 412, "'Patient?_count=1' has no criterion: it would match every Patient."),
        ("identifier=1", {"If-None-Exist": "identifier=2"}, 400, "Both If-None-Exist and the query, with 'identifier', say what must not exist: say it once."),
    ],
)  # fmt: skip
def test_a_create_drops_nothing_that_its_query_says(
    fhir: Client, query: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    """What is no criterion is refused, and nothing is made."""
    refused = fhir("POST", f"Patient?{query}", json=patient("dropped"), headers=headers)

    assert (status, [sentence]) == (refused.status_code, diagnostics(refused))
    assert 0 == found(fhir, "dropped")


def test_what_the_answer_is_to_be_is_no_criterion(fhir: Client) -> None:
    """Its form, and how attachments stand in it."""
    path = "Patient?_format=json&_pretty=true&_summary=false&_elements=active&_attachments=reference"

    assert [201, 201] == [fhir("POST", path, json=patient("formed")).status_code for _ in range(2)]


def test_a_question_mark_in_a_criterion(fhir: Client) -> None:
    """What stands before it belongs to the criterion."""
    value_set = {"resourceType": "ValueSet", "status": "draft", "url": "http://conditional.example/vs?a=1"}
    headers = {"If-None-Exist": f"url={value_set['url']}"}

    statuses = [fhir("POST", "ValueSet", json=value_set, headers=headers).status_code for _ in range(2)]

    assert [201, 200] == statuses


@pytest.mark.parametrize("header", ["identifier=\xff", "%ff=1", "identifier=%00", "&&&", "=1", "a" * 5000])
def test_a_header_that_is_no_query(fhir: Client, header: str) -> None:
    """400 or 412, never a fault."""
    refused = fhir("POST", "Patient", json=patient("odd"), headers={"If-None-Exist": header.encode("latin-1")})

    assert refused.status_code in (400, 412)


def test_several_matches(fhir: Client) -> None:
    """412 for create, update, patch and delete, each quoting the criteria; nothing is changed."""
    for _ in range(2):
        fhir.create(patient("several"))
    path = f"Patient?{where('several')}"
    merge = {"Content-Type": "application/merge-patch+json"}

    answers = [
        fhir("POST", "Patient", json=patient("several"), headers={"If-None-Exist": where("several")}),
        fhir("PUT", path, json=patient("several")),
        fhir("PATCH", path, json={"active": True}, headers=merge),
        fhir("DELETE", path),
    ]

    assert [412] * 4 == [answer.status_code for answer in answers]
    assert {f"{path!r} matches more than one Patient."} == {diagnostics(answer)[0] for answer in answers}
    assert 2 == found(fhir, "several")


def test_update_where(fhir: Client) -> None:
    """None: 201 with an id of the server's; one: 200 with its next version; its id may stand in the body."""
    path = f"Patient?{where('update')}"

    made = fhir("PUT", path, json=patient("update"))
    id = made.json()["id"]
    again = fhir("PUT", path, json=patient("update", active=True))
    named = fhir("PUT", path, json=patient("update", id=id))
    other = fhir("PUT", path, json=patient("update", id="other"))

    assert [201, 200, 200, 400] == [answer.status_code for answer in (made, again, named, other)]
    assert [(id, "1"), (id, "2"), (id, "3")] == [
        (answer.json()["id"], answer.json()["meta"]["versionId"]) for answer in (made, again, named)
    ]
    assert [f"The body's id is 'other', but the match's is '{id}'."] == diagnostics(other)


def test_update_where_nothing_matches_and_an_id_is_given(fhir: Client) -> None:
    """The id is taken where it is free; 409 where it is not."""
    made = fhir("PUT", f"Patient?{where('chosen')}", json=patient("chosen", id="chosen-id"))
    taken = fhir("PUT", f"Patient?{where('nobody')}", json=patient("nobody", id="chosen-id"))

    assert (201, "chosen-id") == (made.status_code, made.json()["id"])
    sentence = "Nothing matches, but Patient/chosen-id, which the body's id names, is there already."
    assert (409, [sentence]) == (taken.status_code, diagnostics(taken))
    assert 0 == found(fhir, "nobody")


def test_if_match_guards_the_match(fhir: Client) -> None:
    """412 for another version than that of the match, for update, patch and delete; and where nothing matches."""
    fhir.create(patient("guarded"))
    path = f"Patient?{where('guarded')}"
    other = {"If-Match": 'W/"7"'}
    merge = {**other, "Content-Type": "application/merge-patch+json"}

    refused = [
        fhir("PUT", path, json=patient("guarded"), headers=other),
        fhir("PATCH", path, json={"active": True}, headers=merge),
        fhir("DELETE", path, headers=other),
        fhir("PUT", f"Patient?{where('guarded-none')}", json=patient("guarded-none"), headers=other),
    ]

    assert [412] * 4 == [answer.status_code for answer in refused]
    assert 200 == fhir("PUT", path, json=patient("guarded"), headers={"If-Match": 'W/"1"'}).status_code


@pytest.mark.parametrize("type", ["Patient", "Binary"])
def test_if_none_match_guards_what_is_there(fhir: Client, type: str) -> None:
    """PUT with If-None-Match: * makes, and 412 replaces nothing: by id, by criteria, in a batch; after a delete it makes."""
    given = patient("only-new") if type == "Patient" else {**BINARY, "meta": {"tag": [{"code": "only-new"}]}}
    given, path, star = {**given, "id": "only-new"}, f"{type}/only-new", {"If-None-Match": "*"}
    entries = [{"request": {"method": "PUT", "url": path, "ifNoneMatch": "*"}, "resource": given}]

    made = fhir("PUT", path, json=given, headers=star)
    refused = [fhir("PUT", each, json=given, headers=star) for each in (path, f"{type}?_id=only-new")]
    batch = fhir("POST", "", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()["entry"][0]
    fhir("DELETE", path)

    assert [201, 412, 412] == [each.status_code for each in (made, *refused)]
    assert {f"If-None-Match is *, but {path} is there."} == {diagnostics(each)[0] for each in refused}
    assert "412 Precondition Failed" == batch["response"]["status"]
    assert 201 == fhir("PUT", path, json=given, headers=star).status_code
    assert 412 == fhir("PUT", path, json=given, headers={"If-Match": 'W/"0"'}).status_code


@pytest.mark.parametrize("type", ["Patient", "Binary"])
def test_an_update_by_criteria_needs_no_id_of_the_clients(start_server: StartServer, type: str) -> None:
    """Where clients may choose no ids the server does, alone and in a transaction; a chosen one is 405."""
    fhir = Client(start_server(update_create=False).base)
    given = patient("by-criteria") if type == "Patient" else {**BINARY, "data": "aGk="}
    entries = [{"request": {"method": "PUT", "url": f"{type}?_id=nobody"}, "resource": given}]

    done = [
        fhir("PUT", f"{type}?_id=nobody", json=given).status_code,
        fhir("PUT", f"{type}?_id=nobody", json=given, headers={"If-None-Match": "*"}).status_code,
        fhir("POST", "", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).status_code,
        fhir("PUT", f"{type}?_id=nobody", json={**given, "id": "chosen"}).status_code,
    ]

    assert [201, 201, 200, 405] == done


def test_delete_where(fhir: Client) -> None:
    """204 for one match and for none."""
    fhir.create(patient("delete"))
    path = f"Patient?{where('delete')}"

    assert [204, 204] == [fhir("DELETE", path).status_code for _ in range(2)]
    assert 0 == found(fhir, "delete")


def test_patch_where(fhir: Client) -> None:
    """200 for the one match, 404 for none."""
    id = fhir.create(patient("patch"))["id"]
    change = {"json": {"active": True}, "headers": {"Content-Type": "application/merge-patch+json"}}

    done, none = (fhir("PATCH", f"Patient?{where(number)}", **change) for number in ("patch", "patch-none"))

    assert (200, id, True) == (done.status_code, done.json()["id"], done.json()["active"])
    assert (404, [f"'Patient?{where('patch-none')}' matches nothing."]) == (none.status_code, diagnostics(none))


@pytest.mark.parametrize(
    ("criteria", "status", "sentence"),
    [
        ("", 412, "There is no criterion, and no id either: it would match every Patient."),
        ("_count=1", 412, "'Patient?_count=1' has no criterion: it would match every Patient."),
        ("_sort=birthdate&_format=json", 412, "'Patient?_sort=birthdate&_format=json' has no criterion: it would match every Patient."),
        ("_include=Patient:organization", 412, "'Patient?_include=Patient:organization' has no criterion: it would match every Patient."),
        ("identifer=1", 400, "The search parameter 'identifer' is not known."),
        ("identifier=", 400, "The search parameter 'identifier' has no value."),
        ("identifier=,", 400, "The search parameter 'identifier' has no value."),
        ("active=true&shoe=42", 400, "The search parameter 'shoe' is not known."),
        ("birthdate=soon", 400, None),
        ("name=%20", 400, "name=' ' cannot be searched: it has no character that counts."),
        ("name=Zoe,%CC%81", 400, "name='Zoe,\u0301' cannot be searched: it has no character that counts."),
        ("family:contains=%09", 400, "family:contains='\\t' cannot be searched: it has no character that counts."),
    ],
)  # fmt: skip
def test_criteria_that_select_nothing(fhir: Client, criteria: str, status: int, sentence: str | None) -> None:
    """Refused with the criterion quoted, whatever the interaction: they must not match everything."""
    answers = [
        fhir("POST", "Patient", json=patient("nothing"), headers={"If-None-Exist": criteria}),
        fhir("PUT", f"Patient?{criteria}", json=patient("nothing")),
        fhir("PATCH", f"Patient?{criteria}", json={}, headers={"Content-Type": "application/merge-patch+json"}),
        fhir("DELETE", f"Patient?{criteria}"),
    ]

    assert [status] * 4 == [answer.status_code for answer in answers]
    assert sentence is None or {sentence} == {diagnostics(answer)[0] for answer in answers}
    assert 0 == found(fhir, "nothing")


def test_no_count_or_page_hides_a_match(fhir: Client) -> None:
    """_count=0 and _count=1 beside a criterion change nothing of what it matches."""
    for _ in range(2):
        fhir.create(patient("counted"))

    refused = [fhir("DELETE", f"Patient?{where('counted')}&_count={count}").status_code for count in (0, 1)]

    assert [412, 412] == refused


BINARY = {"resourceType": "Binary", "contentType": "text/plain", "meta": {"tag": [{"code": "conditional"}]}}
TAGGED = "_tag=conditional"


def test_a_binary_is_created_where_none_exists(fhir: Client) -> None:
    """With data, without, and as raw bytes; the second time it is the one that is there, and its bytes."""
    given, raw = {"If-None-Exist": TAGGED}, {"If-None-Exist": TAGGED, "Content-Type": "text/plain"}

    first = fhir("POST", "Binary", json={**BINARY, "data": "Zmlyc3Q="}, headers=given)
    again = [
        fhir("POST", "Binary", json=BINARY, headers=given),
        fhir("POST", "Binary", json={**BINARY, "data": "c2Vjb25k"}, headers=given),
        fhir("POST", "Binary", data=b"raw", headers=raw),
        fhir("POST", "Binary", data=b"{}", headers={**raw, "Content-Type": "application/json"}),
    ]
    id = first.json()["id"]

    assert [201, 200, 200, 200, 200] == [first.status_code, *(each.status_code for each in again)]
    assert {first.headers["Location"]} == {each.headers["Location"] for each in again}
    assert b"first" == fhir.get(f"Binary/{id}").content
    assert 204 == fhir("DELETE", f"Binary?{TAGGED}").status_code


def test_a_binary_is_created_from_raw_bytes_where_none_exists(fhir: Client) -> None:
    """They are kept where nothing matches; what they are compared with may be an id alone, since they bring no tag."""
    headers = {"If-None-Exist": "_id=nobody", "Content-Type": "text/plain"}

    made = fhir("POST", "Binary", data=b"raw", headers=headers)

    assert 201 == made.status_code
    assert b"raw" == fhir.get(f"Binary/{made.json()['id']}").content


@pytest.mark.parametrize(("criteria", "status"), [("_tag=heard", 200), ("colour=red", 400)])
def test_who_still_sends_hears_the_answer(fhir: Client, server: Server, criteria: str, status: int) -> None:
    """What is decided before the bytes have come is answered after them, and the connection is kept."""
    fhir.update({**BINARY, "id": "heard", "meta": {"tag": [{"code": "heard"}]}})
    headers = {"If-None-Exist": criteria, "Content-Type": "text/plain"}
    port, heard = int(server.url.rpartition(":")[2]), []

    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/fhir/Binary", b"raw bytes" * 1_000_000, headers)
            answer = connection.getresponse()
            heard.append((answer.status, bool(answer.read())))

    assert [(status, True)] * 3 == heard


def test_a_binary_is_updated_where_one_matches(fhir: Client) -> None:
    """201 and an offer to upload where none does; then its next version, from data or from raw bytes."""
    tagged = "Binary?_tag=updated"
    binary = {**BINARY, "meta": {"tag": [{"code": "updated"}]}}

    made = fhir("PUT", tagged, json=binary)
    id = made.json()["id"]
    by_data = fhir("PUT", tagged, json={**binary, "data": "Zmlyc3Q="})
    by_bytes = fhir("PUT", f"Binary?_id={id}", data=b"second", headers={"Content-Type": "text/plain"})
    stale = fhir("PUT", f"Binary?_id={id}", data=b"third", headers={"Content-Type": "text/plain", "If-Match": 'W/"1"'})
    other = fhir("PUT", f"Binary?_id={id}", json={**binary, "id": "other"})

    assert [201, 200, 200, 412, 400] == [each.status_code for each in (made, by_data, by_bytes, stale, other)]
    assert extension(made.json().get("_data", {}), "presignedPutUrl")
    assert (id, id) == (by_data.json()["id"], by_bytes.json()["id"])
    assert b"second" == fhir.get(f"Binary/{id}").content


def test_several_are_deleted_where_the_setting_says_so(start_server: StartServer) -> None:
    """conditional_delete=multiple deletes all that match and nothing else; the CapabilityStatement tells."""
    fhir = Client(start_server(conditional_delete="multiple").base)
    for number in ("many", "many", "many", "another"):
        fhir.create(patient(number))

    refused = fhir("DELETE", "Patient?_count=9")
    done = fhir("DELETE", f"Patient?{where('many')}")

    assert (412, 204) == (refused.status_code, done.status_code)
    assert (0, 1) == (found(fhir, "many"), found(fhir, "another"))
    resources = fhir.fhir("metadata")["rest"][0]["resource"]
    assert {"multiple"} == {each["conditionalDelete"] for each in resources}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_races_make_one_resource(start_server: StartServer, request: pytest.FixtureRequest, database: str) -> None:
    """Of eight clients over two workers that create, or update, on one criterion one makes it, with its bytes."""
    url = request.getfixturevalue("fresh_postgresql_url") if database == "postgresql" else ""
    server = start_server(database=url, workers=2)
    assert 2 <= len(psutil.Process(server.process.pid).children())
    photo = [{"contentType": "image/png", "data": "aGk="}]

    def create(number: str) -> int:
        headers = {"If-None-Exist": where(number)}
        return Client(server.base)("POST", "Patient", json=patient(number, photo=photo), headers=headers).status_code

    def update(number: str) -> int:
        return Client(server.base)("PUT", f"Patient?{where(number)}", json=patient(number)).status_code

    def create_binary(tag: str) -> int:
        binary = {**BINARY, "meta": {"tag": [{"code": tag}]}, "data": "aGk="}
        headers = {"If-None-Exist": f"_tag={tag}"}
        return Client(server.base)("POST", "Binary", json=binary, headers=headers).status_code

    fhir = Client(server.base)
    with ThreadPoolExecutor(8) as threads:
        for round in range(4):
            created = sorted(threads.map(create, [f"c{round}"] * 8))
            updated = sorted(threads.map(update, [f"u{round}"] * 8))
            binaries = sorted(threads.map(create_binary, [f"b{round}"] * 8))

            assert [200] * 7 + [201] == created == updated == binaries
            assert (1, 1) == (found(fhir, f"c{round}"), found(fhir, f"u{round}"))
    assert 8 == fhir.fhir("Binary/_history?_attachments=reference")["total"]
    store = open_store(url or f"sqlite:///{server.data / 'metadata.sqlite'}", statement_timeout=20)
    kept = [len(store.blobs_in_state(state, before=2**62, limit=99)) for state in ("pending", "available")]
    store.close()
    assert [0, 8] == kept
