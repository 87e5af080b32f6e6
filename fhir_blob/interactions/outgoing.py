"""Answers from stored bytes: Attachments and Binaries get their presigned URLs, data and sizes.

Source of the modes: the client's `Prefer: attachments=...`; of summaries:
https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_blob.errors import Conflict, Unavailable
from fhir_blob.fhir import attachments, codec, subset
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Context, instant
from fhir_blob.store import Blob, Reader, Version

Blobs = Mapping[tuple[str, int | None], Blob]

# How many uploads one answer looks for in S3 before it leaves the rest for the next read.
_SETTLED_AT_ONCE = 10


def bodies(context: Context, versions: Sequence[Version], blobs: Blobs) -> list[bytes]:
    """Each version's JSON as this request is to see it; `blobs` come from `blobs_of`."""
    return [_viewed(context, _answered(context, version, blobs)) for version in versions]


def blobs_of(reader: Reader, versions: Iterable[Version]) -> Blobs:
    """The blobs behind every slot of the versions, by Binary id and version."""
    wanted = {
        (slot.link.binary_id, slot.link.version)
        for version in versions
        if version.slots
        for slot in attachments.decode(version.slots)
    }
    return reader.blobs(tuple(wanted)) if wanted else {}


def is_signed(context: Context, versions: Iterable[Version]) -> bool:
    """Whether an answer with these holds presigned URLs or upload states, which change with time."""
    return any(version.slots for version in versions)


def settle(context: Context, blobs: Blobs) -> Blobs:
    """Complete the uploads among them that have arrived."""
    pending = [key for key, blob in blobs.items() if blob.state == "pending" and blob.pending_key]
    if not pending:
        return blobs
    return {**blobs, **{key: _settled(context, blobs[key]) for key in pending[:_SETTLED_AT_ONCE]}}


def _settled(context: Context, blob: Blob) -> Blob:
    limit = context.services.settings.complete_at_once
    try:
        return context.services.lifecycle.complete(context.tenant, blob.id, at_once_limit=limit)
    except (Conflict, Unavailable):  # replaced just now, or S3 is away: the next read will see
        return blob


def _answered(context: Context, version: Version, blobs: Blobs) -> bytes:
    if not version.slots:
        return version.body
    slots = attachments.decode(version.slots)
    if version.type == "Binary":
        return _binary(context, version.body, slots[0].link, blobs)
    return attachments.splice(
        version.body, slots, lambda link, attachment: _attachment(context, link, attachment, blobs)
    )


def _binary(context: Context, body: bytes, link: Link, blobs: Blobs) -> bytes:
    """Binary has no extension at its root, so they stand beside `data`: R4, binary-profiles.html."""
    blob = blobs.get((link.binary_id, link.version))
    resource = codec.parse(body)
    if blob is None:
        return body
    if _inlined(context, link, blob):
        resource["data"] = _data(context, blob)
        return codec.dump(resource)
    offered = blobs.get((link.binary_id, _OFFERED))
    extensions = _extensions(context, blob)
    if offered is not None and offered.state == "pending" and context.attachments != "reference":
        put = (each for each in _put_extensions(context, offered) if each["url"] != attachments.EXPIRES)
        extensions = [*put, *extensions]
    if extensions:
        element = resource.setdefault("_data", {})
        element["extension"] = [*element.get("extension", ()), *extensions]
    if context.services.settings.plain_url_properties:
        resource.update(_plain(extensions))
    return codec.dump(resource)


# The key under which a Binary's upload for a next version is handed over.
_OFFERED = 0


def with_offer(blobs: Blobs, binary_id: str, offered: Blob | None) -> Blobs:
    """The blobs and, beside them, the upload that is offered for the Binary's next version."""
    return blobs if offered is None else {**blobs, (binary_id, _OFFERED): offered}


def _plain(extensions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = {attachments.PUT_URL: "presignedPutUrl", attachments.GET_URL: "presignedGetUrl"}
    return {names[each["url"]]: each["valueUrl"] for each in extensions if each["url"] in names}


def _attachment(context: Context, link: Link, attachment: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    blob = blobs.get((link.binary_id, link.version))
    if blob is None:
        return attachment
    if _inlined(context, link, blob):
        if attachment.get("url") == binary_url(blob):
            del attachment["url"]
        attachment.setdefault("contentType", blob.content_type)  # data needs one (att-1)
        return {**attachment, "data": _data(context, blob)}
    if blob.state == "available":
        _fill_in(attachment, blob)
    if context.attachments == "url" and blob.state == "available":
        return {**attachment, "url": _signed_get(context, blob)[0]}
    extensions = _extensions(context, blob)
    if extensions:
        attachment["extension"] = [*attachment.get("extension", ()), *extensions]
    return attachment


def _fill_in(attachment: dict[str, Any], blob: Blob) -> None:
    """R4 knows sizes up to 2,147,483,647: https://hl7.org/fhir/R4/datatypes.html#unsignedInt"""
    if blob.size is not None and blob.size <= 2_147_483_647:
        attachment.setdefault("size", blob.size)
    if blob.sha1:
        attachment.setdefault("hash", blob.sha1)
    if "contentType" not in attachment and blob.content_type:
        attachment["contentType"] = blob.content_type


def binary_url(blob: Blob) -> str:
    """The version-specific reference to the Binary of these bytes."""
    return f"Binary/{blob.binary_id}/_history/{blob.version}"


def _inlined(context: Context, link: Link, blob: Blob) -> bool:
    asked = context.attachments == "inline" or (context.attachments == "default" and link.as_data)
    limit = context.services.settings.inline_limit
    return asked and blob.state == "available" and blob.size is not None and blob.size <= limit


def _data(context: Context, blob: Blob) -> str:
    return base64.b64encode(context.services.lifecycle.read_all(context.tenant, blob)).decode()


def _extensions(context: Context, blob: Blob) -> list[dict[str, Any]]:
    """What can be done with the bytes now: the PUT URL while pending, the GET URL once available."""
    if context.attachments == "reference" or blob.state in ("deleting", "deleted"):
        return []
    state = {"url": attachments.STATE, "valueCode": blob.state}
    if blob.state == "available":
        url, expires = _signed_get(context, blob)
        return [
            {"url": attachments.GET_URL, "valueUrl": url},
            {"url": attachments.EXPIRES, "valueInstant": instant(expires)},
            state,
        ]
    if blob.state == "pending" and blob.pending_key:
        return [*_put_extensions(context, blob), state]
    return [state]


def _put_extensions(context: Context, blob: Blob) -> list[dict[str, Any]]:
    signed = context.services.lifecycle.signed_put(context.tenant, blob, bind_content_type=context.bind_content_type)
    return [
        {"url": attachments.PUT_URL, "valueUrl": signed.url},
        {"url": attachments.EXPIRES, "valueInstant": instant(signed.expires)},
        *({"url": attachments.PUT_HEADER, "valueString": f"{name}: {value}"} for name, value in signed.headers),
    ]


def _signed_get(context: Context, blob: Blob) -> tuple[str, int]:
    signed = context.services.lifecycle.signed_get(context.tenant, blob)
    return signed.url, signed.expires


def _viewed(context: Context, body: bytes) -> bytes:
    if context.summary == "false" and not context.elements:
        return body
    return codec.dump(subset.view(codec.parse(body), context.summary, context.elements))
