"""Presigned URLs: equal to botocore's byte for byte, and taken by real servers for just what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
import pytest
import requests
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.signing import Credentials, Endpoint, presign
from tests.services.s3 import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOW = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
MICROSECONDS = int(NOW.timestamp()) * 1_000_000
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("ASIAEXAMPLE", "secret", "token/with+odd=characters==")
METHODS = {"GET": "get_object", "PUT": "put_object", "HEAD": "head_object", "DELETE": "delete_object"}
# What botocore calls the headers and queries that are signed.
PARAMETERS = {
    "Content-Type": "ContentType",
    "Content-MD5": "ContentMD5",
    "Cache-Control": "CacheControl",
    "x-amz-checksum-sha1": "ChecksumSHA1",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "response-content-type": "ResponseContentType",
    "response-content-disposition": "ResponseContentDisposition",
    "response-cache-control": "ResponseCacheControl",
    "response-expires": "ResponseExpires",
    "versionId": "VersionId",
}
ODD_KEYS = [
    "pending/0123456789abcdef",
    "with space/and+plus&amp=1?no#hash",
    "100%/%2F%zz",
    "a//b/../c/./d",
    "/leading/and trailing ~-_.",
    "Grüße/日本語/👩‍⚕️.pdf",
    "quotes'\"<>()*!$,;:@=[]{}|\\^`",
]


@cache
def _client(endpoint: str, region: str, credentials: Credentials, path_style: bool) -> S3Client:
    style = {"addressing_style": "path" if path_style else "virtual"}
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token or None,
        config=Config(signature_version="s3v4", s3=style),  # type: ignore[arg-type]
    )


def _theirs(client: S3Client, method: str, bucket: str, key: str, seconds: int, given: Mapping[str, str] = {}) -> str:
    """botocore's URL, made at NOW."""
    parameters: dict[str, Any] = {PARAMETERS[name]: value for name, value in given.items()}
    with patch("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None)):
        return client.generate_presigned_url(
            METHODS[method], Params={"Bucket": bucket, "Key": key, **parameters}, ExpiresIn=seconds
        )


@pytest.mark.parametrize("path_style", [True, False], ids=["path", "virtual-host"])
@pytest.mark.parametrize("credentials", [KEYS, TEMPORARY], ids=["long-lived", "session-token"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("key", ODD_KEYS)
def test_equals_botocore(method: str, key: str, credentials: Credentials, path_style: bool) -> None:
    """Each method, style and kind of credentials, on keys that are hard to quote."""
    url, region = "https://objects.example.org:9000", "eu-central-1"
    client = _client(url, region, credentials, path_style)
    endpoint = Endpoint.of(url, region, path_style=path_style)

    ours = presign(endpoint, credentials, method, "a-bucket", key, now=MICROSECONDS, seconds=900)

    assert _theirs(client, method, "a-bucket", key, 900) == ours


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8333",
        "https://s3.eu-central-1.amazonaws.com",
        "http://localhost:9000",
        "http://[::1]:9000",
        "https://example.org/s3",
        "https://example.org/s3/",
    ],
)
@pytest.mark.parametrize("bucket", ["a-bucket", "Upper_Case", "a..b", "ab", "1.2.3.4", "-abc", "x" * 63])
@pytest.mark.parametrize("path_style", [True, False], ids=["path", "virtual-host"])
def test_endpoints_equal_botocore(url: str, bucket: str, path_style: bool) -> None:
    """Default ports, paths and IP addresses; a bucket that no host name can carry stays in the path."""
    client = _client(url, "eu-central-1", KEYS, path_style)
    endpoint = Endpoint.of(url, "eu-central-1", path_style=path_style)

    ours = presign(endpoint, KEYS, "GET", bucket, "key", now=MICROSECONDS, seconds=1)

    assert _theirs(client, "GET", bucket, "key", 1) == ours


@pytest.mark.parametrize("url", ["http://localhost:9000", "https://example.org"])
@pytest.mark.parametrize("path_style", [True, False], ids=["path", "virtual-host"])
def test_dotted_bucket_equals_botocore(url: str, path_style: bool) -> None:
    """A bucket with dots leads the host only where no certificate has to cover it."""
    client = _client(url, "eu-central-1", KEYS, path_style)
    endpoint = Endpoint.of(url, "eu-central-1", path_style=path_style)

    ours = presign(endpoint, KEYS, "GET", "with.dots", "key", now=MICROSECONDS, seconds=1)

    assert _theirs(client, "GET", "with.dots", "key", 1) == ours


@pytest.mark.parametrize(("url", "host"), [("http://minio:80", "minio"), ("https://EXAMPLE.org:443/", "example.org")])
def test_default_port_is_left_out(url: str, host: str) -> None:
    """Clients leave a scheme's own port out of the Host header, which is signed."""
    endpoint = Endpoint.of(url, "eu-central-1", path_style=True)

    place = endpoint.place("a-bucket", "key")

    assert (host, "/a-bucket/key") == place


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("PUT", {"Content-Type": "application/pdf"}),
        ("PUT", {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store,  private "}),
        ("PUT", {"x-amz-checksum-sha1": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "Content-Type": "image/png"}),
        ("PUT", {"x-amz-server-side-encryption": "AES256"}),
    ],
)
def test_headers_equal_botocore(method: str, headers: dict[str, str]) -> None:
    """Headers that the client has to send are bound as botocore binds them."""
    client = _client("https://objects.example.org", "eu-central-1", KEYS, True)
    endpoint = Endpoint.of("https://objects.example.org", "eu-central-1", path_style=True)

    ours = presign(endpoint, KEYS, method, "a-bucket", "key", now=MICROSECONDS, seconds=60, headers=headers)

    assert _theirs(client, method, "a-bucket", "key", 60, headers) == ours


@pytest.mark.parametrize("credentials", [KEYS, TEMPORARY], ids=["long-lived", "session-token"])
@pytest.mark.parametrize(
    "query",
    [
        {"response-content-disposition": "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20more.pdf"},
        {"response-content-type": "text/plain", "response-content-disposition": 'inline; filename="a b.txt"'},
        {"response-cache-control": "max-age=60", "versionId": "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vj"},
    ],
)
def test_queries_equal_botocore(query: dict[str, str], credentials: Credentials) -> None:
    """Queries that override what S3 answers are signed as botocore signs them."""
    client = _client("https://objects.example.org", "eu-central-1", credentials, True)
    endpoint = Endpoint.of("https://objects.example.org", "eu-central-1", path_style=True)

    ours = presign(endpoint, credentials, "GET", "a-bucket", "key", now=MICROSECONDS, seconds=60, query=query)

    assert sorted(_theirs(client, "GET", "a-bucket", "key", 60, query).split("&")) == sorted(ours.split("&"))


_ANY = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
_HARD = st.text(st.sampled_from(" +%/.~?&=#'\"\\äß日👩\u00a0\u202e"), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def oracles() -> dict[bool, S3Client]:
    """botocore's client for each addressing style: costly to make."""
    return {style: _client("https://objects.example.org", "eu-central-1", TEMPORARY, style) for style in (True, False)}


@settings(max_examples=200, deadline=None)
@given(key=_ANY | _HARD, path_style=st.booleans(), seconds=st.integers(1, 604_800))
def test_any_key_equals_botocore(oracles: dict[bool, S3Client], key: str, path_style: bool, seconds: int) -> None:
    """Whatever text a key is, both sign the same."""
    endpoint = Endpoint.of("https://objects.example.org", "eu-central-1", path_style=path_style)

    ours = presign(endpoint, TEMPORARY, "PUT", "a-bucket", key, now=MICROSECONDS, seconds=seconds)

    assert _theirs(oracles[path_style], "PUT", "a-bucket", key, seconds) == ours


def test_next_day_signs_anew() -> None:
    """The cached key of a day is not used on the next one."""
    endpoint = Endpoint.of("https://objects.example.org", "eu-central-1", path_style=True)
    urls = [
        presign(endpoint, KEYS, "GET", "a-bucket", "key", now=MICROSECONDS + step * 1_000_000, seconds=1)
        for step in (0, 1, 2)
    ]

    days = [url.partition("X-Amz-Date=")[2][:8] for url in urls]

    assert ["20240229", "20240229", "20240301"] == days
    assert 3 == len({url.rpartition("=")[2] for url in urls})


@pytest.fixture(scope="module")
def sessions() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def store(s3: S3) -> Iterator[S3BlobStore]:
    with closing(s3.store("signing")) as store:
        store.ensure_bucket(())
        yield store


def _now() -> int:
    return time.time_ns() // 1000


@pytest.mark.parametrize("key", [key for key in ODD_KEYS if "//" not in key and not key.startswith("/")])
def test_server_takes_it(store: S3BlobStore, sessions: requests.Session, key: str) -> None:
    """A body put by one URL comes back by the other, under just that key."""
    put = store.sign("PUT", "signing", key, now=_now(), seconds=60)
    get = store.sign("GET", "signing", key, now=_now(), seconds=60)

    put_status = sessions.put(put.url, data=key.encode()).status_code
    answer = sessions.get(get.url)

    assert (200, 200, key.encode()) == (put_status, answer.status_code, answer.content)
    assert store.head("signing", key) is not None


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("key", ("/signing/tampered", "/signing/other")),
        ("expires", ("X-Amz-Expires=60", "X-Amz-Expires=600")),
        ("signature", ("X-Amz-Signature=", "X-Amz-Signature=0")),
        ("unsigned query", ("?", "?response-content-type=text%2Fhtml&")),
    ],
)
def test_tampered_is_refused(
    store: S3BlobStore, sessions: requests.Session, what: str, changed: tuple[str, str]
) -> None:
    """A URL with anything changed gives nothing."""
    store.put("signing", "tampered", (b"x",), size=1, content_type="text/plain")
    store.put("signing", "other", (b"y",), size=1, content_type="text/plain")
    signed = store.sign("GET", "signing", "tampered", now=_now(), seconds=60)

    answer = sessions.get(signed.url.replace(*changed, 1))

    assert 403 == answer.status_code, what


def test_other_method_is_refused(store: S3BlobStore, sessions: requests.Session) -> None:
    """A GET URL writes nothing, a PUT URL reads nothing."""
    store.put("signing", "methods", (b"x",), size=1, content_type="text/plain")
    get = store.sign("GET", "signing", "methods", now=_now(), seconds=60)
    put = store.sign("PUT", "signing", "methods", now=_now(), seconds=60)

    statuses = (sessions.put(get.url, data=b"y").status_code, sessions.get(put.url).status_code)

    assert (403, 403) == statuses


def test_expired_is_refused(store: S3BlobStore, sessions: requests.Session) -> None:
    """After `expires` a URL gives nothing and takes nothing."""
    store.put("signing", "expired", (b"x",), size=1, content_type="text/plain")
    past = _now() - 120_000_000
    signed = [store.sign(method, "signing", "expired", now=past, seconds=60) for method in ("GET", "PUT")]

    statuses = (sessions.get(signed[0].url).status_code, sessions.put(signed[1].url, data=b"y").status_code)

    assert (403, 403) == statuses
    assert (past // 1_000_000 + 60) * 1_000_000 == signed[0].expires


def test_bound_content_type(store: S3BlobStore, sessions: requests.Session) -> None:
    """Where the type is bound another one is refused, and that one is kept with the object."""
    headers = {"Content-Type": "application/pdf"}
    signed = store.sign("PUT", "signing", "bound", now=_now(), seconds=60, headers=headers)

    refused = sessions.put(signed.url, data=b"x", headers={"Content-Type": "text/html"}).status_code
    absent = sessions.put(signed.url, data=b"x").status_code
    taken = sessions.put(signed.url, data=b"x", headers=dict(signed.headers)).status_code

    assert (403, 200) == (refused, taken)
    assert absent in (400, 403)
    assert "application/pdf" == getattr(store.head("signing", "bound"), "content_type", None)


def test_answered_headers(store: S3BlobStore, sessions: requests.Session) -> None:
    """Signed response-* queries set what S3 answers."""
    store.put("signing", "headers", (b"x",), size=1, content_type="text/plain")
    disposition = "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"
    query = {"response-content-disposition": disposition}

    answer = sessions.get(store.sign("GET", "signing", "headers", now=_now(), seconds=60, query=query).url)

    assert (200, disposition) == (answer.status_code, answer.headers["Content-Disposition"])


def test_public_endpoint(seaweedfs: S3) -> None:
    """URLs name the public endpoint, though the server itself reaches S3 elsewhere."""
    with closing(seaweedfs.store("signing", public_endpoint="https://files.example.org")) as store:
        signed = store.sign("GET", "signing", "key", now=_now(), seconds=60)

    assert signed.url.startswith("https://files.example.org/signing/key?")
