"""Requests that make no sense: never a 500, never a hang, always an OperationOutcome."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.services.server import Server

SECONDS = 20
TYPES = st.sampled_from(["Patient", "Binary", "DocumentReference", "Observation", "Bundle", "Questionnaire"])
FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["2023-02-30", "#x", "Binary/1", "urn:uuid:x", "1e999", "a" * 5000, "\x00", "<div/>"])
)
NAMES = st.text(max_size=8) | st.sampled_from(
    [
        "id",
        "meta",
        "extension",
        "contained",
        "photo",
        "content",
        "attachment",
        "url",
        "data",
        "_data",
        "valueAttachment",
    ]
    + ["resourceType", "text", "div", "identifier", "subject", "reference", "item", "entry", "resource", "versionId"]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["If-Match", "If-None-Match", "If-Modified-Since", "Range", "Accept", "Prefer", "Content-Type", "X-Request-Id"]
        + ["X-Security-Context", "Authorization", "Origin", "X-HTTP-Method-Override", "If-Range"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
    | st.sampled_from(
        ["*", 'W/"', "bytes=-", "bytes=9-1", "bytes=0-0,-1", "a/b;q=x", "return=", "application/fhir+json"]
    ),
    max_size=4,
)
PATHS = st.lists(
    st.sampled_from(
        ["Patient", "Binary", "_history", "_search", "metadata", "$complete", "1", "..", "%00", "a b", "%2e%2e"]
    )
    | st.text(max_size=6),
    max_size=5,
).map("/".join)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["_id", "_lastUpdated", "_sort", "_count", "_total", "_cursor", "_since", "_at", "_summary", "_elements"]
            + ["patient", "date", "identifier", "location", "subject:identifier", "date:missing", "type:not", "_tag"]
            + ["type:text", "contenttype:above", "_profile", "relatesto", "relationship", "_format", "_attachments", ""]
        )
        | st.text(max_size=10),
        st.text(max_size=12)
        | st.sampled_from(
            ["ge", "2020-13", "gt1e999", "|", "a|b|c", "\\", "$", ",,,", "-", "--date", "0", "9" * 40, "ap-1"]
        ),
    ),
    max_size=4,
)


def fine(answer: requests.Response) -> bool:
    """Not a fault, and where it is a refusal one that says why."""
    if answer.status_code < 400 or answer.request.method == "HEAD":
        return answer.status_code < 500
    return (
        answer.status_code < 500
        and answer.json()["resourceType"] == "OperationOutcome"
        and answer.json()["issue"] != []
    )


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return requests.Session()


@given(TYPES, VALUES, st.sampled_from(["POST", "PUT"]))
@FUZZ
def test_bodies(server: Server, session: requests.Session, type: str, value: Any, method: str) -> None:
    """Any JSON value, alone and as the elements of a resource."""
    named = {"resourceType": type, "id": "fuzz"}
    body = json.dumps({**value, **named} if isinstance(value, dict) else value).encode()
    path = f"{type}/fuzz" if method == "PUT" else type
    headers = {"Content-Type": "application/fhir+json"}

    assert fine(session.request(method, f"{server.base}/{path}", data=body, headers=headers, timeout=SECONDS))


@given(TYPES, st.binary(max_size=60), st.sampled_from(["application/json", "application/fhir+json", "text/x", ";"]))
@FUZZ
def test_bytes(server: Server, session: requests.Session, type: str, body: bytes, content_type: str) -> None:
    """Any bytes under any type."""
    headers = {"Content-Type": content_type}

    assert fine(session.post(f"{server.base}/{type}", data=body, headers=headers, timeout=SECONDS))


@given(st.sampled_from(["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"]), PATHS, HEADERS)
@FUZZ
def test_paths_and_headers(
    server: Server, session: requests.Session, method: str, path: str, headers: dict[str, str]
) -> None:
    """Any method on any path with any headers."""
    assert fine(session.request(method, f"{server.base}/{path}", headers=headers, timeout=SECONDS))


@given(TYPES, PARAMETERS, st.booleans(), st.sampled_from(["", "/_history", "/_search"]))
@FUZZ
def test_queries(
    server: Server, session: requests.Session, type: str, pairs: list[tuple[str, str]], strict: bool, path: str
) -> None:
    """Any query, in the URL and in a form."""
    headers = {"Prefer": "handling=strict"} if strict else {}
    url = f"{server.base}/{type}{path}"
    if path == "/_search":
        assert fine(session.post(url, data=pairs, headers=headers, timeout=SECONDS))
    else:
        assert fine(session.get(url, params=pairs, headers=headers, timeout=SECONDS))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 100_000 + b"}",
        b'{"resourceType":"Observation","valueQuantity":{"value":1e' + b"9" * 5000 + b"}}",
        b'{"resourceType":"Patient","id":"' + b"a" * 1_000_000 + b'"}',
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","active":NaN}',
        b"\xff\xfe",
        b"",
    ],
    ids=["lists", "objects", "integer", "exponent", "id", "twice", "nan", "utf-16", "empty"],
)
def test_bodies_that_mean_harm(server: Server, body: bytes) -> None:
    """A 4xx at once."""
    refused = requests.post(
        f"{server.base}/Patient", data=body, headers={"Content-Type": "application/fhir+json"}, timeout=SECONDS
    )

    assert fine(refused) and refused.status_code >= 400


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999", "1e3"])
def test_lengths_that_are_none(server: Server, length: str) -> None:
    """Whoever lies about the length is refused."""
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        head = f"POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}"
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert connection.recv(12)[9:10] == b"4"
