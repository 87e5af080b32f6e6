"""The raw bytes of a Binary, as R4 answers them to an Accept that is not FHIR.

Source: https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from fhir_blob.blobs import Download
from fhir_blob.errors import NotAcceptable, NotFound, RangeNotSatisfiable
from fhir_blob.fhir import codec, media
from fhir_blob.interactions import Answer, Context, Stream, outgoing, read
from fhir_blob.store import Blob, Reader, Version

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client takes: `accepts(type)`, `fhir` where FHIR JSON will do as well.

    `range_of(size)` gives the first byte and the one after the last, None for everything; it raises
    ValueError where no byte of the range is there. `if_range` is what the client has a part of, by
    its ETag or its date: of something else it wants everything.
    """

    accepts: Callable[[str], bool]
    fhir: bool
    range_of: Callable[[int], tuple[int, int] | None]
    if_range: str | None = None
    head: bool = False


def content(context: Context, id: str, number: str | None, wanted: Wanted) -> Answer:
    """200 or 206 with the bytes, 302 to S3 with attachments=url; FHIR JSON while there are none."""
    with context.services.store.read(context.tenant) as reader:
        version = read.current(reader, "Binary", id) if number is None else read.numbered(reader, "Binary", id, number)
        blobs = outgoing.blobs_of(reader, (version,))
        is_same = wanted.if_range is None or _is_same(reader, version, wanted.if_range)
    resource = codec.parse(version.body)
    if not wanted.accepts(resource["contentType"]):
        if wanted.fhir:
            return read.read(context, "Binary", id) if number is None else read.vread(context, "Binary", id, number)
        raise NotAcceptable(f"Binary/{id} is {resource['contentType'][:80]!r}, which Accept does not take.")
    blob = next(iter(outgoing.settle(context, blobs).values()), None)
    if blob is None or blob.state != "available" or blob.size is None:
        if wanted.fhir:
            return read.read(context, "Binary", id)
        raise NotFound(f"Binary/{id} has no bytes: it is {blob.state if blob else 'empty'}.")
    context_of = resource.get("securityContext", {}).get("reference")
    answer = Answer(
        200,
        version=version,
        content_type=resource["contentType"],
        headers=_headers(version, resource["contentType"], blob)
        | ({"X-Security-Context": context_of} if context_of else {}),
    )
    if context.attachments == "url":
        return _redirect(context, answer, blob)
    return _bytes(context, answer, blob, wanted if is_same else replace(wanted, range_of=lambda size: None))


def _is_same(reader: Reader, version: Version, condition: str) -> bool:
    """Whether If-Range means these bytes: https://www.rfc-editor.org/rfc/rfc9110#name-if-range

    A date does only where no version before has the same second; a weak ETag never does.
    """
    if condition.startswith(('"', "W/")):
        return condition == _etag(version)
    try:
        second = parsedate_to_datetime(condition).timestamp()
    except (TypeError, ValueError, OverflowError):
        return False
    before = reader.version("Binary", version.id, version.version - 1)
    is_alone = before is None or before.last_updated // _SECOND < second
    return second == version.last_updated // _SECOND and is_alone


def _etag(version: Version) -> str:
    """A strong one: the bytes of a version stay as they are, unlike what its FHIR form says of them."""
    return f'"{version.version}"'


def _headers(version: Version, content_type: str, blob: Blob) -> dict[str, str]:
    disposition = media.disposition(content_type, blob.filename)
    return {"ETag": _etag(version), "Accept-Ranges": "bytes", "Content-Disposition": disposition}


def _redirect(context: Context, answer: Answer, blob: Blob) -> Answer:
    signed = context.services.lifecycle.signed_get(context.tenant, blob)
    return replace(answer, status=302, signed=True, headers={"Location": signed.url, "Content-Length": "0"})


def _bytes(context: Context, answer: Answer, blob: Blob, wanted: Wanted) -> Answer:
    size = blob.size or 0
    try:
        part = wanted.range_of(size)
    except ValueError as error:
        raise RangeNotSatisfiable(
            f"The Binary has {size} bytes, none of them in the range asked for.",
            headers={"Content-Range": f"bytes */{size}"},
        ) from error
    start, stop = part or (0, size)
    headers = dict(answer.headers) | {"Content-Length": str(stop - start)}
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        answer = replace(answer, status=206)
    if wanted.head or stop == start:
        return replace(answer, headers=headers)
    return replace(answer, headers=headers, body=_stream(context, blob, start, stop))


def _stream(context: Context, blob: Blob, start: int, stop: int) -> Stream:
    """The bytes, from an object that is opened before the answer begins: a 503 is still possible then."""
    gate = context.services.transfers
    gate.enter()
    try:
        download = context.services.lifecycle.open(context.tenant, blob, start=start, end=stop - 1)
    except BaseException:
        gate.leave()
        raise
    return Stream(download.chunks, stop - start, lambda: _close(download, gate.leave))


def _close(download: Download, leave: Callable[[], None]) -> None:
    try:
        download.close()
    finally:
        leave()
