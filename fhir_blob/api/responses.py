"""Answers as Flask responses, and errors as OperationOutcomes."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Response

from fhir_blob.api import compression, negotiation
from fhir_blob.api.requests import Preferences, Request
from fhir_blob.errors import FhirError, Issue
from fhir_blob.fhir import codec, xml
from fhir_blob.fhir.outcome import outcome
from fhir_blob.interactions import Answer, Context, Stream

_WRITES = {"POST", "PUT", "PATCH"}
# HAPI's client takes the id of what it has changed from Content-Location, and of nothing else.
_CHANGES = {"PUT", "PATCH"}
_TRUE = {"true", "1"}
_UTF_8 = "; charset=utf-8"
# In a header a name that a client made up could be anything.
_STRANGE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 100
_PLAIN = (("X-Content-Type-Options", "nosniff"), ("Vary", "Accept, Prefer, Accept-Encoding"))
Headers = list[tuple[str, str]]


class Ready(Response):
    """A Flask response that is its status, its headers and its bytes, and is sent as it stands.

    Only FHIR and JSON come as bytes here; a Binary's own are streamed, and never compressed.
    """

    def __init__(self, status: int, headers: Headers, body: bytes | _Streamed = b"") -> None:
        self.line, self.sent, self.content = _LINES[status], headers, body

    def __call__(self, environ: Any, start_response: Any) -> Any:
        content = self.content
        if isinstance(content, _Streamed):
            start_response(self.line, self.sent)
            return content
        if len(content) >= compression.LEAST and compression.takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            content = self._compressed(content)
        start_response(self.line, self.sent)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (content,)

    def _compressed(self, content: bytes) -> bytes:
        """A FHIR answer's ETag is weak, so that it holds for both forms."""
        content = compression.compressed(content)
        self.sent = [pair for pair in self.sent if pair[0] != "Content-Length"]
        self.sent += [("Content-Encoding", "gzip"), ("Content-Length", str(len(content)))]
        return content


_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def respond(request: Request, context: Context, preferred: Preferences, answer: Answer) -> Ready:
    """The answer in the form that the request asked for."""
    headers: Headers = [*_PLAIN, *answer.headers.items()]
    version = answer.version
    if version is not None:
        if "ETag" not in answer.headers:
            headers.append(("ETag", f'W/"{version.version}"'))
        headers.append(("Last-Modified", http_date(version.last_updated // 1_000_000)))
        if answer.status == 201 or request.method in _CHANGES:
            url = f"{context.base}/{version.type}/{version.id}/_history/{version.version}"
            headers.append(("Location" if answer.status == 201 else "Content-Location", url))
    if preferred.applied:
        headers.append(("Preference-Applied", preferred.applied))
    if answer.status == 200 and request.method in ("GET", "HEAD") and is_fresh(request, answer):
        return Ready(304, headers)
    if isinstance(answer.body, Stream):
        headers.append(("Content-Type", answer.content_type))
        return Ready(answer.status, headers, _Streamed(answer.body))
    body, type = _body(request, preferred, answer), _type(request, answer)
    if body and answer.content_type == negotiation.FHIR_JSON:
        body = _formed(request, body, type, headers)
    if body or request.method == "HEAD":
        headers.append(("Content-Type", type))
    if "Content-Length" not in answer.headers and answer.status != 204:
        headers.append(("Content-Length", str(len(body))))
    return Ready(answer.status, headers, body)


@lru_cache(4096)
def http_date(seconds: int) -> str:
    """An HTTP date: https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats"""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def is_fresh(request: Request, answer: Answer) -> bool:
    """Whether the client's copy is still good: never where the answer holds presigned URLs."""
    if answer.signed or answer.version is None:
        return False
    tags = request.header("IF_NONE_MATCH")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or f'"{answer.version.version}"' in known
    since = request.header("IF_MODIFIED_SINCE")
    return since is not None and answer.version.last_updated // 1_000_000 <= _seconds(since)


def _seconds(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return -1.0


class _Streamed:
    """The bytes of a Stream, which is closed at their end, or when nobody wants them any more.

    Not every WSGI server calls `close` on an iterable that it gives up, so letting it go does too.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream, self._chunks, self._closed = stream, stream.chunks(), False
        self._left = stream.length

    def __iter__(self) -> _Streamed:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except BaseException:
            self.close()
            raise
        self._left -= len(chunk)
        if self._left <= 0:
            self.close()  # whoever gets the last byte may begin the next transfer at once
        return chunk

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()

    __del__ = close


def _body(request: Request, preferred: Preferences, answer: Answer) -> bytes:
    body = answer.body
    assert isinstance(body, bytes)
    if request.method in _WRITES and answer.version is not None and preferred.returned != "representation":
        return b"" if preferred.returned == "minimal" else _done(answer)
    return body


def _formed(request: Request, body: bytes, type: str, headers: Headers) -> bytes:
    """FHIR JSON as the client wants to see it: with line breaks, or as XML. A header tells what XML cannot hold."""
    pretty = _is_pretty(request)
    if not negotiation.is_xml(type):
        return codec.dump(codec.reparse(body), pretty=True) if pretty else body
    written = xml.write(codec.reparse(body), pretty=pretty)
    if written.left_out:
        names = ", ".join(_STRANGE.sub("?", each)[:_LONGEST_NAME] for each in written.left_out)
        headers.append(("Warning", f'199 - "Left out, having no form in XML: {names}"'))
    return written.text


def _is_pretty(request: Request) -> bool:
    return bool(request.query) and request.parameter("_pretty") in _TRUE


def _done(answer: Answer) -> bytes:
    assert answer.version is not None
    version = answer.version
    done = f"{version.type}/{version.id} is stored as version {version.version}."
    return outcome((Issue("information", "informational", done), *answer.warnings))


def _type(request: Request, answer: Answer) -> str:
    if answer.content_type != negotiation.FHIR_JSON:
        return answer.content_type
    return negotiation.fhir_type(_accept_of(request, answer), request.parameter("_format")) + _UTF_8


def _accept_of(request: Request, answer: Answer) -> str:
    """A pending Binary is FHIR JSON, whatever else was asked for; its negotiation is done already."""
    is_binary = answer.version is not None and answer.version.type == "Binary"
    return "" if is_binary and not negotiation.takes_fhir(request.accept) else request.accept


def refusal(error: FhirError, request: Request | None = None) -> Ready:
    """The error as its status and OperationOutcome, in the form that the request asks for if that can be had."""
    body, type = outcome(error.issues), negotiation.FHIR_JSON
    if request is not None:
        with suppress(FhirError):
            type = negotiation.fhir_type(request.accept, request.parameter("_format"))
        body = _formed(request, body, type, [])
    told = [("Content-Type", type + _UTF_8), ("Content-Length", str(len(body)))]
    return Ready(error.status, [*_PLAIN, *error.headers.items(), *told], body)
