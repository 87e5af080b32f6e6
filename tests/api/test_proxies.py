"""Behind a proxy: whose word counts, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fhir_blob.api.proxies import Proxies
from fhir_blob.errors import BadRequest
from fhir_blob.settings import SettingsError
from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

PROXIES = Proxies("10.0.0.0/8 2001:db8:1::/48")
DIRECT = ("http", "inside:8000", "", "10.0.0.1")


def seen(peer: str = "10.0.0.1", **headers: str) -> tuple[str, ...]:
    """Scheme, host, path prefix and client address, as the server sees them."""
    environ: dict[str, Any] = {
        "REMOTE_ADDR": peer,
        "HTTP_HOST": "inside:8000",
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    PROXIES.follow(environ)
    return environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ.get("SCRIPT_NAME", ""), environ["REMOTE_ADDR"]


def x_forwarded(**told: str) -> dict[str, str]:
    return {f"x_forwarded_{name}": value for name, value in told.items()}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, DIRECT),
        ({"forwarded": ""}, DIRECT),
        ({"forwarded": "for=192.0.2.9;proto=https;host=ehr.example"}, ("https", "ehr.example", "", "192.0.2.9")),
        (
            {"forwarded": 'For="[2001:db8::9]:4711" ; Proto=HTTPS ; Host="ehr.example:8443"'},
            ("https", "ehr.example:8443", "", "2001:db8::9"),
        ),
        # The first proxy tells the name, the second what it was asked by the first.
        (
            {"forwarded": "for=192.0.2.9;host=ehr.example;proto=https, for=10.1.1.1;host=inside;proto=http"},
            ("https", "ehr.example", "", "192.0.2.9"),
        ),
        # The client wrote the first element, the proxy the second.
        (
            {"forwarded": "for=10.9.9.9;host=evil.example, for=192.0.2.9;host=ehr.example"},
            ("http", "ehr.example", "", "192.0.2.9"),
        ),
        ({"forwarded": "for=192.0.2.66;host=evil.example, for=_hidden"}, DIRECT),
        ({"forwarded": "for=192.0.2.66;host=evil.example, proto=https"}, ("https", "inside:8000", "", "10.0.0.1")),
        (x_forwarded(proto="https"), ("https", "inside:8000", "", "10.0.0.1")),
        (x_forwarded(proto="https", host="ehr.example", port="443"), ("https", "ehr.example", "", "10.0.0.1")),
        (x_forwarded(proto="https", host="ehr.example", port="8443"), ("https", "ehr.example:8443", "", "10.0.0.1")),
        (x_forwarded(host="ehr.example:81", port="82"), ("http", "ehr.example:81", "", "10.0.0.1")),
        (x_forwarded(host="[2001:db8::7]", port="81"), ("http", "[2001:db8::7]:81", "", "10.0.0.1")),
        (x_forwarded(host="evil.example, ehr.example"), ("http", "ehr.example", "", "10.0.0.1")),
        (x_forwarded(prefix="/ehr/one/"), ("http", "inside:8000", "/ehr/one", "10.0.0.1")),
        (x_forwarded(**{"for": "192.0.2.9"}), ("http", "inside:8000", "", "192.0.2.9")),
        (x_forwarded(**{"for": "10.9.9.9, 192.0.2.9:4711, 10.1.1.1"}), ("http", "inside:8000", "", "192.0.2.9")),
        (x_forwarded(**{"for": "192.0.2.66, who?"}), DIRECT),
        (x_forwarded(**{"for": "10.9.9.9, 10.1.1.1"}), ("http", "inside:8000", "", "10.9.9.9")),
        (
            x_forwarded(**{"for": "192.0.2.9, 10.1.1.1", "host": "ehr.example, inside", "proto": "https,http"}),
            ("https", "ehr.example", "", "192.0.2.9"),
        ),
        (
            {"forwarded": "for=192.0.2.9;host=a.example", **x_forwarded(**{"for": "192.0.2.9", "host": "a.example"})},
            ("http", "a.example", "", "192.0.2.9"),
        ),
    ],
)
def test_a_trusted_proxy_is_believed(told: dict[str, str], expected: tuple[str, ...]) -> None:
    """What it wrote counts, what came before it does not."""
    found = seen(**told)

    assert expected == found


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8:2::1", "::ffff:192.0.2.1", "", "unix"])
def test_others_are_not(peer: str) -> None:
    """From an address that is not trusted nothing counts, malformed or not."""
    told = {"forwarded": "for=192.0.2.9;host=ehr.example", **x_forwarded(proto="gopher", host="a b", prefix="/x")}

    found = seen(peer, **told)

    assert (*DIRECT[:3], peer) == found


@pytest.mark.parametrize("peer", ["10.255.0.1", "2001:db8:1:2::3", "::ffff:10.0.0.1"])
def test_networks(peer: str) -> None:
    """A proxy is known by its network, and by IPv4 written as IPv6 too."""
    found = seen(peer, x_forwarded_host="ehr.example")

    assert ("http", "ehr.example", "", peer) == found


@pytest.mark.parametrize(
    ("told", "header"),
    [
        ({"forwarded": "for=192.0.2.9;host"}, "Forwarded"),
        ({"forwarded": 'host="ehr.example'}, "Forwarded"),
        ({"forwarded": 'host="a b"'}, "Forwarded"),
        ({"forwarded": 'host="evil.example/x?"'}, "Forwarded"),
        ({"forwarded": "proto=javascript"}, "Forwarded"),
        (x_forwarded(proto="gopher"), "X-Forwarded-Proto"),
        (x_forwarded(host='a"b'), "X-Forwarded-Host"),
        (x_forwarded(host="user@evil.example"), "X-Forwarded-Host"),
        (x_forwarded(port="66000"), "X-Forwarded-Port"),
        (x_forwarded(port="٣"), "X-Forwarded-Port"),
        (x_forwarded(prefix="//evil.example"), "X-Forwarded-Prefix"),
        (x_forwarded(prefix="/a/../b"), "X-Forwarded-Prefix"),
        (x_forwarded(prefix="x"), "X-Forwarded-Prefix"),
        # What the proxy did not write.
        ({"forwarded": "host=evil.example", **x_forwarded(host="ehr.example")}, "Forwarded and X-Forwarded-*"),
        ({"forwarded": "for=192.0.2.66", **x_forwarded(**{"for": "192.0.2.9"})}, "Forwarded and X-Forwarded-*"),
    ],
)
def test_what_would_break_links_is_refused(told: dict[str, str], header: str) -> None:
    """400 names the header; nothing of it gets into a link."""
    with pytest.raises(BadRequest) as refused:
        seen(**told)

    assert str(refused.value).startswith(header)


def test_setting_of_no_address() -> None:
    """A name is none: its address could be anybody's tomorrow."""
    with pytest.raises(SettingsError) as refused:
        Proxies("10.0.0.1 proxy.example")

    assert "FHIR_BLOB_TRUSTED_PROXIES" in str(refused.value)
    assert "proxy.example" in str(refused.value)


def test_every_link_is_the_clients(start_server: StartServer) -> None:
    """Location, fullUrl, Bundle links, pages, batch entries and the CapabilityStatement name what the proxy told."""
    server = start_server(trusted_proxies="127.0.0.0/8", workers=1)
    proxied = Client(
        server.base,
        **{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "ehr.example", "X-Forwarded-Prefix": "/one"},
    )
    base = "https://ehr.example/one/fhir"
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}],
    }

    made = proxied("POST", "Patient", json={"resourceType": "Patient"}, headers={})
    entries = proxied("POST", "", json=batch, headers={}).json()["entry"]
    found = proxied.fhir("Patient?_count=1")
    told = proxied.fhir("metadata")["implementation"]["url"]
    forwarded = Client(server.base, Forwarded="for=192.0.2.9;proto=https;host=other.example").fhir("Patient?_count=1")

    assert made.headers["Location"].startswith(f"{base}/Patient/")
    assert entries[0]["response"]["location"].removeprefix(f"{base}/").startswith("Patient/")
    assert {"self", "next"} == {link["relation"] for link in found["link"]}
    assert all(link["url"].startswith(f"{base}/Patient?") for link in found["link"])
    assert found["entry"][0]["fullUrl"].startswith(f"{base}/Patient/")
    assert base == told
    assert all(link["url"].startswith("https://other.example/fhir/Patient?") for link in forwarded["link"])


def test_without_the_setting_nobody_is_believed(server: Server) -> None:
    """A client that plays the proxy gets the links of its own Host; a Host that cannot be is refused."""
    played = {"Forwarded": "proto=https;host=evil.example", "X-Forwarded-Host": "evil.example"}

    told = requests.get(f"{server.base}/Patient", headers=played, timeout=60).text
    refused = requests.get(f"{server.base}/Patient", headers={"Host": 'evil"/x'}, timeout=60)

    assert "evil.example" not in told
    assert server.base in told
    assert (400, ["Host is 'evil\"/x', which is no name or address of a host."]) == (
        refused.status_code,
        diagnostics(refused),
    )
