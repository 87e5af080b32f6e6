"""Answers as Flask responses, and errors as OperationOutcomes."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import orjson
from flask import Request, Response

from fhir_blob.api import negotiation
from fhir_blob.api.requests import Preferences
from fhir_blob.errors import FhirError, Issue
from fhir_blob.fhir import codec
from fhir_blob.interactions import Answer, Context, Stream

_WRITES = {"POST", "PUT", "PATCH"}
_TRUE = {"true", "1"}


def respond(request: Request, context: Context, preferred: Preferences, answer: Answer) -> Response:
    """The answer in the form that the request asked for."""
    headers = {"Vary": "Accept, Prefer", "X-Content-Type-Options": "nosniff", **answer.headers}
    if answer.version is not None:
        headers["ETag"] = f'W/"{answer.version.version}"'
        headers["Last-Modified"] = http_date(answer.version.last_updated)
        if answer.status == 201:
            version = answer.version
            headers["Location"] = f"{context.base}/{version.type}/{version.id}/_history/{version.version}"
    if preferred.applied:
        headers["Preference-Applied"] = preferred.applied
    if request.method in ("GET", "HEAD") and answer.status == 200 and _is_fresh(request, answer):
        return _bodiless(Response(status=304, headers=headers))
    if isinstance(answer.body, Stream):
        return _streamed(answer, answer.body, headers)
    response = Response(_body(request, preferred, answer), answer.status, headers, content_type=_type(request, answer))
    if not response.data and request.method != "HEAD":
        _bodiless(response)
    if "Content-Length" in headers:
        response.headers["Content-Length"] = headers["Content-Length"]  # of the bytes that HEAD leaves out
    return response


def _bodiless(response: Response) -> Response:
    response.headers.pop("Content-Type", None)
    return response


def http_date(microseconds: int) -> str:
    """An HTTP date: https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats"""
    return format_datetime(datetime.fromtimestamp(microseconds // 1_000_000, UTC), usegmt=True)


def _is_fresh(request: Request, answer: Answer) -> bool:
    """Whether the client's copy is still good: never where the answer holds presigned URLs."""
    if answer.signed or answer.version is None:
        return False
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or f'"{answer.version.version}"' in known
    since = request.headers.get("If-Modified-Since")
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

    def __iter__(self) -> _Streamed:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()

    __del__ = close


def _streamed(answer: Answer, stream: Stream, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(stream.length)
    return Response(
        _Streamed(stream), answer.status, headers, content_type=answer.content_type, direct_passthrough=True
    )


def _body(request: Request, preferred: Preferences, answer: Answer) -> bytes:
    body = answer.body
    assert isinstance(body, bytes)
    if request.method in _WRITES and answer.version is not None and preferred.returned != "representation":
        return b"" if preferred.returned == "minimal" else _done(answer)
    if body and request.args.get("_pretty", "") in _TRUE and answer.content_type == negotiation.FHIR_JSON:
        return codec.dump(codec.parse(body), pretty=True)
    return body


def _done(answer: Answer) -> bytes:
    assert answer.version is not None
    version = answer.version
    done = f"{version.type}/{version.id} is stored as version {version.version}."
    return outcome((Issue("information", "informational", done),))


def _type(request: Request, answer: Answer) -> str | None:
    if not answer.body:
        return answer.content_type if request.method == "HEAD" else None
    if answer.content_type != negotiation.FHIR_JSON:
        return answer.content_type
    chosen = negotiation.fhir_type(_accept_of(request, answer), request.args.get("_format", ""))
    return f"{chosen}; charset=utf-8"


def _accept_of(request: Request, answer: Answer) -> str:
    """A pending Binary is FHIR JSON, whatever else was asked for; its negotiation is done already."""
    accept = request.headers.get("Accept", "")
    is_binary = answer.version is not None and answer.version.type == "Binary"
    return "" if is_binary and not negotiation.takes_fhir(accept) else accept


def outcome(issues: tuple[Issue, ...]) -> bytes:
    """An OperationOutcome: https://hl7.org/fhir/R4/operationoutcome.html"""
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]})


def _issue(issue: Issue) -> dict[str, object]:
    told: dict[str, object] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.diagnostics,
    }
    if issue.expression:
        told["expression"] = [issue.expression]
    return told


def refusal(error: FhirError) -> Response:
    """The error as its status and OperationOutcome."""
    headers = {"X-Content-Type-Options": "nosniff", "Vary": "Accept, Prefer", **error.headers}
    return Response(
        outcome(error.issues), error.status, headers, content_type=f"{negotiation.FHIR_JSON}; charset=utf-8"
    )
