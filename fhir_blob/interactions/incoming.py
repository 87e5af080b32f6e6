"""Requests made ready to be stored: validated, Attachments linked to Binaries, bytes moved to S3.

What answers add (presigned URLs, states, sizes, data) is taken out again, so that what was read can
be written back unchanged and no URL that expires is ever stored.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fhir_blob.errors import BadRequest, Conflict, Invalid, Unprocessable
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.attachments import Link, Place, Slot
from fhir_blob.fhir.references import LocalReference, local_references
from fhir_blob.fhir.validation import validate
from fhir_blob.interactions import Context, instant
from fhir_blob.interactions.links import NOTHING, Coming, Links, Target
from fhir_blob.search import added
from fhir_blob.search.extraction import extract
from fhir_blob.store import Blob, IndexEntries, Method, Transaction, Version

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource ready to be stored: all that does not depend on its version and time.

    `members` is its JSON from after meta on, `slots` are offsets in it. `made` are the Binaries that
    come with it, `declared` the blobs whose declared size or hash this resource adds. `references` are known
    where the setting `integrity` asks for them.
    """

    type: str
    id: str
    meta: bytes
    members: bytes
    slots: tuple[Slot, ...]
    entries: IndexEntries
    binaries: tuple[str, ...] = ()
    made: tuple[tuple[Draft, Blob], ...] = ()
    declared: tuple[Blob, ...] = ()
    references: tuple[LocalReference, ...] = ()

    @property
    def blobs(self) -> tuple[str, ...]:
        """The ids of the blobs that come with it."""
        return tuple(blob.id for _, blob in self.made)

    def version(self, number: int, now: int, method: Method) -> Version:
        """The resource as that version: meta, then what the client sent in its order."""
        head = b'{"resourceType":"%s","id":"%s","meta":{"versionId":"%d","lastUpdated":"%s"%s' % (
            self.type.encode(),
            self.id.encode(),
            number,
            instant(now).encode(),
            self.meta,
        )
        slots = attachments.encode(self.slots, shift=len(head))
        return Version(self.type, self.id, number, now, method, head + self.members, slots)


@dataclass(slots=True)
class _Work:
    """What is found while the Attachments of one resource are looked at."""

    links: list[tuple[Place, Link]] = field(default_factory=list)
    made: list[tuple[Draft, Blob]] = field(default_factory=list)
    declared: list[Blob] = field(default_factory=list)


def checked(context: Context, resource: Any, type: str) -> dict[str, Any]:
    """The resource, if it is a valid one of that type; else BadRequest or Invalid with every problem."""
    if not isinstance(resource, dict):
        raise BadRequest("The body is not a FHIR resource: it has to be a JSON object.")
    if resource.get("resourceType") != type:
        given = str(resource.get("resourceType"))[:60]
        raise BadRequest(f"The body is not a {type}: its resourceType is {given!r}.", expression="resourceType")
    issues = validate(resource, lenient=context.services.settings.validation == "lenient")
    if any(issue.severity == "error" for issue in issues):
        raise Invalid(f"The {type} is not valid.", issues=issues)
    if type == "SearchParameter":
        added.check(resource)
    return resource


def draft(
    context: Context, resource: dict[str, Any], id: str, *, prior: Version | None = None, coming: Coming = NOTHING
) -> Draft:
    """A Draft of a valid resource; `prior` is the version that it replaces.

    Attachments with data have their bytes in S3 afterwards: hand the Draft to `stored`. `coming` are the
    Binaries that are stored before it in the same transaction.
    """
    type = resource["resourceType"]
    links, work = Links(context, prior, coming), _Work()
    try:
        for place in attachments.places(resource):
            _look_at(context, links, work, place, owner=f"{type}/{id}")
    except BaseException:
        _abandon(context, work.made)
        raise
    return _dumped(context, resource, id, work)


def tried(context: Context, resource: dict[str, Any], *, prior: Version | None = None) -> tuple[str, ...]:
    """The ids of the Binaries that a valid resource's Attachments name. Unprocessable as `draft`, which writes."""
    links, work = Links(context, prior, NOTHING), _Work()
    found: list[Link | None] = []
    for place in attachments.places(deepcopy(resource)):
        attachments.strip(place.attachment)
        if "data" in place.attachment:
            _digest(place.attachment, decoded(place.attachment["data"]))
        elif "url" in place.attachment:
            found.append(_from_url(links, work, place.attachment))
    return tuple(link.binary_id for link in found if link is not None)


def stored(context: Context, drafted: Draft, work: Callable[[Transaction], T]) -> T:
    """The result of the transaction; the Draft's bytes are given up where it fails."""
    try:
        return context.services.store.write(context.tenant, work)
    except BaseException:
        _abandon(context, drafted.made)
        raise


def abandon(context: Context, drafted: Draft) -> None:
    """Give up the bytes of a Draft that was not stored after all."""
    _abandon(context, drafted.made)


def store_draft(transaction: Transaction, drafted: Draft, current: Version | None, now: int, method: Method) -> Version:
    """In one transaction: the Binaries that come with the Draft, the version after `current`, what it refers to."""
    number = 1 if current is None else current.version + 1
    _lock(transaction, drafted)
    for binary, blob in drafted.made:
        transaction.put(binary.version(1, now, "POST"), binary.entries, expected=None)
        put_bytes(transaction, blob)
    for blob in drafted.declared:
        transaction.put_blob(blob)
    version = drafted.version(number, now, method)
    version = transaction.put(version, drafted.entries, expected=None if current is None else current.version)
    _refer(transaction, drafted, number)
    return version


def references_of(context: Context, resource: dict[str, Any]) -> tuple[LocalReference, ...]:
    """The references that have to lead somewhere, where the setting `integrity` asks for them."""
    is_checked = context.services.settings.integrity != "off"
    return local_references(resource, base=context.base) if is_checked else ()


def referred(references: Sequence[LocalReference]) -> list[str]:
    """What they name in the table of referrers, Binaries left out: 'Type/id'."""
    return sorted({f"{each.type}/{each.id}" for each in references if each.type not in ("", "Binary")})


def put_bytes(transaction: Transaction, blob: Blob) -> None:
    """The row of an offer, or of bytes that were written: Conflict where those were given up meanwhile."""
    known = transaction.blob_by_id(blob.id)
    if blob.state == "available" and (known is None or known.state != "pending"):
        raise Conflict("The bytes took longer than they may, and were given up.")
    transaction.put_blob(blob)


def _lock(transaction: Transaction, drafted: Draft) -> None:
    for binary_id in sorted({*drafted.binaries, *(binary.id for binary, _ in drafted.made)}):
        transaction.lock_binary(binary_id)


def _refer(transaction: Transaction, drafted: Draft, number: int) -> None:
    """Note which Binaries the version refers to; Conflict where one was deleted meanwhile."""
    current = {each: transaction.current("Binary", each) for each in drafted.binaries}
    for binary_id, binary in current.items():
        if binary is not None and binary.deleted:
            raise Conflict(f"Binary/{binary_id} is deleted, so nothing can refer to it.")
    known = [binary_id for binary_id, binary in current.items() if binary is not None]
    known += referred(drafted.references)
    if known or number > 1:
        transaction.refer(drafted.type, drafted.id, number, known)


def _look_at(context: Context, links: Links, work: _Work, place: Place, *, owner: str) -> None:
    attachment = place.attachment
    attachments.strip(attachment)
    if "data" in attachment:
        link: Link | None = _from_data(context, links, work, attachment, owner)
    elif "url" in attachment:
        link = _from_url(links, work, attachment)
    elif context.offer_uploads and "contentType" in attachment:
        link = _from_offer(context, work, attachment, owner)
    else:
        return
    if link is not None:
        work.links.append((place, link))


def _from_data(context: Context, links: Links, work: _Work, attachment: dict[str, Any], owner: str) -> Link:
    """Data goes to S3. What is there already, since this resource had it before, stays there."""
    content = decoded(attachment.pop("data"))
    digest = _digest(attachment, content)
    known = links.with_hash(digest)
    if known is not None:
        for name in {"size", "hash"} - known.kept:
            attachment.pop(name, None)
        attachment.setdefault("url", known.url)
        return known.link
    lifecycle = context.services.lifecycle
    binary_id = context.services.new_id()
    offered = lifecycle.offer(
        binary_id=binary_id,
        version=1,
        content_type=attachment.get("contentType", "application/octet-stream"),
        creator=context.principal.name,
        owner=owner,
        pending_key="",
    )
    blob = lifecycle.write(context.tenant, offered, (content,), len(content))
    work.made.append((_binary_draft(context, blob), blob))
    attachment.setdefault("url", f"Binary/{binary_id}/_history/1")
    return Link(binary_id, 1, as_data=True)


def _from_url(links: Links, work: _Work, attachment: dict[str, Any]) -> Link | None:
    target = links.of(attachment["url"])
    if target is None:
        return None
    attachment["url"] = target.url
    for blob in target.blobs[-1:]:
        if blob.state == "available":
            _drop_filled_in(attachment, target)
        elif blob.state == "pending":
            _declare(work, attachment, blob)
    return target.link


def _from_offer(context: Context, work: _Work, attachment: dict[str, Any], owner: str) -> Link:
    """An Attachment without bytes: it gets a Binary, and its client a PUT URL."""
    blob = context.services.lifecycle.offer(
        binary_id=context.services.new_id(),
        version=1,
        content_type=attachment["contentType"],
        creator=context.principal.name,
        owner=owner,
        declared_size=attachment.get("size"),
        declared_sha1=attachment.get("hash", ""),
    )
    work.made.append((_binary_draft(context, blob), blob))
    attachment["url"] = f"Binary/{blob.binary_id}/_history/1"
    return Link(blob.binary_id, 1)


def _digest(attachment: Mapping[str, Any], content: bytes) -> str:
    """The hash of the bytes, which the Attachment does not deny."""
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    _match(attachment, "size", len(content))
    _match(attachment, "hash", digest)
    return digest


def _match(attachment: Mapping[str, Any], name: str, actual: int | str) -> None:
    declared = attachment.get(name, actual)
    if declared != actual:
        raise Unprocessable(
            f"Attachment.{name} is {str(declared)[:60]!r}, but that of the bytes is {str(actual)!r}.",
            expression=f"Attachment.{name}",
        )


def _drop_filled_in(attachment: dict[str, Any], target: Target) -> None:
    """Size and hash are answered from the blob; those of an earlier version were read before this one came."""
    blobs = target.blobs
    for name, values in (("size", [blob.size for blob in blobs]), ("hash", [blob.sha1 for blob in blobs])):
        if attachment.get(name) not in values:
            _match(attachment, name, values[-1] or "")
        elif name not in target.kept or not target.link.as_data:
            del attachment[name]


def _declare(work: _Work, attachment: Mapping[str, Any], blob: Blob) -> None:
    size, sha1 = attachment.get("size"), attachment.get("hash", "")
    if (size is not None and blob.declared_size is None) or (sha1 and not blob.declared_sha1):
        work.declared.append(
            blob.with_(
                declared_size=blob.declared_size if size is None else size, declared_sha1=blob.declared_sha1 or sha1
            )
        )


def decoded(data: str) -> bytes:
    """base64 as FHIR has it, already validated: white space may stand in it."""
    return base64.b64decode(data.translate(_NO_SPACE))


_NO_SPACE = dict.fromkeys(map(ord, " \t\r\n"))


def _binary_draft(context: Context, blob: Blob) -> Draft:
    resource = {"resourceType": "Binary", "contentType": blob.content_type}
    return binary_draft(context, resource, blob.binary_id, Link(blob.binary_id, 1))


def binary_draft(context: Context, resource: dict[str, Any], id: str, link: Link) -> Draft:
    """A Draft of a Binary, whose one slot is the whole resource; it has no data any more."""
    entries = extract(resource, base=context.base)
    meta, members, _ = _split(resource, ())
    return Draft("Binary", id, meta, members, (Slot(0, 0, link),), entries)


def _dumped(context: Context, resource: dict[str, Any], id: str, work: _Work) -> Draft:
    type = resource["resourceType"]
    entries = extract(resource, base=context.base)
    references = references_of(context, resource)
    literal = {row[3] for row in entries.get("reference", ()) if row[2] == "Binary" and not row[5]}
    binaries = literal | {link.binary_id for _, link in work.links}
    meta, members, slots = _split(resource, work.links)
    made, declared = tuple(work.made), tuple(work.declared)
    return Draft(type, id, meta, members, slots, entries, tuple(sorted(binaries)), made, declared, references)


def _split(resource: dict[str, Any], links: Sequence[tuple[Place, Link]]) -> tuple[bytes, bytes, tuple[Slot, ...]]:
    """The client's meta and the other members, each as the rest of a JSON object that is already open."""
    meta = {name: value for name, value in resource.pop("meta", {}).items() if name not in _OURS}
    resource.pop("resourceType", None), resource.pop("id", None)
    body, slots = attachments.dump_with_slots(resource, links)
    return _rest(codec.dump(meta)), _rest(body), slots


def _rest(dumped: bytes) -> bytes:
    return b"}" if dumped == b"{}" else b"," + dumped[1:]


# What the server itself says in meta.
_OURS = {"versionId", "lastUpdated", "_versionId", "_lastUpdated"}


def _abandon(context: Context, made: Sequence[tuple[Draft, Blob]]) -> None:
    for _, blob in made:
        context.services.lifecycle.abandon(context.tenant, blob)
