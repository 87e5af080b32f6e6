"""Binary at the edge: raw bodies both ways, beside its FHIR form.

Source: https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from fhir_blob.api import compression, negotiation, requests, transfers
from fhir_blob.api.requests import Request
from fhir_blob.errors import BadParameter, NotParseable
from fhir_blob.fhir.media import essence
from fhir_blob.interactions import Answer, Context, binary, conditional, read
from fhir_blob.interactions.binary import Upload
from fhir_blob.interactions.content import Wanted, content
from fhir_blob.operations import binary as operations

Handler = Callable[[Request, Context, dict[str, str]], Answer]
Route = tuple[str, dict[str, tuple[str, Handler]]]

TYPE = "Binary"
_RANGE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=[ \t]*(?!-[ \t]*\Z)([0-9]{0,99})-([0-9]{0,99})[ \t]*")


def _create(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource, criteria = _resource(request, context), requests.create_criteria(request)
    if criteria is not None:
        return _conditional(request, context, resource, partial(conditional.create_binary, criteria=criteria))
    if isinstance(resource, Upload):
        return binary.create_raw(context, resource)
    if resource is not None:
        return binary.create(context, TYPE, resource)
    return _transferred(request, context, lambda upload: binary.create_raw(context, upload))


def _update(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource, match = _resource(request, context), requests.if_match(request)
    if isinstance(resource, Upload):
        return binary.update_raw(context, at["id"], resource, if_match=match)
    if resource is not None:
        return binary.update(context, TYPE, at["id"], resource, if_match=match)
    return _transferred(request, context, lambda upload: binary.update_raw(context, at["id"], upload, if_match=match))


def _update_where(request: Request, context: Context, at: dict[str, str]) -> Answer:
    update = partial(conditional.update_binary, criteria=request.query, if_match=requests.if_match(request))
    return _conditional(request, context, _resource(request, context), update)


def _conditional(request: Request, context: Context, resource: Any, do: Callable[..., Answer]) -> Answer:
    """What came as a Binary or as its bytes, which may stream in."""
    if resource is not None:
        return do(context, resource)
    return _transferred(request, context, lambda upload: do(context, upload))


def _read(request: Request, context: Context, at: dict[str, str]) -> Answer:
    wanted = _wanted(request)
    return read.read(context, TYPE, at["id"]) if wanted is None else content(context, at["id"], None, wanted)


def _vread(request: Request, context: Context, at: dict[str, str]) -> Answer:
    wanted, number = _wanted(request), at["version"]
    return read.vread(context, TYPE, at["id"], number) if wanted is None else content(context, at["id"], number, wanted)


def _complete(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return operations.complete(context, at["id"])


def _presigned_url(request: Request, context: Context, at: dict[str, str]) -> Answer:
    upload, expiration = request.parameter("upload", "false"), request.parameter("expiration")
    if upload not in ("true", "false"):
        raise BadParameter(f"upload takes true or false, not {upload[:60]!r}.")
    return operations.presigned_url(
        context, at["id"], upload=upload == "true", seconds=seconds_of(expiration) if expiration else None
    )


def seconds_of(text: str) -> int:
    """The parameter `expiration`."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadParameter(f"expiration takes a whole number of seconds, not {text[:60]!r}.")
    return int(text)


ROUTES: tuple[Route, ...] = (
    ("/Binary", {"POST": ("create", _create), "PUT": ("update", _update_where)}),
    ("/Binary/<id>", {"GET": ("read", _read), "PUT": ("update", _update)}),
    ("/Binary/<id>/_history/<version>", {"GET": ("vread", _vread)}),
    ("/Binary/<id>/$complete", {"POST": ("$complete", _complete)}),
    ("/Binary/<id>/$presigned-url", dict.fromkeys(("GET", "POST"), ("$presigned-url", _presigned_url))),
)


def _resource(request: Request, context: Context) -> Any:
    """A body that is itself a Binary resource; an Upload for other JSON or XML; None where it is raw bytes.

    JSON or XML that cannot be parsed is bytes too, unless it says that it is FHIR.
    """
    kind = request.content_type
    if not negotiation.is_json(kind) and not negotiation.is_xml(kind):
        return None
    says_fhir = essence(kind) in (negotiation.FHIR_JSON, negotiation.FHIR_XML)
    if (request.length or 0) > context.services.settings.max_json_bytes and not says_fhir:
        return None
    text = requests.body(request, context.services)
    try:
        parsed = requests.parsed(text, kind)
    except NotParseable:
        if says_fhir:
            raise
        parsed = None
    if isinstance(parsed, dict) and parsed.get("resourceType") == TYPE:
        requests.check_fhir(kind)
        return parsed
    return _upload(request, (text,), len(text))


def _transferred(request: Request, context: Context, take: Any) -> Answer:
    settings = context.services.settings
    size = requests.length_of(request, settings.max_raw_bytes)
    context.services.transfers.enter()
    body = transfers.chunks(request.environ["wsgi.input"], size, settings.stall_seconds)
    try:
        answer: Answer = take(_upload(request, body, size))
        return answer
    finally:
        context.services.transfers.leave()


def _upload(request: Request, chunks: Any, size: int) -> Upload:
    compression.refuse(request.header("CONTENT_ENCODING") or "")
    content_type = request.content_type.strip() or "application/octet-stream"
    return Upload(content_type, chunks, size, (request.header("X_SECURITY_CONTEXT") or "").strip())


def _wanted(request: Request) -> Wanted | None:
    """What of the bytes is wanted; None where the resource as FHIR is."""
    accept, format = request.accept, request.parameter("_format")
    if format:
        negotiation.fhir_type(accept, format)
        return None
    asked = dict(negotiation.ranges(accept))
    liked = [asked[each] for each in (negotiation.FHIR_JSON, negotiation.FHIR_XML) if each in asked]
    if liked and max(asked.values()) <= max(liked):
        return None
    return Wanted(
        lambda media_type: (
            negotiation.takes_bytes(accept, media_type) and not negotiation.is_fhir_wanted(accept, format, media_type)
        ),
        negotiation.takes_fhir(accept),
        lambda size: _range(request, size),
        (request.header("IF_RANGE") or "").strip() or None,
        request.method == "HEAD",
    )


def _range(request: Request, size: int) -> tuple[int, int] | None:
    """The one byte range asked for, as far as there are bytes: https://www.rfc-editor.org/rfc/rfc9110#name-range

    Several ranges, and what is none, are answered with everything; ValueError where no byte is in the range.
    """
    match = _RANGE.fullmatch(request.header("RANGE") or "")
    if match is None:
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        raise ValueError("no byte in range")
    return start, stop
