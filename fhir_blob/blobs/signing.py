"""Presigned S3 URLs by arithmetic: SigV4 in the query, with the day's key cached.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from urllib.parse import quote, urlsplit

# Seconds that S3 takes a signature in a query.
LONGEST_URL = 604_800
_NONE: Mapping[str, str] = MappingProxyType({})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"(\d+(\.\d+){3}|\[.*\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account's objects are: scheme and host (with its port), the region, the addressing style."""

    scheme: str
    host: str
    region: str
    path_style: bool
    path: str = ""

    @classmethod
    def of(cls, url: str, region: str, *, path_style: bool) -> Endpoint:
        """That URL's; without one AWS in the region. ValueError where it cannot be a URL."""
        parts = urlsplit(url or f"https://s3.{region}.amazonaws.com")
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        if parts.port and parts.port != _DEFAULT_PORTS.get(parts.scheme):
            host = f"{host}:{parts.port}"
        return cls(parts.scheme, host, region, path_style, parts.path.rstrip("/"))

    def place(self, bucket: str, key: str) -> tuple[str, str]:
        """Host and encoded path of an object."""
        encoded = quote(key, safe="/-_.~")
        if self.path_style or not _can_lead(self.scheme, self.host, bucket):
            return self.host, f"{self.path}/{bucket}/{encoded}"
        return f"{bucket}.{self.host}", f"{self.path}/{encoded}"


def presign(
    endpoint: Endpoint,
    credentials: Credentials,
    method: str,
    bucket: str,
    key: str,
    *,
    now: int,
    seconds: int,
    headers: Mapping[str, str] = _NONE,
    query: Mapping[str, str] = _NONE,
) -> str:
    """The URL that does `method` to the object for `seconds` from `now` (microseconds since 1970).

    `headers` have to be sent with it as they are; `query` overrides what S3 answers (response-*).
    """
    host, path = endpoint.place(bucket, key)
    moment = _moment(now // 1_000_000)
    day = moment[:8]
    scope = f"{day}/{endpoint.region}/s3/aws4_request"
    signed, canonical_headers = _headers(host, headers)
    given = "".join(f"{_encode(name)}={_encode(value)}&" for name, value in query.items())
    ours = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={_encode(f'{credentials.access_key}/{scope}')}"
        f"&X-Amz-Date={moment}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders={_encode(signed)}"
    )
    if credentials.token:
        ours += f"&X-Amz-Security-Token={_encode(credentials.token)}"
    canonical_query = "&".join(sorted((given + ours).split("&"))) if given or credentials.token else ours
    request = f"{method}\n{path}\n{canonical_query}\n{canonical_headers}\n{signed}\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_key(credentials.secret_key, day, endpoint.region), text.encode(), "sha256").hex()
    return f"{endpoint.scheme}://{host}{path}?{given}{ours}&X-Amz-Signature={signature}"


def _headers(host: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and the headers in their canonical form."""
    if not headers:
        return "host", f"host:{host}\n"
    lowered = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host}
    names = sorted(lowered)
    return ";".join(names), "".join(f"{name}:{lowered[name]}\n" for name in names)


@lru_cache(256)
def _can_lead(scheme: str, host: str, bucket: str) -> bool:
    """Whether the bucket can stand before the host: no certificate covers dots, and an address has no names below it.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """
    if _ADDRESS.fullmatch(host):
        return False
    labels = bucket.split(".") if scheme == "http" else [bucket]
    return len(bucket) > 2 and not _ADDRESS.fullmatch(bucket) and all(_LABEL.fullmatch(label) for label in labels)


@lru_cache(4096)
def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(64)
def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(256)
def _key(secret: str, day: str, region: str) -> bytes:
    """The signing key of the day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
