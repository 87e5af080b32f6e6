"""What an HTTP request asks: its Context, its preconditions, its body.

Headers and query are read from the WSGI environ: Flask's own views of them cost more than a read of
the resource does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fhir_blob.access import Principal
from fhir_blob.api import compression, negotiation, proxies, transfers
from fhir_blob.errors import (
    BadParameter,
    BadRequest,
    LengthRequired,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
)
from fhir_blob.fhir import codec, xml
from fhir_blob.fhir.media import essence
from fhir_blob.fhir.patch import Patch, check_type
from fhir_blob.fhir.subset import SUMMARIES
from fhir_blob.interactions import Context, Services
from fhir_blob.interactions.update import ABSENT
from fhir_blob.search.grammar.parser import RESULT_PARAMETERS

MODES = ("default", "extension", "url", "inline", "reference", "upload")
_RETURNS = ("minimal", "representation", "OperationOutcome")


class Request:
    """An HTTP request, read from its WSGI environ as it is needed."""

    __slots__ = ("environ", "method", "query")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        text = environ.get("QUERY_STRING")
        self.query: list[tuple[str, str]] = _form(text.encode("latin-1")) if text else []

    def header(self, name: str) -> str | None:
        """A header by its name in the environ: 'IF_MATCH'."""
        found: str | None = self.environ.get(f"HTTP_{name}")
        return found

    def parameter(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next((value for given, value in self.query if given == name), default) if self.query else default

    @property
    def accept(self) -> str:
        return str(self.environ.get("HTTP_ACCEPT", ""))

    @property
    def content_type(self) -> str:
        return str(self.environ.get("CONTENT_TYPE") or "")

    @property
    def length(self) -> int | None:
        """Content-Length; None where there is none, or it is no number."""
        text = self.environ.get("CONTENT_LENGTH") or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


@dataclass(frozen=True, slots=True)
class Preferences:
    """The Prefer header (RFC 7240) and what the query says in its place; `applied` is answered."""

    returned: str = "representation"
    strict: bool = False
    attachments: str = ""
    bind_content_type: bool = False
    applied: str = ""


@lru_cache(1024)
def preferences(prefer: str, attachments: str) -> Preferences:
    """Preferences that are unknown are passed over, as RFC 7240 wants; a strange mode is a BadParameter."""
    given = dict(_pairs(prefer))
    mode = attachments or given.get("attachments", "")
    if mode and mode not in MODES:
        raise BadParameter(f"attachments takes one of {', '.join(MODES)}, not {mode[:60]!r}.")
    returned = given.get("return", "representation")
    applied = [f"{name}={value}" for name, value in given.items() if name in ("return", "handling", "attachments")]
    return Preferences(
        returned if returned in _RETURNS else "representation",
        given.get("handling") == "strict",
        mode,
        given.get("bind") == "content-type",
        ", ".join(applied),
    )


def _pairs(prefer: str) -> list[tuple[str, str]]:
    parts = (part.partition("=") for part in prefer.replace(";", ",").split(","))
    return [(name.strip().lower(), value.strip().strip('"')) for name, _, value in parts if name.strip()]


def context_of(request: Request, services: Services, principal: Principal, preferred: Preferences) -> Context:
    """The Context of the request: who asks, of which base, in which form."""
    settings = services.settings
    mode = preferred.attachments or settings.attachments
    summary, elements = _view(request) if request.query else ("false", ())
    return Context(
        services,
        principal,
        base_url(request, services),
        attachments="default" if mode == "upload" else mode,
        offer_uploads=mode == "upload" or settings.offer_uploads,
        bind_content_type=preferred.bind_content_type or settings.bind_content_type,
        strict=preferred.strict,
        summary=summary,
        elements=elements,
    )


def base_url(request: Request, services: Services) -> str:
    """The FHIR base: the fixed one of the settings, else as the client named this server, or its proxy says."""
    root = services.settings.public_url.rstrip("/")
    if root:
        return f"{root}/fhir"
    environ = request.environ
    host = proxies.check_host(proxies.host_of(environ))
    return f"{environ['wsgi.url_scheme']}://{host}{environ.get('SCRIPT_NAME', '').rstrip('/')}/fhir"


def _view(request: Request) -> tuple[str, tuple[str, ...]]:
    summary = request.parameter("_summary") or "false"
    if summary not in SUMMARIES:
        raise BadParameter(f"_summary takes one of {', '.join(SUMMARIES)}, not {summary[:60]!r}.")
    elements = [each for name, value in request.query if name == "_elements" for each in value.split(",")]
    return summary, tuple(name.strip() for name in elements if name.strip())


def if_match(request: Request) -> int | None:
    """The version of an If-Match header; PreconditionFailed for one that no version has.

    ABSENT for an update with If-None-Match: *, which is to replace nothing.
    """
    given, only_new = request.header("IF_MATCH"), (request.header("IF_NONE_MATCH") or "").strip() == "*"
    if given is None:
        return ABSENT if only_new and request.method == "PUT" else None
    number = given.strip().removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 19 and int(number)):
        raise PreconditionFailed(f"If-Match is {given[:80]!r}, which is the ETag of no version.")
    return int(number)


def create_criteria(request: Request) -> list[tuple[str, str]] | None:
    """The criteria of a conditional create, None for any other.

    They stand in If-None-Exist, or in the query, as Aidbox has it and fhirpy's get_or_create sends it: ignored
    there, each call would make one more resource.
    """
    given = _if_none_exist(request)
    query = [pair for pair in request.query if pair[0] not in RESULT_PARAMETERS]
    if query and given is not None:
        raise BadRequest(
            f"Both If-None-Exist and the query, with {query[0][0][:80]!r}, say what must not exist: say it once."
        )
    return query or given


def _if_none_exist(request: Request) -> list[tuple[str, str]] | None:
    """With or without `[base]/Type?` before them; None without the header."""
    given = request.header("IF_NONE_EXIST")
    if given is None:
        return None
    before, mark, after = given.strip().partition("?")
    return _form((after if mark and "=" not in before else before + mark + after).encode("latin-1"))


def patch(request: Request, services: Services) -> Patch:
    """The body of a PATCH, whose Content-Type says which kind of patch it is."""
    media_type = essence(request.content_type)
    if media_type == negotiation.FHIR_XML:
        document, media_type = fhir_body(request, services), negotiation.FHIR_JSON
        return Patch(media_type, document, services.settings.max_json_bytes)
    check_type(media_type)
    check_charset(request.content_type)
    document = codec.parse(body(request, services))
    return Patch(media_type, document, services.settings.max_json_bytes)


def fhir_body(request: Request, services: Services) -> Any:
    """The parsed body of a request that has to be FHIR, as JSON has it."""
    check_fhir(request.content_type)
    return parsed(body(request, services), request.content_type)


def parsed(text: bytes, content_type: str) -> Any:
    """JSON or XML, whatever the Content-Type says."""
    return xml.parse(text) if negotiation.is_xml(content_type) else codec.parse(text)


def check_fhir(content_type: str) -> None:
    """UnsupportedMediaType unless it is JSON or XML, in UTF-8 where it says so."""
    if not negotiation.is_json(content_type) and not negotiation.is_xml(content_type):
        raise UnsupportedMediaType(
            f"Content-Type is {content_type[:80]!r}: this takes application/fhir+json or application/fhir+xml.",
            headers={"Accept": "application/fhir+json, application/fhir+xml"},
        )
    check_charset(content_type)


def check_charset(content_type: str) -> None:
    """UnsupportedMediaType where it says that it is something else than UTF-8."""
    charset = _charset(content_type)
    if charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType(f"The charset is {charset[:40]!r}: FHIR is written in UTF-8.")


def _charset(content_type: str) -> str:
    parts = (part.partition("=") for part in content_type.split(";")[1:])
    return next((value.strip().strip('"').lower() for name, _, value in parts if name.strip().lower() == "charset"), "")


def length_of(request: Request, limit: int) -> int:
    """Content-Length. LengthRequired without one, TooLarge above the limit."""
    length = request.length
    if length is None:
        raise LengthRequired("The request has a body of unknown length: send Content-Length.")
    if length > limit:
        raise TooLarge(f"The body has {length} bytes; at most {limit} are taken here.")
    return length


def body(request: Request, services: Services) -> bytes:
    """The whole body in memory, decompressed, at most `max_json_bytes` of it."""
    settings = services.settings
    length = length_of(request, settings.max_json_bytes)
    chunks = transfers.chunks(request.environ["wsgi.input"], length, settings.stall_seconds)
    return compression.decoded(request.header("CONTENT_ENCODING") or "", chunks, settings.max_json_bytes)


def take_form(request: Request, services: Services) -> None:
    """What a form body says is as good as said in the query: https://hl7.org/fhir/R4/http.html#search"""
    if request.length == 0 or not (request.length or request.content_type):
        return
    if request.content_type and essence(request.content_type) != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType(
            f"Content-Type is {request.content_type[:80]!r}: this takes a form.",
            headers={"Accept": "application/x-www-form-urlencoded"},
        )
    request.query = [*request.query, *_form(body(request, services))]


def _form(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise BadParameter("The query is not UTF-8, or has more than 1000 parameters.") from error
