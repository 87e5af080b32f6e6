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
from fhir_blob.fhir.references import LocalReference
from fhir_blob.interactions import Answer, Context, drafts, incoming, integrity, read
from fhir_blob.interactions.drafts import Draft
from fhir_blob.interactions.update import Written, replaced, same_id
from fhir_blob.store import Blob, Method, Transaction, Version

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """A raw body: exactly `size` bytes of that type, to be read once."""

    content_type: str
    chunks: Iterable[bytes]
    size: int
    security_context: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A Binary ready to be stored, its data taken out.

    `blob` is what was written, or is offered for a new Binary. `as_data`: it came with data; None where
    that data was there already.
    """

    id: str
    resource: dict[str, Any]
    blob: Blob | None
    as_data: bool | None
    references: tuple[LocalReference, ...] = ()

    @property
    def blobs(self) -> tuple[str, ...]:
        return () if self.blob is None else (self.blob.id,)


def create(context: Context, type: str, resource: dict[str, Any]) -> Answer:
    """201: with a PUT URL where the Binary came without data."""
    taken = take(context, checked(context, resource), context.services.new_id(), is_new=True)
    return _create(context, taken)


def create_raw(context: Context, upload: Upload) -> Answer:
    """201, the bytes stored and hashed as they streamed through."""
    return _create(context, take(context, upload, context.services.new_id()))


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
    same_id(checked(context, resource), id)
    return _update(context, take(context, resource, id), if_match, method)


def update_raw(context: Context, id: str, upload: Upload, *, if_match: int | None = None) -> Answer:
    """200 or 201, with the raw body as the bytes of the next version."""
    same_id({"id": id}, id)
    return _update(context, take(context, upload, id), if_match)


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


def checked(context: Context, resource: Any) -> dict[str, Any]:
    """The Binary without what answers add, if it is a valid one: see incoming.checked."""
    if isinstance(resource, dict):
        _strip(resource)
    return incoming.checked(context, resource, "Binary")


def take(context: Context, given: dict[str, Any] | Upload, id: str, *, is_new: bool = False) -> Taken:
    """A valid Binary, whose data is in S3 afterwards, unless the Binary has it already: see `give_up`."""
    if isinstance(given, Upload):
        made = _raw_resource(context, given)
        return _taken(context, id, made, _written(context, id, given), as_data=False)
    resource = given
    if "data" not in resource:
        offered = _offer(context, id, resource["contentType"], 1) if is_new else None
        return _taken(context, id, resource, offered, as_data=False)
    content = incoming.decoded(resource.pop("data"))
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    with context.services.store.read(context.tenant) as reader:
        prior = None if is_new else reader.blob(id, _LATEST)
    if prior is not None and prior.sha1 == digest and prior.state == "available":
        return _taken(context, id, resource, None, as_data=None)
    upload = Upload(resource["contentType"], (content,), len(content))
    return _taken(context, id, resource, _written(context, id, upload), as_data=True)


def _taken(context: Context, id: str, resource: dict[str, Any], blob: Blob | None, *, as_data: bool | None) -> Taken:
    return Taken(id, resource, blob, as_data, drafts.references_of(context, resource))


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
    return drafts.binary_draft(context, dict(resource), id, link)


def _create(context: Context, taken: Taken) -> Answer:
    def work(transaction: Transaction) -> Written:
        version = create_in(context, transaction, taken)
        return Written(version, True, integrity.check(context, transaction, (taken,)))

    done = kept(context, taken, work)
    return done.answered(read.answer(context, done.version, status=201, made=taken.blobs))


def create_in(context: Context, transaction: Transaction, taken: Taken) -> Version:
    """Store a new Binary, in the transaction."""
    assert taken.blob is not None  # of a new one
    drafted = _draft(context, taken.resource, taken.id, Link(taken.id, 1, bool(taken.as_data)))
    drafts.put_bytes(transaction, taken.blob.with_(version=1))
    _refer(transaction, taken, 1)
    return transaction.put(drafted.version(1, context.services.clock(), "POST"), drafted.entries, expected=None)


def _update(context: Context, taken: Taken, if_match: int | None, method: Method = "PUT") -> Answer:
    def work(transaction: Transaction) -> Written:
        version, created = update_in(context, transaction, taken, if_match, method)
        return Written(version, created, integrity.check(context, transaction, (taken,)))

    done = kept(context, taken, work)
    return done.answered(read.answer(context, done.version, status=201 if done.created else 200))


def update_in(
    context: Context,
    transaction: Transaction,
    taken: Taken,
    if_match: int | None,
    method: Method = "PUT",
    *,
    is_new: bool = False,
) -> tuple[Version, bool]:
    """Store the next version, in the transaction, and whether that made the Binary, as is known where it `is_new`."""
    id, content_type = taken.id, taken.resource["contentType"]
    drafted = _draft(context, taken.resource, id, Link(id, None))
    current = None if is_new else replaced(context, transaction, "Binary", id, if_match)
    transaction.lock_binary(id)
    there = current is not None and not current.deleted
    number = 1 if current is None else current.version + 1
    before = transaction.blob(id, number) if there else None
    offers = taken.as_data is not None
    _place_bytes(context, transaction, id, number, content_type, before, taken.blob, offers=offers)
    if context.services.settings.integrity != "off":
        _refer(transaction, taken, number)
    kept = taken.as_data if taken.blob or current is None else _came_as_data(current)
    slots = (replace(drafted.slots[0], link=Link(id, number, bool(kept))),)
    version = replace(drafted, slots=slots).version(number, context.services.clock(), method)
    version = transaction.put(version, drafted.entries, expected=None if current is None else current.version)
    return version, not there


def _refer(transaction: Transaction, taken: Taken, number: int) -> None:
    """Note whom its securityContext names."""
    named = drafts.referred(taken.references)
    if named or number > 1:
        transaction.refer("Binary", taken.id, number, named)


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
        drafts.put_bytes(transaction, written.with_(version=number))
    elif before is None or before.state == "rejected":
        transaction.put_blob(_offer(context, id, content_type, number))
    elif before.state == "available" and offered is None and offers:
        transaction.put_blob(_offer(context, id, content_type, None))


def _came_as_data(version: Version) -> bool:
    return any(slot.link.as_data for slot in attachments.decode(version.slots))


def kept(context: Context, taken: Taken, work: Callable[[Transaction], T]) -> T:
    """The transaction's result; bytes written for it are given up where it fails."""
    try:
        return context.services.store.write(context.tenant, work)
    except BaseException:
        give_up(context, taken)
        raise


def give_up(context: Context, taken: Taken) -> None:
    """The bytes of a Binary that was not stored after all."""
    if taken.blob is not None and taken.blob.object_key:
        context.services.lifecycle.abandon(context.tenant, taken.blob)


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
