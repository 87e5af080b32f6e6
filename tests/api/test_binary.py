"""Binary by the R4 rules: https://hl7.org/fhir/R4/binary.html"""

from __future__ import annotations

import base64
import json
import os
import socket
from urllib.parse import urlsplit

import pytest
import requests

from tests.client import Client, diagnostics, extension
from tests.services.server import Server, StartServer

PDF = os.urandom(5000)
RAW = {"Content-Type": "application/pdf"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


@pytest.fixture(scope="module")
def pdf(fhir: Client) -> str:
    """The path of a Binary whose bytes are PDF."""
    return "Binary/" + str(fhir("POST", "Binary", data=PDF, headers=RAW).json()["id"])


@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        ("application/fhir+json", "", "fhir"),
        ("application/pdf", "", "bytes"),
        ("*/*", "", "bytes"),
        ("application/*", "", "bytes"),
        (None, "", "bytes"),
        ("text/plain", "", 406),
        ("application/json", "", "fhir"),
        ("application/pdf, application/fhir+json", "", "fhir"),
        ("application/pdf, application/fhir+json;q=0.5", "", "bytes"),
        ("application/pdf", "json", "fhir"),
        ("application/pdf", "application/fhir json", "fhir"),
        ("application/pdf", "pdf", 406),
    ],
)
def test_accept_decides_the_form(fhir: Client, pdf: str, accept: str | None, format: str, expected: str | int) -> None:
    """The bytes, unless FHIR is asked for; _format overrides Accept."""
    got = fhir("GET", f"{pdf}?_format={format}" if format else pdf, headers={"Accept": accept})

    if expected == "bytes":
        assert ("application/pdf", PDF) == (got.headers["Content-Type"], got.content)
    elif expected == "fhir":
        assert "Binary" == got.json()["resourceType"]
    else:
        assert expected == got.status_code


def test_json_bytes_are_answered_to_generic_json(fhir: Client) -> None:
    """A JSON body that is no Binary is taken as bytes, and given back as they were."""
    body = b'{"resourceType": "Patient",  "spaces":  "kept"}'
    made = fhir("POST", "Binary", data=body, headers={"Content-Type": "application/json; charset=utf-8"})

    got = fhir.get(f"Binary/{made.json()['id']}", Accept="application/json")

    assert (201, body) == (made.status_code, got.content)
    assert "application/json; charset=utf-8" == got.headers["Content-Type"]


def test_charset_does_not_hide_a_binary(fhir: Client) -> None:
    """A Binary resource stays one, whatever parameter stands behind its type."""
    body = json.dumps({"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="})

    made = fhir("POST", "Binary", data=body, headers={"Content-Type": "application/json;charset=UTF-8"})

    assert "aGVsbG8=" == made.json()["data"]
    assert b"hello" == fhir.get(f"Binary/{made.json()['id']}").content


@pytest.mark.parametrize(
    ("range", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=4990-", 206, 4990, 5000),
        ("bytes=-10", 206, 4990, 5000),
        ("bytes=4999-9999", 206, 4999, 5000),
        ("bytes=0-1,3-4", 200, 0, 5000),
        ("lines=0-1", 200, 0, 5000),
    ],
)
def test_ranges(fhir: Client, pdf: str, range: str, status: int, first: int, last: int) -> None:
    """One range of bytes is a 206; what is not understood is answered with everything."""
    got = fhir("GET", pdf, headers={"Range": range})

    assert (status, PDF[first:last]) == (got.status_code, got.content)
    if status == 206:
        assert f"bytes {first}-{last - 1}/5000" == got.headers["Content-Range"]


def test_a_range_beyond_the_end(fhir: Client, pdf: str) -> None:
    """416 says how long it is."""
    got = fhir("GET", pdf, headers={"Range": "bytes=5000-"})

    assert (416, "bytes */5000") == (got.status_code, got.headers["Content-Range"])


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{tag}", 206),
        ("{date}", 206),
        ('"2"', 200),
        ("W/{tag}", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 200),
        ("nonsense", 200),
    ],
)
def test_a_range_of_what_is_known(fhir: Client, pdf: str, condition: str, status: int) -> None:
    """If-Range: the range where the bytes are those that the client has a part of, else everything."""
    known = fhir("HEAD", pdf).headers
    given = condition.format(tag=known["ETag"], date=known["Last-Modified"])

    got = fhir("GET", pdf, headers={"Range": "bytes=10-19", "If-Range": given})

    assert (status, PDF[10:20] if status == 206 else PDF) == (got.status_code, got.content)


def test_a_range_of_what_changed_in_the_same_second(fhir: Client) -> None:
    """A date that two versions may have is no proof that the bytes are the same."""
    path, dates = "Binary/changed-at-once", list[str]()
    while len(dates) < 2 or dates[-1] != dates[-2]:
        fhir("PUT", path, data=b"%d bytes" % len(dates), headers=RAW)
        dates.append(fhir("HEAD", path).headers["Last-Modified"])

    got = fhir("GET", path, headers={"Range": "bytes=0-0", "If-Range": dates[-1]})

    assert (200, b"%d bytes" % (len(dates) - 1)) == (got.status_code, got.content)


def test_headers_of_the_bytes(fhir: Client) -> None:
    """Strong ETag, Last-Modified, X-Security-Context, nosniff; a script is no page of ours; HEAD has the length."""
    made = fhir(
        "POST", "Binary", data=b"<script>", headers={"Content-Type": "text/html", "X-Security-Context": "Patient/7"}
    ).json()

    head = fhir("HEAD", f"Binary/{made['id']}")

    assert {"reference": "Patient/7"} == made["securityContext"]
    expected = {
        "ETag": '"1"',
        "X-Security-Context": "Patient/7",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
        "Content-Type": "text/html",
        "Content-Length": "8",
        "Accept-Ranges": "bytes",
    }
    assert expected == {name: head.headers[name] for name in expected}
    assert 304 == fhir("GET", f"Binary/{made['id']}", headers={"If-None-Match": 'W/"1"'}).status_code


def test_a_pending_binary_reads_as_its_offer(fhir: Client) -> None:
    """200 with the PUT URL while nothing is there; it can be completed only then, and deleted at any time."""
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    path = f"Binary/{binary['id']}"

    read = fhir.get(path).json()
    early = fhir("POST", f"{path}/$complete")

    assert extension(binary["_data"], "presignedPutUrl") == extension(read["_data"], "presignedPutUrl")
    assert "pending" == extension(read["_data"], "uploadState")
    assert (409, [f"Nothing has been uploaded for {path} yet."]) == (early.status_code, diagnostics(early))
    assert 404 == fhir.get(path, Accept="image/png").status_code
    assert 204 == fhir("DELETE", path).status_code
    assert 410 == fhir.get(path).status_code


def test_reading_completes_an_upload(fhir: Client) -> None:
    """GET straight after PUT has the download URL; the stored hash is that of the bytes."""
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    requests.put(extension(binary["_data"], "presignedPutUrl"), data=PDF, timeout=60)

    read = fhir.fhir(f"Binary/{binary['id']}")

    assert "available" == extension(read["_data"], "uploadState")
    got = requests.get(extension(read["_data"], "presignedGetUrl"), timeout=60)
    assert ("image/png", PDF) == (got.headers["Content-Type"], got.content)
    assert binary["meta"] == read["meta"]


def test_a_replayed_url_changes_nothing(fhir: Client) -> None:
    """Completed bytes stay what they were, though the URL is still good."""
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    url = extension(binary["_data"], "presignedPutUrl")
    requests.put(url, data=b"first", timeout=60)
    fhir("POST", f"Binary/{binary['id']}/$complete")

    assert 200 == requests.put(url, data=b"second", timeout=60).status_code

    assert b"first" == fhir.get(f"Binary/{binary['id']}", Accept="image/png").content


def test_a_next_version_comes_by_url(fhir: Client) -> None:
    """PUT without data keeps the bytes and offers a URL; what comes by it is the version after."""
    id = fhir.uploaded(b"one")
    offered = fhir.update({"resourceType": "Binary", "id": id, "contentType": "application/pdf"})

    assert b"one" == fhir.get(f"Binary/{id}").content
    requests.put(extension(offered["_data"], "presignedPutUrl"), data=b"two", timeout=60)
    assert "3" == fhir("POST", f"Binary/{id}/$complete").json()["meta"]["versionId"]
    assert b"two" == fhir.get(f"Binary/{id}").content
    assert b"one" == fhir.get(f"Binary/{id}/_history/2").content


def test_raw_update(fhir: Client, pdf: str) -> None:
    """PUT of bytes makes the next version; the one before keeps its own."""
    made = fhir("PUT", "Binary/raw-update", data=b"one", headers=RAW)
    again = fhir("PUT", "Binary/raw-update", data=b"three", headers=RAW | {"If-Match": 'W/"1"'})

    assert (201, 200) == (made.status_code, again.status_code)
    assert (b"one", b"three") == (
        fhir.get("Binary/raw-update/_history/1").content,
        fhir.get("Binary/raw-update").content,
    )


def test_the_content_type_is_bound_where_it_is_asked_for(fhir: Client) -> None:
    """`Prefer: bind=content-type`: the URL takes that type alone, and an extension names the header."""
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"}, Prefer="bind=content-type")
    url = extension(binary["_data"], "presignedPutUrl")

    assert "Content-Type: image/png" == extension(binary["_data"], "presignedPutHeader")
    assert 403 == requests.put(url, data=b"x", headers={"Content-Type": "text/html"}, timeout=60).status_code
    assert 200 == requests.put(url, data=b"x", headers={"Content-Type": "image/png"}, timeout=60).status_code


def test_presigned_url_operation(fhir: Client) -> None:
    """Parameters with a URL to read from, or to write the next version to."""
    id = fhir.uploaded(b"bytes")

    down = {each["name"]: each for each in fhir.fhir(f"Binary/{id}/$presigned-url?expiration=60")["parameter"]}
    up = {each["name"]: each for each in fhir.fhir(f"Binary/{id}/$presigned-url?upload=true")["parameter"]}

    assert b"bytes" == requests.get(down["url"]["valueUrl"], timeout=60).content
    assert "X-Amz-Expires=60&" in down["url"]["valueUrl"]
    assert 200 == requests.put(up["url"]["valueUrl"], data=b"x", timeout=60).status_code
    assert 400 == fhir.get(f"Binary/{id}/$presigned-url?expiration=0").status_code


def test_a_body_that_ends_early_stores_nothing(fhir: Client, server: Server) -> None:
    """A client that goes away in the middle leaves no Binary behind."""
    before = fhir.fhir("Binary/_history?_count=1").get("total")
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname or "", place.port or 0), 10) as connection:
        connection.sendall(
            b"POST /fhir/Binary HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"
        )
        connection.sendall(b"x" * 1000)

    assert before == fhir.fhir("Binary/_history?_count=1").get("total")


def test_a_stalled_body_times_out(start_server: StartServer) -> None:
    """408, for bytes and for JSON; other requests go on meanwhile, and transfers are capped."""
    server = start_server(stall_seconds=1, workers=1, threads=6)
    place = urlsplit(server.url)
    stalled = []
    for type in (b"image/png", b"image/png", b"image/png", b"application/fhir+json"):
        connection = socket.create_connection((place.hostname or "", place.port or 0), 20)
        connection.sendall(
            b"POST /fhir/Binary HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 900\r\n\r\nxx" % type
        )
        stalled.append(connection)

    fhir = Client(server.base)
    statuses = [connection.recv(12)[-3:] for connection in stalled]
    for connection in stalled:
        connection.close()

    assert [b"408", b"408", b"408", b"503"] == sorted(statuses)
    assert 200 == fhir.get("metadata").status_code
    assert 201 == fhir("POST", "Binary", data=b"fine", headers=RAW).status_code


def test_data_is_kept_as_it_came(fhir: Client) -> None:
    """A Binary that came with data is answered with it; written back, its bytes are not stored again."""
    made = fhir.create(
        {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"hi").decode()}
    )

    again = fhir.update(made)

    assert (made["data"], "2") == (again["data"], again["meta"]["versionId"])
    assert "_data" not in again


def test_plain_properties_for_clients_of_fhir_works(start_server: StartServer) -> None:
    """By a setting the URLs stand at the root too; sent back they are dropped."""
    fhir = Client(start_server(plain_url_properties="true").base)
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/jpeg"})
    requests.put(binary["presignedPutUrl"], data=b"jpeg", timeout=60)

    read = fhir.fhir(f"Binary/{binary['id']}")

    assert b"jpeg" == requests.get(read["presignedGetUrl"], timeout=60).content
    assert 200 == fhir("PUT", f"Binary/{binary['id']}", json=read).status_code
