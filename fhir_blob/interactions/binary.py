"""Binary, the resource that is bytes: https://hl7.org/fhir/R4/binary.html

A Binary comes as JSON without data (its client gets a PUT URL), as JSON with data, or as raw bytes.
Its versions and its uploads are told apart by Blob.version: see fhir_blob.store.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fhir_blob.errors import Gone
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Answer, Context, incoming, read
from fhir_blob.interactions.incoming import Draft
from fhir_blob.interactions.update import replaced, same_id
from fhir_blob.store import Blob, Method, Transaction, Version

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """A raw body: exactly `size` bytes of that type, to be read once."""

    content_type: str
    chunks: Iterable[bytes]
    size: int
    security_context: str = ""


def create(context: Context, type: str, resource: dict[str, Any]) -> Answer:
    """201: with a PUT URL where the Binary came without data."""
    id = context.services.new_id()
    return _create(context, id, *_taken(context, resource, id, None))


def create_raw(context: Context, upload: Upload) -> Answer:
    """201, the bytes stored and hashed as they streamed through."""
    id = context.services.new_id()
    resource = _raw_resource(context, upload)
    return _create(context, id, resource, _written(context, id, upload), as_data=False)


def update(
    context: Context,
    type: str,
    id: str,
    resource: dict[str, Any],
    *,
    if_match: int | None = None,
    method: Method = "PUT",
) -> Answer:
    """200 or 201. Without data the bytes stay, and a PUT URL for a next version is answered."""
    with context.services.store.read(context.tenant) as reader:
        prior = reader.blob(id, _LATEST)
    resource, written, as_data = _taken(context, resource, id, prior)
    same_id(resource, id)
    return _update(context, id, resource, written, as_data, if_match, method)


def update_raw(context: Context, id: str, upload: Upload, *, if_match: int | None = None) -> Answer:
    """200 or 201, with the raw body as the bytes of the next version."""
    resource = _raw_resource(context, upload)
    same_id({"id": id}, id)
    return _update(context, id, resource, _written(context, id, upload), False, if_match)


def promote(context: Context, transaction: Transaction, blob: Blob) -> Blob:
    """An upload for a next version has been completed: the Binary gets that version."""
    current = transaction.lock("Binary", blob.binary_id)
    if current is None or current.deleted:
        raise Gone(f"Binary/{blob.binary_id} was deleted.")
    number = current.version + 1
    drafted = _draft(context, codec.parse(current.body), blob.binary_id, Link(blob.binary_id, number))
    version = drafted.version(number, context.services.clock(), "PUT")
    transaction.put(version, drafted.entries, expected=current.version)
    return blob.with_(version=number)


# Above every version number.
_LATEST = 2**62


def _taken(
    context: Context, resource: Any, id: str, prior: Blob | None
) -> tuple[dict[str, Any], Blob | None, bool | None]:
    """The checked Binary without its data, the blob its data was written to, and whether it came with data.

    Data that the Binary has already is not written again: then None, None.
    """
    if isinstance(resource, dict):
        _strip(resource)
    incoming.checked(context, resource, "Binary")
    if "data" not in resource:
        return resource, None, False
    content = incoming.decoded(resource.pop("data"))
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    if prior is not None and prior.sha1 == digest and prior.state == "available":
        return resource, None, None
    upload = Upload(resource["contentType"], (content,), len(content))
    return resource, _written(context, id, upload), True


def _strip(resource: dict[str, Any]) -> None:
    """Take out what answers add: the extensions beside `data`, the plain properties."""
    resource.pop("presignedPutUrl", None), resource.pop("presignedGetUrl", None)
    if isinstance(resource.get("_data"), dict):
        attachments.strip(resource["_data"])
        if not resource["_data"]:
            del resource["_data"]


def _raw_resource(context: Context, upload: Upload) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": "Binary", "contentType": upload.content_type}
    if upload.security_context:
        resource["securityContext"] = {"reference": upload.security_context}
    return incoming.checked(context, resource, "Binary")


def _written(context: Context, id: str, upload: Upload) -> Blob:
    offered = _offer(context, id, upload.content_type, None, pending_key="")
    return context.services.lifecycle.write(context.tenant, offered, upload.chunks, upload.size)


def _offer(
    context: Context, id: str, content_type: str, version: int | None, *, pending_key: str | None = None
) -> Blob:
    return context.services.lifecycle.offer(
        binary_id=id,
        version=version,
        content_type=content_type,
        creator=context.principal.name,
        pending_key=pending_key,
    )


def _draft(context: Context, resource: dict[str, Any], id: str, link: Link) -> Draft:
    return incoming.binary_draft(context, dict(resource), id, link)


def _create(context: Context, id: str, resource: dict[str, Any], written: Blob | None, as_data: bool | None) -> Answer:
    content_type = resource["contentType"]
    drafted = _draft(context, resource, id, Link(id, 1, bool(as_data)))
    blob = written or _offer(context, id, content_type, 1)

    def work(transaction: Transaction) -> Version:
        incoming.put_bytes(transaction, blob.with_(version=1))
        version = drafted.version(1, context.services.clock(), "POST")
        return transaction.put(version, drafted.entries, expected=None)

    return read.answer(context, _kept(context, written, work), status=201, made=(blob.id,))


def _update(
    context: Context,
    id: str,
    resource: dict[str, Any],
    written: Blob | None,
    as_data: bool | None,
    if_match: int | None,
    method: Method = "PUT",
) -> Answer:
    content_type = resource["contentType"]
    drafted = _draft(context, resource, id, Link(id, None))

    def work(transaction: Transaction) -> tuple[Version, bool]:
        current = replaced(context, transaction, "Binary", id, if_match)
        transaction.lock_binary(id)
        there = current is not None and not current.deleted
        number = 1 if current is None else current.version + 1
        before = transaction.blob(id, number) if there else None
        _place_bytes(context, transaction, id, number, content_type, before, written, offers=as_data is not None)
        kept = as_data if written or current is None else _came_as_data(current)
        slots = (replace(drafted.slots[0], link=Link(id, number, bool(kept))),)
        version = replace(drafted, slots=slots).version(number, context.services.clock(), method)
        version = transaction.put(version, drafted.entries, expected=None if current is None else current.version)
        return version, not there

    version, created = _kept(context, written, work)
    return read.answer(context, version, status=201 if created else 200)


def _place_bytes(
    context: Context,
    transaction: Transaction,
    id: str,
    number: int,
    content_type: str,
    before: Blob | None,
    written: Blob | None,
    *,
    offers: bool,
) -> None:
    """Which bytes version `number` has: those written, those from before, or those yet to be uploaded."""
    lifecycle, now = context.services.lifecycle, context.services.clock()
    offered = transaction.offered(id)
    if written is not None:
        for superseded in (offered, before):
            if superseded is not None and superseded.state in ("pending", "verifying"):
                lifecycle.discard(transaction, superseded, now=now)
        incoming.put_bytes(transaction, written.with_(version=number))
    elif before is None or before.state == "rejected":
        transaction.put_blob(_offer(context, id, content_type, number))
    elif before.state == "available" and offered is None and offers:
        transaction.put_blob(_offer(context, id, content_type, None))


def _came_as_data(version: Version) -> bool:
    return any(slot.link.as_data for slot in attachments.decode(version.slots))


def _kept(context: Context, written: Blob | None, work: Callable[[Transaction], T]) -> T:
    """The transaction's result; bytes written for it are given up where it fails."""
    try:
        return context.services.store.write(context.tenant, work)
    except BaseException:
        if written is not None:
            context.services.lifecycle.abandon(context.tenant, written)
        raise


def offer_next(context: Context, id: str) -> Blob:
    """The upload that is pending for the Binary; a new one for its next version where none is."""

    def work(transaction: Transaction) -> Blob:
        version = read.current(transaction, "Binary", id)
        transaction.lock_binary(id)
        pending = transaction.offered(id) or transaction.blob(id, version.version)
        if pending is not None and pending.state == "pending":
            return pending
        content_type = codec.parse(version.body)["contentType"]
        offered = _offer(context, id, content_type, version.version if pending is None else None)
        transaction.put_blob(offered)
        return offered

    return context.services.store.write(context.tenant, work)
