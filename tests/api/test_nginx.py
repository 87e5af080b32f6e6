"""Behind a real nginx that ends TLS and serves below a path, by the README's own lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from fhir_blob.access.credentials import hash_secret
from tests.client import Client, diagnostics, extension
from tests.services import nginx
from tests.services.nginx import Nginx
from tests.services.server import Server, free_port, start

USERS = ("ann", "ben", "cleo", "dan", "eve", "fay", "gus", "hal")
A_MINUTE = 15
STALL_SECONDS = 2
PDF = {"Content-Type": "application/pdf"}
MB = 1024 * 1024
# In place of X-Forwarded-*, as https://www.rfc-editor.org/rfc/rfc7239 has it.
FORWARDED = """'for="$remote_addr";proto=$scheme;host="$http_host"'"""


@dataclass(frozen=True, slots=True)
class Site:
    """What clients reach: the server twice, once told of by X-Forwarded-*, once by Forwarded, and the S3."""

    nginx: Nginx
    server: Server
    ports: dict[str, int]

    @property
    def s3(self) -> str:
        return f"https://127.0.0.1:{self.ports['X-Forwarded']}"

    def base(self, told: str = "X-Forwarded") -> str:
        return f"https://localhost:{self.ports[told]}/hospital/fhir"

    def client(self, user: str, told: str = "X-Forwarded", address: str = "127.0.0.2") -> Client:
        """A user's, or nobody's, from an address that is not the proxy's."""
        made = Client(self.base(told), **({"Authorization": f"Bearer {user}"} if user else {}))
        made.session.mount("https://", _From(address))
        made.session.verify = str(self.nginx.certificate)
        made.session.trust_env = False  # which would have another word on certificates
        return made

    def connect(self, head: str) -> ssl.SSLSocket:
        """A connection that has sent the head of a request."""
        context = ssl.create_default_context(cafile=self.nginx.certificate)
        plain = socket.create_connection(("127.0.0.1", self.ports["X-Forwarded"]), 30)
        connection = context.wrap_socket(plain, server_hostname="localhost")
        connection.sendall(head.replace("\n", "\r\n").encode())
        return connection


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        super().init_poolmanager(*given, source_address=(self._address, 0), **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, s3_port = tmp_path_factory.mktemp("site"), free_port()
    ports = {"X-Forwarded": free_port(), "Forwarded": free_port()}
    server = start(
        folder / "data",
        workers=1,
        auth="required",
        tokens=" ".join(f"{name}={hash_secret(name)}" for name in USERS),
        rate_limit=A_MINUTE,
        stall_seconds=STALL_SECONDS,
        s3_embedded_port=s3_port,
        **_comment(ports["X-Forwarded"]),
    )
    told = _with_forwarded(nginx.snippet())
    places = {"http://127.0.0.1:8000": server.url, ":8333": f":{s3_port}"}
    servers = _placed(nginx.snippet(), ports["X-Forwarded"], places) + _placed(told, ports["Forwarded"], places)
    try:
        with nginx.running(folder, servers, tuple(ports.values())) as proxy:
            yield Site(proxy, server, ports)
    finally:
        server.kill()


def _comment(port: int) -> dict[str, str]:
    """The settings that the first line of the README's configuration tells."""
    told = re.findall(r"FHIR_BLOB_(\w+)=(\S+)", nginx.snippet().splitlines()[0])
    return {name.lower(): value.replace("s3.hospital.example", f"127.0.0.1:{port}") for name, value in told}


def _with_forwarded(text: str) -> str:
    """The same with Forwarded; X-Forwarded-* are dropped, but for the prefix, which Forwarded has no word for."""
    text = re.sub(r"(X-Forwarded-(?:For|Proto|Host)) \S+;", r'\1 "";', text)
    return text.replace('Forwarded "";', f"Forwarded {FORWARDED};")


def _placed(text: str, port: int, places: dict[str, str]) -> str:
    """The configuration for this machine, where two names are localhost and 127.0.0.1."""
    places = places | {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "s3.hospital.example": "127.0.0.1",
        "name hospital.example": "name localhost",
        "/etc/ssl/hospital.pem": "certificate.pem",
        "/etc/ssl/hospital.key": "key.pem",
    }
    for there, here in places.items():
        assert there in text, there
        text = text.replace(there, here)
    return text


@pytest.mark.parametrize(("told", "user"), [("X-Forwarded", "ann"), ("Forwarded", "ben")])
def test_every_link_is_public(site: Site, told: str, user: str) -> None:
    """Location, fullUrl, pages, history, batch entries, metadata and presigned URLs lead through the proxy."""
    base, client = site.base(told), site.client(user, told)
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}],
    }

    made = client("POST", "Patient", json={"resourceType": "Patient", "active": True})
    entry = client("POST", "", json=batch).json()["entry"][0]["response"]["location"]
    page = client.fhir("Patient?_count=1")
    links = {link["relation"]: link["url"] for link in page["link"]}
    second = client.session.get(links["next"], timeout=60).json()
    past = client.fhir(f"Patient/{made.json()['id']}/_history?_count=1")
    pointed = client.fhir("metadata")["implementation"]["url"]
    version = client.session.get(made.headers["Location"], timeout=60)

    assert base == pointed
    assert made.headers["Location"].startswith(f"{base}/Patient/")
    assert entry.removeprefix(f"{base}/").startswith("Patient/")
    assert {"self", "next"} <= links.keys()
    urls = [*links.values(), *(link["url"] for link in (*second["link"], *past["link"]))]
    assert [] == [url for url in urls if not url.startswith(f"{base}/Patient")]
    assert [True] * 3 == [each["entry"][0]["fullUrl"].startswith(f"{base}/Patient/") for each in (page, second, past)]
    assert (200, "Bundle", 1) == (version.status_code, second["resourceType"], len(second["entry"]))


def test_presigned_urls_lead_through_it(site: Site) -> None:
    """Bytes go up and down by presigned URLs of the public S3, whose signature is of that name."""
    client, bytes_ = site.client("cleo"), os.urandom(3 * MB)

    binary = client.create({"resourceType": "Binary", "contentType": "application/pdf"})
    put_url = extension(binary["_data"], "presignedPutUrl")
    put = requests.put(put_url, data=bytes_, verify=str(site.nginx.certificate), timeout=60)
    get_url = extension(client.fhir(f"Binary/{binary['id']}?_attachments=extension")["_data"], "presignedGetUrl")
    got = requests.get(get_url, headers={"Range": "bytes=5-9"}, verify=str(site.nginx.certificate), timeout=60)
    whole = requests.get(get_url, verify=str(site.nginx.certificate), timeout=60)

    assert [True, True] == [url.startswith(f"{site.s3}/fhir-blob/") for url in (put_url, get_url)]
    assert (200, 206, bytes_[5:10]) == (put.status_code, got.status_code, got.content)
    assert bytes_ == whole.content


def test_large_bytes_pass_through(site: Site) -> None:
    """64 MB up, down and in ranges, with nothing of them on the proxy's disk."""
    client, bytes_ = site.client("dan"), os.urandom(64 * MB)

    made = client("POST", "Binary", data=bytes_, headers=PDF)
    path = f"Binary/{made.json()['id']}"
    got = client.get(path, Accept="application/pdf")
    parts = [client.get(path, Accept="application/pdf", Range=each) for each in ("bytes=67000000-67000009", "bytes=-3")]

    assert (201, hashlib.sha256(bytes_).digest()) == (made.status_code, hashlib.sha256(got.content).digest())
    assert [(206, bytes_[67000000:67000010]), (206, bytes_[-3:])] == [
        (each.status_code, each.content) for each in parts
    ]
    assert f"bytes 67000000-67000009/{64 * MB}" == parts[0].headers["Content-Range"]
    assert "temporary file" not in site.nginx.log


def test_refused_while_it_sends(site: Site) -> None:
    """The server's word reaches who sends much, and its connections to the proxy serve others."""
    nobody, client = site.client("", address="127.0.0.68"), site.client("dan")

    unknown = [nobody("POST", "Binary", data=bytes(20 * MB), headers=PDF) for _ in range(3)]
    refused = [client("POST", "Nonsense", data=bytes(20 * MB), headers=PDF) for _ in range(2)]
    read = client.get("Patient/none")

    assert [401] * 3 + [404] * 3 == [each.status_code for each in (*unknown, *refused, read)]
    assert [1] * 6 == [len(diagnostics(each)) for each in (*unknown, *refused, read)]


def test_slow_client(site: Site) -> None:
    """Who goes on sending is waited for, longer in all than the server lets a connection be quiet."""
    with site.connect(head(6 * MB, "slow")) as connection:
        for _ in range(6):
            time.sleep(0.5)
            connection.sendall(bytes(MB))

        answer = read(connection)

    assert answer.startswith("HTTP/1.1 201 ")


def test_stalled_client(site: Site) -> None:
    """Who sends nothing more is told so, by the server and through the proxy."""
    with site.connect(head(6 * MB, "stalled")) as connection:
        connection.sendall(bytes(MB))

        answer = read(connection)

    assert answer.startswith("HTTP/1.1 408 ")
    assert "OperationOutcome" in answer


def test_aborted_uploads(site: Site) -> None:
    """More of them than may be under way: each is a 400 in the log, and the next upload goes through."""
    names = [f"aborted-{number}" for number in range(4)]
    for name in names:
        with site.connect(head(6 * MB, name)) as connection:
            connection.sendall(bytes(MB))
        wait_for(site.server, name)

    made = site.client("fay")("POST", "Binary", data=b"%PDF", headers=PDF)

    assert [400] * 4 == [wait_for(site.server, name) for name in names]
    assert 201 == made.status_code


def test_compressed_once(site: Site) -> None:
    """What the server compressed the proxy leaves alone, bytes too: their length, and an ETag for ranges, are there."""
    client, text = site.client("gus"), b"all the same " * 1000
    made = client("POST", "Binary", data=text, headers={"Content-Type": "text/plain"})
    path = f"{client.base}/Binary/{made.json()['id']}"
    takes = {"Accept-Encoding": "gzip"}

    fhir = client.session.get(f"{client.base}/metadata", headers=takes, stream=True, timeout=60)
    unpacked = json.loads(gzip.decompress(fhir.raw.read()))
    raw = client.session.get(path, headers={**takes, "Accept": "text/plain"}, stream=True, timeout=60)

    assert ("gzip", "CapabilityStatement") == (fhir.headers["Content-Encoding"], unpacked["resourceType"])
    assert (None, str(len(text))) == (raw.headers.get("Content-Encoding"), raw.headers.get("Content-Length"))
    assert text == raw.raw.read()


def test_forged_headers(site: Site) -> None:
    """Whatever a client says of itself, it is counted by the address that it has, and gets the links of the site."""

    def forged(number: int) -> dict[str, str]:
        address = f"198.51.100.{number}"
        host = {"X-Forwarded-Host": "evil.example", "X_Forwarded_Host": "evil.example", "X-Forwarded-Port": "81"}
        return {"X-Forwarded-For": address, "Forwarded": f"for={address};host=evil.example", **host}

    told = {each: site.client("hal", each).get("Patient", **forged(1)) for each in site.ports}
    nobodys = site.client("", address="127.0.0.66")
    refused = [nobodys.get("Patient", **forged(number)).status_code for number in range(2 * A_MINUTE)]
    another = site.client("", address="127.0.0.67").get("Patient").status_code

    assert dict.fromkeys(site.ports, 200) == {each: answer.status_code for each, answer in told.items()}
    assert [False, False] == ["evil" in answer.text for answer in told.values()]
    assert [True, True] == [site.base(each) in answer.text for each, answer in told.items()]
    assert ([401] * A_MINUTE, 429, 401) == (refused[:A_MINUTE], refused[-1], another)


def test_only_the_proxy_is_believed(site: Site) -> None:
    """Who comes past it, from another address of the machine, gets the links of the door that they came to."""
    client = Client(site.server.base, Authorization="Bearer hal", Forwarded="proto=https;host=evil.example")
    client.session.mount("http://", _From("127.0.0.3"))

    links = client.fhir("Patient")["link"]

    assert [True] == [
        link["url"].startswith(f"{site.server.base}/Patient") for link in links if link["relation"] == "self"
    ]


def test_rate_of_each_user(site: Site) -> None:
    """Users behind it have their own minute each, though the server sees one address."""
    eve = site.client("eve")

    answers = [eve.get("Patient/none") for _ in range(2 * A_MINUTE)]
    others = site.client("hal").get("Patient/none").status_code

    assert [404] * A_MINUTE == [each.status_code for each in answers[:A_MINUTE]]
    assert (429, True) == (answers[-1].status_code, diagnostics(answers[-1])[0].startswith("You asked more than"))
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert 404 == others


def head(size: int, request_id: str) -> str:
    return (
        "POST /hospital/fhir/Binary HTTP/1.1\nHost: localhost\nAuthorization: Bearer fay\n"
        f"Content-Type: application/pdf\nContent-Length: {size}\nX-Request-Id: {request_id}\nConnection: close\n\n"
    )


def read(connection: ssl.SSLSocket) -> str:
    """The whole answer."""
    parts: list[bytes] = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts).decode()


def wait_for(server: Server, request_id: str) -> int:
    """The status of the request, once the server's log has it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for line in server.log.splitlines():
            if f'"{request_id}"' in line:
                return int(json.loads(line)["status"])
        time.sleep(0.05)
    raise AssertionError(f"{request_id} is not in the log")
