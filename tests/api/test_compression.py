"""gzip: answers to who takes them, bodies from who sends them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
import requests

from fhir_blob.api.compression import decoded, takes_gzip
from fhir_blob.errors import BodyTruncated, FhirError, NotParseable, TooLarge, UnsupportedMediaType
from tests.client import Client, diagnostics
from tests.services.server import Server

LONG = "the same again, and again. " * 200
FHIR = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def long(server: Server) -> str:
    """The path of a resource of more than 1 kB."""
    given = {"resourceType": "Patient", "id": "compressed", "text": _narrative(LONG)}
    Client(server.base).update(given)
    return "Patient/compressed"


def _narrative(text: str) -> dict[str, str]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'}


def asked(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[requests.Response, bytes]:
    """The answer, and its bytes as they came."""
    with requests.Session() as session:
        session.headers.clear()
        answer = session.request(
            method, f"{server.base}/{path}", headers={"Accept-Encoding": "gzip", **headers}, stream=True, timeout=60
        )
        return answer, answer.raw.read(decode_content=False)


@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml"])
def test_fhir_is_compressed(server: Server, long: str, accept: str) -> None:
    """The same resource, a quarter as long at most, with its true Content-Length and the ETag of the other form."""
    plain, content = asked(server, long, Accept=accept, **{"Accept-Encoding": "identity"})

    answer, body = asked(server, long, Accept=accept)

    assert content == gzip.decompress(body)
    assert len(body) < len(content) / 4
    assert ("gzip", str(len(body))) == (answer.headers["Content-Encoding"], answer.headers["Content-Length"])
    assert [None, 'W/"1"', 'W/"1"'] == [
        plain.headers.get("Content-Encoding"),
        plain.headers["ETag"],
        answer.headers["ETag"],
    ]
    assert all("Accept-Encoding" in each.headers["Vary"] for each in (plain, answer))


def test_conditional_read_and_head(server: Server, long: str) -> None:
    """304 by the ETag of either form; HEAD has the length that GET would have."""
    _, body = asked(server, long)

    fresh, nothing = asked(server, long, **{"If-None-Match": 'W/"1"'})
    head, none = asked(server, long, "HEAD")

    assert (304, b"", b"") == (fresh.status_code, nothing, none)
    assert "Accept-Encoding" in fresh.headers["Vary"]
    assert ("gzip", str(len(body))) == (head.headers["Content-Encoding"], head.headers["Content-Length"])


def test_small_answers_and_bytes_stay(server: Server) -> None:
    """A short resource, and a Binary's own bytes whatever their type, whole or in part, are sent as they are."""
    client, content = Client(server.base), LONG.encode()
    client("PUT", "Binary/plain", data=content, headers={"Content-Type": "text/plain"})
    client.update({"resourceType": "Patient", "id": "short"})

    short, _ = asked(server, "Patient/short")
    whole, got = asked(server, "Binary/plain", Accept="text/plain")
    part, some = asked(server, "Binary/plain", Accept="text/plain", Range="bytes=5-9")

    assert [None] * 3 == [each.headers.get("Content-Encoding") for each in (short, whole, part)]
    assert (content, '"1"') == (got, whole.headers["ETag"])
    assert (206, content[5:10]) == (part.status_code, some)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("x-gzip", True),
        ("*", True),
        ("", False),
        ("br, zstd", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("gzip;q=none", False),
    ],
)
def test_accept_encoding(accept_encoding: str, expected: bool) -> None:
    """By RFC 9110: qualities count, and what is liked less than nothing at all is not sent."""
    assert expected == takes_gzip(accept_encoding)


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("Patient", b'{"resourceType": "Patient", "language": "en"}', "application/fhir+json"),
        (
            "Patient",
            b'<Patient xmlns="http://hl7.org/fhir"><language value="en"/></Patient>',
            "application/fhir+xml",
        ),
        ("Binary", b'{"resourceType": "Binary", "contentType": "text/plain"}', "application/fhir+json"),
    ],
)
def test_fhir_comes_compressed(server: Server, path: str, body: bytes, kind: str) -> None:
    """A body with Content-Encoding: gzip is what it is when it is decompressed."""
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}

    made = requests.post(f"{server.base}/{path}", gzip.compress(body), headers=headers, timeout=60)

    assert (201, path) == (made.status_code, made.json()["resourceType"]), made.text


def test_bundles_and_forms_come_compressed(server: Server, long: str) -> None:
    """So do a transaction and the form of a search."""
    entry = {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}

    done = sent(server, "", bundle, **FHIR)
    found = requests.post(f"{server.base}/Patient/_search", gzip.compress(b"_id=compressed"), headers=form, timeout=60)

    assert (200, 1) == (done.status_code, len(done.json()["entry"]))
    assert (200, 1) == (found.status_code, found.json()["total"])


def sent(server: Server, path: str, resource: dict[str, Any], **headers: str) -> requests.Response:
    body = gzip.compress(json.dumps(resource).encode())
    return requests.post(f"{server.base}/{path}", body, headers={"Content-Encoding": "gzip", **headers}, timeout=60)


def test_a_bomb_is_refused(server: Server) -> None:
    """20 kB that would become 21 MB are 413, and the server goes on."""
    bomb = gzip.compress(b" " * 21_000_000 + b'{"resourceType": "Patient"}')

    refused = requests.post(f"{server.base}/Patient", bomb, headers={**FHIR, "Content-Encoding": "gzip"}, timeout=60)

    assert len(bomb) < 25_000
    assert 413 == refused.status_code
    assert "more than 20971520 bytes when it is decompressed" in diagnostics(refused)[0]
    assert 200 == requests.get(f"{server.base}/Patient?_count=0", timeout=60).status_code


@pytest.mark.parametrize(
    ("path", "headers", "accepted"),
    [
        ("Patient", {**FHIR, "Content-Encoding": "br"}, "gzip"),
        ("Patient", {**FHIR, "Content-Encoding": "gzip, gzip"}, "gzip"),
        ("Binary", {"Content-Type": "application/pdf", "Content-Encoding": "gzip"}, "identity"),
        ("Binary", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, "identity"),
    ],
)
def test_other_encodings_are_refused(server: Server, path: str, headers: dict[str, str], accepted: str) -> None:
    """415 says what is taken; the bytes of a Binary have to come as they are."""
    refused = requests.post(f"{server.base}/{path}", gzip.compress(b'{"a": 1}'), headers=headers, timeout=60)

    assert (415, accepted) == (refused.status_code, refused.headers["Accept-Encoding"])
    assert f"Content-Encoding is {headers['Content-Encoding']!r}" in diagnostics(refused)[0]


@pytest.mark.parametrize(
    ("encoding", "chunks", "expected"),
    [
        ("", [b"a", b"b"], b"ab"),
        ("Identity", [b"a"], b"a"),
        ("x-gzip", [gzip.compress(b"ab")[:9], gzip.compress(b"ab")[9:]], b"ab"),
        ("gzip", [gzip.compress(b"1234567890")], b"1234567890"),
        ("gzip", [gzip.compress(b"12345678901")], TooLarge),
        ("gzip", [gzip.compress(b"ab")[:-1]], BodyTruncated),
        ("gzip", [], BodyTruncated),
        ("gzip", [b"not gzip"], NotParseable),
        ("gzip", [zlib.compress(b"ab")], NotParseable),
        ("gzip", [gzip.compress(b"ab")[:-1] + b"x"], NotParseable),
        ("gzip", [gzip.compress(b"ab") * 2], NotParseable),
        ("deflate", [zlib.compress(b"ab")], UnsupportedMediaType),
    ],
)
def test_decoded(encoding: str, chunks: list[bytes], expected: bytes | type[FhirError]) -> None:
    """The body of at most ten bytes, or what is wrong with it."""
    try:
        found: bytes | type[FhirError] = decoded(encoding, chunks, 10)
    except FhirError as error:
        found = type(error)

    assert expected == found


def test_a_bomb_stays_small() -> None:
    """What is above the limit is never decompressed."""
    bomb = gzip.compress(bytes(20_000_000))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decoded("gzip", [bomb], 1000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000
