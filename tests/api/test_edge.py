"""Requests that no client should send: each is answered by an OperationOutcome, or its connection ends; none harms."""

from __future__ import annotations

import gzip
import json
import socket
from dataclasses import dataclass

import pytest

from tests.client import Client
from tests.services.server import Server, StartServer

PATIENT = b'{"resourceType":"Patient","active":true}'
JSON = "Content-Type: application/fhir+json\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
# 20 MB of zeros, and more.
BOMB = gzip.compress(bytes(30_000_000))


@dataclass(frozen=True, slots=True)
class Told:
    """The status lines, the diagnostics of the last answer, and whether the connection has ended."""

    statuses: tuple[int, ...]
    diagnostics: str
    is_closed: bool


def post(headers: str, body: bytes = PATIENT, path: str = "Patient") -> bytes:
    return f"POST /fhir/{path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + body


def get(path: str, headers: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode("latin-1")


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}\r\n"


def ask(server: Server, request: bytes) -> Told:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 20) as connection:
        connection.sendall(request)
        told, is_closed = b"", False
        try:
            while part := connection.recv(65_536):
                told += part
                connection.settimeout(0.25)
            is_closed = True
        except TimeoutError:
            pass
    *_, last = told.split(b"HTTP/1.1 ")
    statuses = tuple(int(each[:3]) for each in told.split(b"HTTP/1.1 ")[1:])
    body = last.partition(b"\r\n\r\n")[2]
    is_outcome = body.startswith(b'{"resourceType":"OperationOutcome"')
    return Told(statuses, json.loads(body)["issue"][0]["diagnostics"] if is_outcome else "", is_closed)


@pytest.mark.parametrize(
    ("request_", "statuses", "diagnostics"),
    [
        (post(JSON + "Content-Length: 40\r\n" + CHUNKED, b"0\r\n\r\n"), (411,), "unknown length"),
        (post(JSON + CHUNKED + CHUNKED, b"0\r\n\r\n"), (411,), "unknown length"),
        (post(JSON + CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"), (411,), "unknown length"),
        (post(JSON + CHUNKED, b"1;" + b"a" * 300_000 + b"\r\nx\r\n0\r\n\r\n"), (411,), "unknown length"),
        (post(JSON + "Transfer-Encoding: identity\r\nContent-Length: 40\r\n"), (400,), ""),
        (post(JSON + "Content-Length: 40\r\nContent-Length: 41\r\n"), (400,), ""),
        (post(JSON + "Content-Length: -1\r\n"), (400,), ""),
        (post(JSON + "Content-Length: 9223372036854775808\r\n"), (413,), "The body has 9223372036854775808 bytes"),
        (post(JSON + "Content-Length: 10\r\n", PATIENT[:10] + b"garbage garbage\r\n\r\n"), (400, 400), ""),
        (post("Content-Encoding: gzip\r\n" + JSON + length(BOMB), BOMB), (413,), "more than 20971520 bytes"),
        (post("Content-Encoding: gzip\r\n" + JSON + "Content-Length: 3000000\r\n", bytes(3_000_000)), (400,), "gzip"),
        (b"GET /fhir/Patient HTTP/1.1\r\n\r\n", (400,), "The request has no Host."),
        (get("/fhir/Patient", "Host: b\r\n"), (400,), "Host is 'a,b'"),
        (get("/fhir/Patient", "X: a\r\n b\r\n"), (400,), ""),
        (get("/fhir/Patient", "X: a\x00b\r\n"), (400,), ""),
        (get("/fhir/Patient", "".join(f"X-{each}: a\r\n" for each in range(200))), (431,), ""),
        (get("/fhir/Patient", f"Range: bytes={'0-1,' * 4000}0-1\r\n"), (431,), "Range has "),
        (get(f"/fhir/Patient/{'a' * 33_000}"), (414,), "The URL has more than"),
        (get("/fhir/Patient?name=\xff"), (400,), ""),
        (get("/fhir/Patient?name=a%00b"), (400,), "has characters that no resource can have"),
        (get("/fhir/Patient/a%00b"), (400,), "NUL"),
        (get("/fhir/Patient/a%FFb"), (404,), "is not known"),
        (get("/fhir/Patient/a%2Fb"), (404,), "'b' is no resource type"),
        (get("/fhir/Patient/%2e%2e/%2e%2e/health"), (404,), "Nothing is at this URL"),
        (get("/fhir/Patient/none", method="TRACE"), (405,), "not done here"),
        (get("/fhir/Patient/none") * 3, (404, 404, 404), "is not known"),
        (post(JSON + length(PATIENT), path="Nonsense") + get("/fhir/Patient/none"), (404, 404), "is not known"),
        (get("/fhir/Patient/none", JSON + "Content-Length: 40\r\n", "HEAD") + PATIENT, (404,), ""),
        (get("/fhir/Patient", JSON + "Content-Length: 5000000\r\n", "OPTIONS") + bytes(5_000_000), (204,), ""),
        (get("/fhir//Patient//none"), (404,), "Nothing is at this URL"),
    ],
)  # fmt: skip
def test_each_has_its_answer(server: Server, request_: bytes, statuses: tuple[int, ...], diagnostics: str) -> None:
    """The status, in words where the request could be read; and the server goes on."""
    told = ask(server, request_)

    assert statuses == told.statuses
    assert bool(diagnostics) == bool(told.diagnostics)
    assert diagnostics in told.diagnostics
    assert (200,) == ask(server, get("/health")).statuses


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Security-Context", "Patient/\xe9"), ("Forwarded", "for=\xff"), ("X-Forwarded-For", "\xff, 192.0.2.1")],
)
def test_headers_that_cannot_be_read(server: Server, name: str, value: str) -> None:
    """Without them the request would mean something else, or be somebody else's: it is refused."""
    told = ask(server, get("/fhir/Patient", f"{name}: {value}\r\n"))

    assert ((400,), f"{name} is empty, or not ASCII.") == (told.statuses, told.diagnostics)


def test_slashes_between_base_and_path(server: Server) -> None:
    """A client whose base ends with one and whose path begins with one gets what it asks for, and may write."""
    client = Client(server.base)

    created = client("POST", "/Patient", json={"resourceType": "Patient"})
    read = client.get(f"/Patient/{created.json()['id']}")

    assert (201, 200) == (created.status_code, read.status_code)


@pytest.mark.parametrize(
    ("given", "status", "part"),
    [
        ("bytes=2-4", 206, b"234"),
        ("BYTES=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-500", 206, b"0123456789"),
        (f"bytes=-{'9' * 40}", 206, b"0123456789"),
        (f"bytes=7-{'9' * 40}", 206, b"789"),
        (f"bytes={'9' * 40}-", 416, None),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=+1-2", 200, b"0123456789"),
        ("bytes=a-b", 200, b"0123456789"),
        ("items=1-2", 200, b"0123456789"),
        (f"bytes={'9' * 5000}-", 200, b"0123456789"),
    ],
)
def test_ranges(server: Server, given: str, status: int, part: bytes | None) -> None:
    """What is satisfiable is answered as RFC 9110 has it, as much as there is; what is no range with all."""
    client = Client(server.base)
    client("PUT", "Binary/ranges", data=b"0123456789", headers={"Content-Type": "text/plain"})

    got = client.get("Binary/ranges", Accept="text/plain", Range=given)

    assert (status, part) == (got.status_code, got.content if status != 416 else None)


def test_what_postgresql_cannot_hold(start_server: StartServer, fresh_postgresql_url: str) -> None:
    """NUL is in no name: told so there too, wherever it stands in a URL, and in a Bundle's."""
    server = start_server(database=fresh_postgresql_url, workers=1)
    paths = (
        "Patient/a%00b",
        "Patient/a%00b/_history",
        "Patient/a/_history/%00",
        "Binary/%00",
        "Patient?_id=%00",
        "Patient?family=%00",
        "Patient/_history?_since=%00",
        "Patient/$everything?_since=%00",
        "DocumentReference/$docref?patient=%00",
    )
    urls = ("Patient/a%00b", "Patient?_id=%00")
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    batch = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}).encode()

    asked = {path: ask(server, get(f"/fhir/{path}")).statuses for path in paths}
    written = {
        method: ask(server, get("/fhir/Patient/a%00b", JSON + length(PATIENT), method) + PATIENT).statuses
        for method in ("PUT", "DELETE", "PATCH")
    }
    accounts = ask(server, get("/AwsAccount/%00")).statuses
    answered = Client(server.base)("POST", "", data=batch, headers={"Content-Type": "application/fhir+json"}).json()

    assert [] == [(path, statuses) for path, statuses in asked.items() if statuses[0] not in (400, 404)]
    assert dict.fromkeys(("PUT", "DELETE", "PATCH"), (400,)) == written
    assert (400,) == accounts
    assert ["400"] * 2 == [each["response"]["status"][:3] for each in answered["entry"]]
