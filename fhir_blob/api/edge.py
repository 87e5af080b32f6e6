"""What every request meets, whatever its route: proxies, limits, errors, CORS, request ids, logs and metrics.

It stands around the whole application as WSGI middleware: what Flask refuses by itself passes it too.
"""

from __future__ import annotations

import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from fhir_blob.api import limits
from fhir_blob.api.logs import Log
from fhir_blob.api.metrics import Metrics
from fhir_blob.api.proxies import Proxies
from fhir_blob.api.requests import Request
from fhir_blob.api.responses import Ready, refusal
from fhir_blob.errors import BadRequest, FhirError, Internal, MethodNotAllowed, NotFound
from fhir_blob.settings import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED = (
    "ETag, Location, Last-Modified, Content-Location, Preference-Applied, X-Request-Id, Content-Range,"
    " Accept-Ranges, Content-Disposition, Retry-After, WWW-Authenticate"
)
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]


class Edge:
    """The application with its edge around it."""

    def __init__(self, inner: Wsgi, settings: Settings, metrics: Metrics, log: Log) -> None:
        self._inner, self._metrics, self._log = inner, metrics, log
        self._origins = frozenset(settings.cors_origins.split())
        self._proxies, self._compresses = Proxies(settings.trusted_proxies), settings.compression

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began, status = time.perf_counter(), "500"
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)

        def start(line: str, headers: Headers, *failure: Any) -> Any:
            nonlocal status
            status = line[:3]
            headers.append(("X-Request-Id", request_id))
            if "HTTP_ORIGIN" in environ:
                self._allow(environ, headers)
            return start_response(line, headers, *failure)

        body = self._options(environ, start) if environ["REQUEST_METHOD"] == "OPTIONS" else self._let_in(environ, start)
        self._tell(environ, request_id, status, time.perf_counter() - began)
        return body

    def _let_in(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/fhir//"):  # of a client that joins a base and a path with a slash each
            environ["PATH_INFO"] = "/fhir/" + environ["PATH_INFO"][6:].lstrip("/")
        if not self._compresses:
            environ.pop("HTTP_ACCEPT_ENCODING", None)
        try:
            limits.check_head(environ)
            self._proxies.follow(environ)
        except FhirError as error:
            refused: Iterable[bytes] = refusal(error, _asked(environ))(environ, start)
            return refused
        return self._inner(environ, start)

    def _options(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """A preflight, or the question what can be done here."""
        start("204 No Content", [("Allow", _METHODS)])
        return ()

    def _allow(self, environ: dict[str, Any], headers: Headers) -> None:
        """https://fetch.spec.whatwg.org/#http-cors-protocol"""
        origin, everybody = environ["HTTP_ORIGIN"], "*" in self._origins
        if not everybody:
            headers.append(("Vary", "Origin"))
        if not (everybody or origin in self._origins):
            return
        headers.append(("Access-Control-Allow-Origin", "*" if everybody else origin))
        headers.append(("Access-Control-Expose-Headers", _EXPOSED))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "Authorization, Content-Type, Prefer, If-Match")
            headers.append(("Access-Control-Allow-Methods", _METHODS))
            headers.append(("Access-Control-Allow-Headers", asked))
            headers.append(("Access-Control-Max-Age", "86400"))

    def _tell(self, environ: dict[str, Any], request_id: str, status: str, seconds: float) -> None:
        """One line, with no path, query or header in it: a file's name may be a patient's."""
        did = environ.get("fhir_blob.did", "none")
        self._metrics.observe(did, status, seconds)
        self._log.info(
            did,
            request=request_id,
            method=environ["REQUEST_METHOD"],
            type=environ.get("fhir_blob.type"),
            status=int(status),
            ms=round(seconds * 1000, 2),
        )


def install(app: Flask, settings: Settings, metrics: Metrics, log: Log) -> None:
    """Put the edge around the application, and make OperationOutcomes of its errors."""
    app.wsgi_app = Edge(app.wsgi_app, settings, metrics, log)  # type: ignore[method-assign]
    app.register_error_handler(FhirError, lambda error: refusal(error, _asked(request.environ)))
    app.register_error_handler(HTTPException, lambda error: _http_error(error, log))
    app.register_error_handler(Exception, lambda error: _unexpected(error, log))


def _asked(environ: dict[str, Any]) -> Request | None:
    """None where the query itself is what is refused."""
    try:
        return Request(environ)
    except FhirError:
        return None


def _http_error(error: HTTPException, log: Log) -> Ready:
    """What Flask itself refuses, as an OperationOutcome."""
    status = error.code or 500
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return refusal(MethodNotAllowed("That method is not done here.", headers={"Allow": allowed}))
    if status == 404:
        return refusal(NotFound("Nothing is at this URL: the FHIR base is /fhir."))
    if status < 500:
        return refusal(BadRequest(error.description or "The request is not understood."))
    return _unexpected(error, log)


def _unexpected(error: Exception, log: Log) -> Ready:
    """A fault of ours. Its message may hold a patient's data, so only its kind and place are logged."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log.error("unexpected", error=type(error).__name__, at=places)
    return refusal(Internal("The server failed to answer this request; its log says where."))
