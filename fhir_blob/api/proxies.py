"""Proxies in front of the server: the scheme, host, path prefix and client address that they tell of.

Source: https://www.rfc-editor.org/rfc/rfc7239 (Forwarded); X-Forwarded-* are what was there before it
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from fhir_blob.errors import BadRequest
from fhir_blob.settings import SettingsError

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+;=:@%-]+)*/?")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A parameter of Forwarded, and whether an element or the header ends after it.
_PAIR = re.compile(rf'[ \t]*(?:({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?[ \t]*(,|;|\Z)')
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_X_FORWARDED = tuple(f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PORT"))


@dataclass(frozen=True, slots=True)
class _Origin:
    """What the client asked the outermost proxy, and from where."""

    scheme: str
    host: str
    client: str


class Proxies:
    """Believes those at the addresses and networks of the setting, and nobody else."""

    def __init__(self, trusted: str) -> None:
        try:
            self._networks = tuple(ip_network(each, strict=False) for each in trusted.split())
        except ValueError as error:
            raise SettingsError(f"FHIR_BLOB_TRUSTED_PROXIES takes addresses and networks: {error}.") from error
        self._is_trusted = lru_cache(1024)(self._is_one)

    def follow(self, environ: dict[str, Any]) -> None:
        """Write into the environ what the client sees; BadRequest where a trusted proxy tells what cannot be.

        Where Forwarded and X-Forwarded-* are both there they have to agree: the one that the proxy does not
        write comes from the client, as it likes.
        """
        if not self._networks or not self._is_trusted(environ.get("REMOTE_ADDR", "")):
            return
        seen = [self._forwarded(environ)] if "HTTP_FORWARDED" in environ else []
        if any(name in environ for name in _X_FORWARDED):
            seen.append(self._x_forwarded(environ))
        if len(set(seen)) > 1:
            raise BadRequest(
                "Forwarded and X-Forwarded-* tell different origins: the proxy has to write both, or drop the other."
            )
        if seen:
            environ["wsgi.url_scheme"], environ["HTTP_HOST"] = seen[0].scheme, seen[0].host
            environ["REMOTE_ADDR"] = seen[0].client
        environ["SCRIPT_NAME"] = _prefix(environ) + environ.get("SCRIPT_NAME", "")

    def _forwarded(self, environ: dict[str, Any]) -> _Origin:
        elements = _elements(environ["HTTP_FORWARDED"])
        count, client = self._believed([each.get("for", "") for each in elements], environ["REMOTE_ADDR"])
        believed = elements[-count:]
        scheme = next((each["proto"] for each in believed if "proto" in each), environ["wsgi.url_scheme"])
        host = next((each["host"] for each in believed if "host" in each), host_of(environ))
        return _Origin(_scheme(scheme, "Forwarded"), check_host(host, "Forwarded"), client)

    def _x_forwarded(self, environ: dict[str, Any]) -> _Origin:
        count, client = self._believed(_values(environ, "FOR"), environ["REMOTE_ADDR"])
        scheme, host, port = (_told(environ, name, count) for name in ("PROTO", "HOST", "PORT"))
        scheme = _scheme(scheme or environ["wsgi.url_scheme"], "X-Forwarded-Proto")
        host = check_host(host or host_of(environ), "X-Forwarded-Host")
        return _Origin(scheme, _with_port(host, port, scheme), client)

    def _believed(self, nodes: Sequence[str], peer: str) -> tuple[int, str]:
        """How many of the last nodes were told by trusted proxies, and the client: the first that is none of them."""
        count, client = 0, peer
        for node in reversed(nodes):
            count += 1
            address = _address(node)
            if address is None:
                break
            client = str(address)
            if not self._is_trusted(client):
                break
        return max(count, 1), client

    def _is_one(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def host_of(environ: dict[str, Any]) -> str:
    """The Host header; without one where the server listens."""
    return environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"


def check_host(host: str, header: str = "Host") -> str:
    """The host; BadRequest for one that would break the links that are made of it."""
    if not _HOST.fullmatch(host):
        raise BadRequest(f"{header} is {host[:80]!r}, which is no name or address of a host.")
    return host


def _scheme(scheme: str, header: str) -> str:
    if scheme.lower() not in _DEFAULT_PORTS:
        raise BadRequest(f"{header} is {scheme[:80]!r}: it takes http or https.")
    return scheme.lower()


def _with_port(host: str, port: str, scheme: str) -> str:
    """The host as the client has to name it: a port that it has already is the client's own."""
    if port and not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise BadRequest(f"X-Forwarded-Port is {port[:80]!r}, which is no port.")
    has_port = ":" in host.rpartition("]")[2]
    return host if has_port or port in ("", _DEFAULT_PORTS[scheme]) else f"{host}:{port}"


def _prefix(environ: dict[str, Any]) -> str:
    prefix = _told(environ, "PREFIX", 1)
    if not _PREFIX.fullmatch(prefix):
        raise BadRequest(f"X-Forwarded-Prefix is {prefix[:80]!r}, which is no path.")
    return prefix.rstrip("/")


def _told(environ: dict[str, Any], name: str, count: int) -> str:
    """The first value that was told by one of the last `count` proxies."""
    return next(iter(_values(environ, name)[-count:]), "")


def _values(environ: dict[str, Any], name: str) -> list[str]:
    given = environ.get(f"HTTP_X_FORWARDED_{name}", "")
    return [each.strip() for each in given.split(",")] if given else []


def _elements(header: str) -> list[dict[str, str]]:
    """https://www.rfc-editor.org/rfc/rfc7239#section-4, each proxy an element"""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while True:
        match = _PAIR.match(header, at)
        if match is None:
            raise BadRequest(f"Forwarded is {header[:80]!r}, which is not as RFC 7239 has it.")
        name, token, quoted, end = match.groups()
        if name:
            elements[-1][name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if not end:
            return elements
        if end == ",":
            elements.append({})
        at = match.end()


def _address(node: str) -> IPv4Address | IPv6Address | None:
    """Of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`; None of anything else."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ip_address(node)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
