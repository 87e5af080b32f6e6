"""The FHIR interactions as a client sees them."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

SMITH = {"resourceType": "Patient", "name": [{"family": "Interaction"}], "birthDate": "1970-01-01"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def test_create_answers_where_the_version_is(fhir: Client) -> None:
    """201 carries Location, ETag and an HTTP date, and an id of the server's own."""
    made = fhir("POST", "Patient", json={**SMITH, "id": "mine"})

    id = made.json()["id"]
    assert "mine" != id
    assert f"{fhir.base}/Patient/{id}/_history/1" == made.headers["Location"]
    assert 'W/"1"' == made.headers["ETag"]
    assert parsedate_to_datetime(made.headers["Last-Modified"]).year >= 2025
    assert "application/fhir+json; charset=utf-8" == made.headers["Content-Type"]


def test_versions_stay_readable(fhir: Client) -> None:
    """vread gives each version as it was, read the last one."""
    made = fhir.create(SMITH)
    fhir.update({**made, "gender": "female"})

    assert "gender" not in fhir.fhir(f"Patient/{made['id']}/_history/1")
    assert "female" == fhir.fhir(f"Patient/{made['id']}/_history/2")["gender"]
    assert "2" == fhir.fhir(f"Patient/{made['id']}")["meta"]["versionId"]


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "sentence"),
    [
        ("GET", "Patient/none", {}, 404, "Patient/none is not known."),
        ("GET", "Nothing/1", {}, 404, "'Nothing' is no resource type of FHIR R4."),
        ("GET", "Patient/1/2/3/4/5", {}, 404, "Nothing is at this URL."),
        ("GET", "Patient/a/$no", {}, 404, "'$no' is no operation here: the CapabilityStatement, at /metadata, names those that are."),
        ("PUT", "Patient/a", {"json": SMITH}, 400, "The body's id is missing, but the URL's is 'a'."),
        ("GET", "Patient/none/_history/x", {}, 404, "Patient/none has no version 'x'."),
        ("PATCH", "Patient/1/_history/1", {}, 405, "PATCH is not done here; what is: GET, HEAD, OPTIONS."),
        ("PATCH", "Patient/1", {"data": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "Content-Type is 'text/plain': PATCH takes application/json-patch+json, application/merge-patch+json, application/fhir+json."),
        ("POST", "Patient", {"data": b"a,b", "headers": {"Content-Type": "text/csv"}}, 415, "Content-Type is 'text/csv': this takes application/fhir+json or application/fhir+xml."),
        ("POST", "Patient", {"json": {"resourceType": "Observation"}}, 400, "The body is not a Patient: its resourceType is 'Observation'."),
        ("POST", "Patient", {"json": {"active": True}}, 400, "The body is not a Patient: its resourceType is missing."),
        ("POST", "Patient", {"data": b" ", "headers": {"Content-Type": "application/json"}}, 400, "The body is empty."),
        ("POST", "Patient", {"json": []}, 400, "The body is not a FHIR resource: it has to be a JSON object."),
        ("POST", "Patient", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "The body is not JSON: Input data was truncated"),
        ("POST", "Patient", {"json": {**SMITH, "gender": "mal"}}, 422, "Patient.gender: 'mal' is not one of female, male, other, unknown."),
        ("PUT", "Patient/a", {"json": {**SMITH, "id": "b"}}, 400, "The body's id is 'b', but the URL's is 'a'."),
        ("PUT", "Patient/a_b", {"json": {**SMITH, "id": "a_b"}}, 422, "Patient.id: 'a_b' is no id."),
        ("GET", "Patient/none?_format=pdf", {}, 406, "_format is 'pdf': this server answers application/fhir+json and application/fhir+xml."),
        ("GET", "Patient", {"headers": {"Accept": "text/html"}}, 406, "Accept is 'text/html': this server answers application/fhir+json and application/fhir+xml."),
        ("GET", "Patient?_summary=some", {}, 400, "_summary takes one of true, text, data, count, false, not 'some'."),
        ("GET", "Patient/none?_attachments=some", {}, 400, "attachments takes one of default, extension, url, inline, reference, upload, not 'some'."),
    ],
)  # fmt: skip
def test_refusals_quote_what_was_wrong(
    fhir: Client, method: str, path: str, given: dict[str, object], status: int, sentence: str
) -> None:
    """Each mistake has its status, and one sentence with the offending value."""
    refused = fhir(method, path, **given)

    assert (status, [sentence]) == (refused.status_code, diagnostics(refused))
    assert "application/fhir+json; charset=utf-8" == refused.headers["Content-Type"]


def test_every_problem_of_a_resource_is_listed(fhir: Client) -> None:
    """422 names each element by its FHIRPath."""
    wrong = {
        "resourceType": "Patient",
        "birthDate": "2023-02-30",
        "active": "yes",
        "contact": [{"gender": "x"}],
        "no": 1,
    }

    refused = fhir("POST", "Patient", json=wrong)

    expressions = {issue["expression"][0] for issue in refused.json()["issue"]}
    assert {"Patient.birthDate", "Patient.active", "Patient.contact[0].gender", "Patient.no"} == expressions


def test_decimals_keep_their_digits(fhir: Client) -> None:
    """1.00 is stored and answered as 1.00."""
    body = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00,"unit":"mg"}}'
    )

    made = fhir("POST", "Observation", data=body, headers={"Content-Type": "application/fhir+json; charset=UTF-8"})

    assert 201 == made.status_code
    assert '"value":1.00,' in fhir.get(f"Observation/{made.json()['id']}").text


@pytest.mark.parametrize("header", ["If-None-Match", "If-Modified-Since"])
def test_a_fresh_copy_is_not_sent_again(fhir: Client, header: str) -> None:
    """304 without a body, for the ETag and for the date."""
    made = fhir("POST", "Patient", json=SMITH)
    value = made.headers["ETag" if header == "If-None-Match" else "Last-Modified"]

    again = fhir("GET", f"Patient/{made.json()['id']}", headers={header: value})

    assert (304, b"") == (again.status_code, again.content)
    assert 200 == fhir("GET", f"Patient/{made.json()['id']}", headers={"If-None-Match": 'W/"9"'}).status_code


def test_if_match_guards_a_version(fhir: Client) -> None:
    """412 for another version than the current one, for PUT and DELETE."""
    made = fhir.create(SMITH)
    path = f"Patient/{made['id']}"

    assert 200 == fhir("PUT", path, json=made, headers={"If-Match": 'W/"1"'}).status_code
    refused = fhir("PUT", path, json=made, headers={"If-Match": 'W/"1"'})
    assert (412, [f'If-Match is W/"1", but {path} is W/"2".']) == (refused.status_code, diagnostics(refused))
    assert 412 == fhir("DELETE", path, headers={"If-Match": 'W/"1"'}).status_code
    assert 204 == fhir("DELETE", path, headers={"If-Match": 'W/"2"'}).status_code


def test_deleted_is_gone_until_it_is_put_again(fhir: Client) -> None:
    """410, deleting again 204, PUT revives with 201; history tells all of it."""
    made = fhir.create(SMITH)
    path = f"Patient/{made['id']}"

    assert 204 == fhir("DELETE", path).status_code
    assert 410 == fhir.get(path).status_code
    assert 410 == fhir.get(f"{path}/_history/2").status_code
    assert 200 == fhir.get(f"{path}/_history/1").status_code
    assert 204 == fhir("DELETE", path).status_code
    assert 204 == fhir("DELETE", "Patient/never-was").status_code
    assert 201 == fhir("PUT", path, json=made).status_code
    history = fhir.fhir(f"{path}/_history")
    assert ["PUT", "DELETE", "POST"] == [entry["request"]["method"] for entry in history["entry"]]
    assert 3 == history["total"]


def test_history_comes_in_pages(fhir: Client) -> None:
    """`next` links lead through every version once, newest first; each page has the total that the first counted."""
    made = fhir.create(SMITH)
    for _ in range(4):
        fhir.update(made)

    seen, totals, url = [], [], f"Patient/{made['id']}/_history?_count=2"
    while url:
        page = fhir.fhir(url)
        fhir.update(made)
        totals.append(page["total"])
        seen += [entry["resource"]["meta"]["versionId"] for entry in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links.get("next", "").removeprefix(f"{fhir.base}/")

    assert (["5", "4", "3", "2", "1"], [5, 5, 5]) == (seen, totals)
    for wrong in ("1", "1-", "-1", "1-x", "1-2-3"):
        assert 400 == fhir.get(f"Patient/{made['id']}/_history?_cursor={wrong}").status_code


def test_history_since(fhir: Client) -> None:
    """_since leaves out what is older, _at gives what was current then."""
    made = fhir.create(SMITH)
    second = fhir.update(made)

    since = fhir.fhir(f"Patient/{made['id']}/_history?_since={second['meta']['lastUpdated']}")
    at = fhir.fhir(f"Patient/{made['id']}/_history?_at={made['meta']['lastUpdated']}")

    assert "2" in [entry["resource"]["meta"]["versionId"] for entry in since["entry"]]
    assert "1" in [entry["resource"]["meta"]["versionId"] for entry in at["entry"]]


@pytest.mark.parametrize("path", ["_history", "Patient/_history"])
def test_history_of_type_and_system(fhir: Client, path: str) -> None:
    """The newest version of all comes first."""
    made = fhir.create(SMITH)

    newest = fhir.fhir(f"{path}?_count=1")["entry"][0]

    assert f"{fhir.base}/Patient/{made['id']}" == newest["fullUrl"]


@pytest.mark.parametrize(
    ("prefer", "type"), [("return=minimal", None), ("return=representation", "Patient"), ("return=OperationOutcome", "OperationOutcome")]
)  # fmt: skip
def test_prefer_return(fhir: Client, prefer: str, type: str | None) -> None:
    """The answer to a write is as long as the client wants it."""
    made = fhir("POST", "Patient", json=SMITH, headers={"Prefer": prefer})

    assert (201, prefer) == (made.status_code, made.headers["Preference-Applied"])
    assert type == (made.json()["resourceType"] if made.content else None)


def test_parts_of_a_resource(fhir: Client) -> None:
    """_elements and _summary answer a part, and say so by a tag; _pretty is for people."""
    made = fhir.create({**SMITH, "maritalStatus": {"text": "x"}})
    path = f"Patient/{made['id']}"

    elements, summary = fhir.fhir(f"{path}?_elements=birthDate"), fhir.fhir(f"{path}?_summary=true")

    assert {"resourceType", "id", "meta", "birthDate"} == set(elements)
    assert "SUBSETTED" == elements["meta"]["tag"][0]["code"]
    assert "maritalStatus" not in summary and "name" in summary
    assert "\n" in fhir.get(f"{path}?_pretty=true").text
    assert "\n" in fhir("GET", "Patient/none?_pretty=true").text


def test_head_and_options(fhir: Client) -> None:
    """HEAD is GET without its body; a preflight is answered for any header."""
    made = fhir.create(SMITH)
    got, head = fhir.get(f"Patient/{made['id']}"), fhir("HEAD", f"Patient/{made['id']}")
    preflight = fhir(
        "OPTIONS",
        "Patient",
        headers={"Origin": "https://ehr.example", "Access-Control-Request-Headers": "prefer,x-any"},
    )

    assert (200, b"") == (head.status_code, head.content)
    assert got.headers["Content-Length"] == head.headers["Content-Length"]
    assert (204, "*") == (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"])
    assert "prefer,x-any" == preflight.headers["Access-Control-Allow-Headers"]
    exposed = fhir("GET", "metadata", headers={"Origin": "https://ehr.example"}).headers[
        "Access-Control-Expose-Headers"
    ]
    assert {"ETag", "Location", "Preference-Applied"} <= set(exposed.split(", "))


def test_generic_json_is_answered_in_kind(fhir: Client) -> None:
    """A client that knows application/json alone gets it."""
    assert "application/json; charset=utf-8" == fhir.get("metadata", Accept="application/json").headers["Content-Type"]


def test_every_type_is_served(fhir: Client) -> None:
    """The CapabilityStatement names all 146 types of R4, each with its search parameters."""
    resources = fhir.fhir("metadata")["rest"][0]["resource"]

    assert 146 == len(resources)
    document = next(each for each in resources if each["type"] == "DocumentReference")
    assert {"patient", "category", "date", "identifier", "_lastUpdated"} <= {
        each["name"] for each in document["searchParam"]
    }


def test_a_body_needs_its_length(server: Server) -> None:
    """411 without Content-Length, 413 above the limit."""
    chunked = Client(server.base)(
        "POST", "Patient", data=iter([json.dumps(SMITH).encode()]), headers={"Content-Type": "application/json"}
    )

    assert 411 == chunked.status_code


def test_settings_change_what_is_done(start_server: StartServer) -> None:
    """update_create=false: 405; validation=lenient takes what is unknown; max_json_bytes: 413."""
    fhir = Client(start_server(update_create="false", validation="lenient", max_json_bytes=2000).base)

    assert 405 == fhir("PUT", "Patient/new", json={**SMITH, "id": "new"}).status_code
    assert 201 == fhir("POST", "Patient", json={**SMITH, "gender": "mal", "shoe": 42}).status_code
    assert 422 == fhir("POST", "Patient", json={**SMITH, "birthDate": 7}).status_code
    assert 413 == fhir("POST", "Patient", json={**SMITH, "language": "x" * 3000}).status_code
