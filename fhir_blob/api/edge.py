"""What every request meets, whatever its route: errors, CORS, request ids, logs and metrics."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
import traceback

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fhir_blob.api.metrics import Metrics
from fhir_blob.api.responses import refusal
from fhir_blob.errors import BadRequest, FhirError, Internal, MethodNotAllowed, NotFound
from fhir_blob.settings import Settings

log = logging.getLogger("fhir_blob")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_EXPOSED = (
    "ETag, Location, Last-Modified, Content-Location, Preference-Applied, X-Request-Id, Content-Range,"
    " Accept-Ranges, Content-Disposition, Retry-After, WWW-Authenticate"
)


def install(app: Flask, settings: Settings, metrics: Metrics) -> None:
    """Hang the edge around every route of the application."""
    origins = frozenset(settings.cors_origins.split())

    @app.before_request
    def begin() -> Response | None:
        request.environ["fhir_blob.began"] = time.perf_counter()
        return _options(app) if request.method == "OPTIONS" else None

    @app.after_request
    def end(response: Response) -> Response:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
        response.headers["X-Request-Id"] = request_id
        _allow_origin(response, origins)
        _tell(response.status_code, request_id, metrics)
        return response

    app.register_error_handler(FhirError, refusal)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _options(app: Flask) -> Response:
    """A preflight, or the question what can be done here."""
    rule = request.url_rule
    allowed = sorted({*(rule.methods or ()), "OPTIONS"}) if rule else _METHODS.split(", ")
    return Response(status=204, headers={"Allow": ", ".join(allowed)})


def _allow_origin(response: Response, origins: frozenset[str]) -> None:
    """https://fetch.spec.whatwg.org/#http-cors-protocol"""
    origin = request.headers.get("Origin")
    if origin is None or not ("*" in origins or origin in origins):
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
    headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = _METHODS
        asked = request.headers.get("Access-Control-Request-Headers")
        headers["Access-Control-Allow-Headers"] = asked or "Authorization, Content-Type, Prefer, If-Match"
        headers["Access-Control-Max-Age"] = "86400"
    if "*" not in origins:
        headers.add("Vary", "Origin")


def _tell(status: int, request_id: str, metrics: Metrics) -> None:
    """One line, with no path, query or header in it: a file's name may be a patient's."""
    environ = request.environ
    seconds = time.perf_counter() - environ.get("fhir_blob.began", time.perf_counter())
    did = environ.get("fhir_blob.did", "none")
    metrics.observe(did, status, seconds)
    if log.isEnabledFor(logging.INFO):
        at = request.view_args or {}
        log.info(
            did,
            extra={
                "request": request_id,
                "method": request.method,
                "type": at.get("type", "")[:64],
                "status": status,
                "ms": round(seconds * 1000, 2),
            },
        )


def _http_error(error: HTTPException) -> Response:
    """What Flask itself refuses, as an OperationOutcome."""
    status = error.code or 500
    if status == 405:
        allowed = ", ".join(sorted(error.valid_methods or ()))  # type: ignore[attr-defined]
        return refusal(MethodNotAllowed(f"{request.method} is not done here.", headers={"Allow": allowed}))
    if status == 404:
        return refusal(NotFound("Nothing is at this URL: the FHIR base is /fhir."))
    if status < 500:
        return refusal(BadRequest(error.description or "The request is not understood."))
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    """A fault of ours. Its message may hold a patient's data, so only its kind and place are logged."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log.error("unexpected", extra={"error": type(error).__name__, "at": places})
    return refusal(Internal("The server failed to answer this request; its log says where."))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, what, and the fields that the call gave."""

    _own = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        given = {name: value for name, value in record.__dict__.items() if name not in self._own}
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        told = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "did": record.getMessage()}
        return json.dumps(told | given, default=str)
