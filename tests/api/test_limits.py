"""How much a request may be, and how many there may be."""

from __future__ import annotations

import base64
import fcntl
import multiprocessing
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from argon2 import PasswordHasher

from fhir_blob.access.credentials import Credentials, hash_secret
from fhir_blob.api.limits import Admission, RateLimit
from fhir_blob.api.requests import Request
from fhir_blob.errors import Throttled, Unauthenticated
from fhir_blob.settings import Settings
from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

JSON, XML = "application/fhir+json", "application/fhir+xml"
POST = "POST a long search to _search, as a form."


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("", {"Accept": f"{JSON}, " + "a/b," * 3000}, (431, "Accept has 12023 bytes; at most 8192 are read.")),
        ("", {"Prefer": "x" * 8193}, (431, "Prefer has 8193 bytes; at most 8192 are read.")),
        ("?_id=" + "x" * 33_000, {}, (414, f"The URL has more than 32768 bytes: {POST}")),
        ("?" + "a=b&" * 1001, {}, (400, "The query is not UTF-8, or has more than 1000 parameters.")),
        ("?_id=%FF", {}, (400, "The query is not UTF-8, or has more than 1000 parameters.")),
    ],
)  # fmt: skip
def test_the_head_of_a_request(server: Server, query: str, headers: dict[str, str], expected: tuple[int, str]) -> None:
    """What is too long is refused with an OperationOutcome, which a page of another origin may read."""
    refused = requests.get(
        f"{server.base}/Patient{query}", headers={"Origin": "http://a.example", **headers}, timeout=60
    )

    assert expected == (refused.status_code, diagnostics(refused)[0])
    assert "*" == refused.headers["Access-Control-Allow-Origin"]
    assert refused.headers["X-Request-Id"]


def test_all_headers_together(server: Server) -> None:
    """More than the HTTP server reads is 431, without a body."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 200_000)

        told = connection.recv(4096)

    assert told.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'{"resourceType": "Patient", "extension": ' + b'[{"extension": ' * 5000 + b"1" + b"}]" * 5000 + b"}"),
        (JSON, b"[" * 1_000_000),
        (JSON, b'{"a":' * 100_000),
        (XML, b'<Patient xmlns="http://hl7.org/fhir">' + b'<extension url="a">' * 50_000),
    ],
)
def test_nesting(server: Server, kind: str, body: bytes) -> None:
    """However deep a body is nested, it is a mistake of the client's."""
    refused = requests.post(f"{server.base}/Patient", body, headers={"Content-Type": kind}, timeout=60)

    assert 400 == refused.status_code
    assert "nested" in diagnostics(refused)[0] or "not XML" in diagnostics(refused)[0]


def test_rate_of_each_user(start_server: StartServer) -> None:
    """Over all workers each may ask so often a minute; then 429 with Retry-After, and the others go on."""
    tokens = " ".join(f"{name}={hash_secret(name)}" for name in ("ann", "ben"))
    server = start_server(auth="required", tokens=tokens, rate_limit=12, workers=2)
    ann = {"Authorization": "Bearer ann", "Origin": "http://a.example"}

    def ask(number: int) -> requests.Response:
        return requests.get(f"{server.base}/Patient/none", headers=ann, timeout=60)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(20)))
    refused = [each for each in answers if each.status_code == 429]

    # One more for each five seconds that it took.
    assert 12 <= len([each for each in answers if each.status_code == 404]) <= 14
    assert len(answers) == len(refused) + len([each for each in answers if each.status_code == 404])
    issue = refused[-1].json()["issue"][0]
    assert ("throttled", True) == (
        issue["code"],
        issue["diagnostics"].startswith("You asked more than 12 times a minute"),
    )
    assert 1 <= int(refused[-1].headers["Retry-After"]) <= 5
    assert "*" == refused[-1].headers["Access-Control-Allow-Origin"]
    assert 404 == Client(server.base, Authorization="Bearer ben").get("Patient/none").status_code
    assert [200] * 20 == [requests.get(f"{server.url}/health", timeout=60).status_code for _ in range(20)]
    assert 200 == requests.get(f"{server.url}/metrics", timeout=60).status_code
    wrong = [requests.get(f"{server.base}/Patient/none", timeout=60).status_code for _ in range(14)]
    assert ([401] * 12, 429) == (wrong[:12], wrong[-1])


def test_rate_of_each_address(tmp_path: Path) -> None:
    """Where nobody signs in each address has its own, all of an IPv6 network together."""
    admission = Admission(Credentials(Settings()), RateLimit(tmp_path / "rate", 1))

    def refused(address: str) -> bool:
        try:
            admission.principal(Request({"REQUEST_METHOD": "GET", "REMOTE_ADDR": address}))
        except Throttled:
            return True
        return False

    found = [
        refused(each) for each in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db9::1")
    ]

    assert [False, True, False, False, True, False] == found


def test_guessing(tmp_path: Path) -> None:
    """Where an address has used up its minute no guess of it is checked any more; who was let in before still is."""
    quick = PasswordHasher(time_cost=1, memory_cost=64)
    settings = Settings(auth="required", tokens=f"ann={quick.hash('ann')}", users=f"ben={quick.hash('ben')}")
    credentials, basic = Credentials(settings), base64.b64encode(b"ben:ben").decode()
    admission = Admission(credentials, RateLimit(tmp_path / "rate", 3))

    def asked(authorization: str) -> str:
        environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": authorization}
        try:
            return admission.principal(Request(environ)).name
        except (Throttled, Unauthenticated) as error:
            return type(error).__name__

    before = [asked("Bearer ann"), asked(f"Basic {basic}")]
    guesses = [asked(f"Bearer guess-{number}") for number in range(3)]
    nobody = base64.b64encode(b"nobody:guess").decode()
    began = time.process_time()
    after = {asked(f"Basic {nobody}") for _ in range(100)} | {asked(f"Bearer {number}") for number in range(100)}
    seconds = time.process_time() - began

    assert (["ann", "ben"], ["Unauthenticated"] * 3, {"Throttled"}) == (before, guesses, after)
    assert ["ann", "ben"] == [asked("Bearer ann"), asked(f"Basic {basic}")]
    assert seconds < 1


def _count(path: Path, times: int) -> int:
    """How many of so many are let through in one moment. A minute by 3840 is exact in binary."""
    rate, let = RateLimit(path, 3840, lambda: 1_800_000_000.0), 0
    for _ in range(times):
        try:
            rate.count("one name")
            let += 1
        except Throttled:
            continue
    return let


def test_processes_count_together(tmp_path: Path) -> None:
    """No request is lost between them, nor between runs."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        let = pool.starmap(_count, [(tmp_path / "rate", 2000)] * 3, chunksize=1)
        with (tmp_path / "rate").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            waits = pool.apply_async(_count, (tmp_path / "rate", 10))
            with pytest.raises(multiprocessing.TimeoutError):
                waits.get(0.5)

        assert 3840 == sum(let)
        assert 0 == waits.get(30)


def test_what_is_in_the_file(tmp_path: Path) -> None:
    """A moment that is far ahead, of a crash or a clock, does not shut anybody out; no name stands there."""
    moment = 1_800_000_000.0
    rate = RateLimit(tmp_path / "rate", 1, lambda: moment)
    rate.count("ann the user")
    with pytest.raises(Throttled) as refused:
        rate.count("ann the user")
    moment -= 3600

    rate.count("ann the user")

    assert {"Retry-After": "60"} == refused.value.headers
    assert b"ann" not in (tmp_path / "rate").read_bytes()


def test_many_names(tmp_path: Path) -> None:
    """Tens of thousands of names, of which each is counted apart."""
    rate = RateLimit(tmp_path / "rate", 1)

    shut_out = 0
    for number in range(20_000):
        try:
            rate.count(f"name {number}")
        except Throttled:
            shut_out += 1

    assert 0 == shut_out
