"""Resources ready to be stored, and how they are: in one transaction with the Binaries that come with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fhir_blob.errors import Conflict
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.attachments import Link, Place, Slot
from fhir_blob.fhir.references import LocalReference, local_references
from fhir_blob.interactions import Context, instant
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
class Attached:
    """What was found while the Attachments of one resource were looked at."""

    links: list[tuple[Place, Link]] = field(default_factory=list)
    made: list[tuple[Draft, Blob]] = field(default_factory=list)
    declared: list[Blob] = field(default_factory=list)


def binary_draft(context: Context, resource: dict[str, Any], id: str, link: Link) -> Draft:
    """A Draft of a Binary, whose one slot is the whole resource; it has no data any more."""
    entries = extract(resource, base=context.base)
    meta, members, _ = _split(resource, ())
    return Draft("Binary", id, meta, members, (Slot(0, 0, link),), entries)


def drafted(context: Context, resource: dict[str, Any], id: str, attached: Attached) -> Draft:
    """A Draft of a valid resource whose Attachments were looked at."""
    type = resource["resourceType"]
    entries = extract(resource, base=context.base)
    references = references_of(context, resource)
    literal = {row[3] for row in entries.get("reference", ()) if row[2] == "Binary" and not row[5]}
    binaries = literal | {link.binary_id for _, link in attached.links}
    meta, members, slots = _split(resource, attached.links)
    made, declared = tuple(attached.made), tuple(attached.declared)
    return Draft(type, id, meta, members, slots, entries, tuple(sorted(binaries)), made, declared, references)


def stored(context: Context, draft: Draft, work: Callable[[Transaction], T]) -> T:
    """The result of the transaction; the Draft's bytes are given up where it fails."""
    try:
        return context.services.store.write(context.tenant, work)
    except BaseException:
        abandon(context, draft.made)
        raise


def abandon(context: Context, made: Sequence[tuple[Draft, Blob]]) -> None:
    """Give up the bytes of a Draft that is not stored after all."""
    for _, blob in made:
        context.services.lifecycle.abandon(context.tenant, blob)


def put(transaction: Transaction, draft: Draft, current: Version | None, now: int, method: Method) -> Version:
    """In one transaction: the Binaries that come with the Draft, the version after `current`, what it refers to."""
    number = 1 if current is None else current.version + 1
    _lock(transaction, draft)
    for binary, blob in draft.made:
        transaction.put(binary.version(1, now, "POST"), binary.entries, expected=None)
        put_bytes(transaction, blob)
    for blob in draft.declared:
        transaction.put_blob(blob)
    version = draft.version(number, now, method)
    version = transaction.put(version, draft.entries, expected=None if current is None else current.version)
    _refer(transaction, draft, number)
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


def _lock(transaction: Transaction, draft: Draft) -> None:
    for binary_id in sorted({*draft.binaries, *(binary.id for binary, _ in draft.made)}):
        transaction.lock_binary(binary_id)


def _refer(transaction: Transaction, draft: Draft, number: int) -> None:
    """Note which Binaries the version refers to; Conflict where one was deleted meanwhile."""
    current = {each: transaction.current("Binary", each) for each in draft.binaries}
    for binary_id, binary in current.items():
        if binary is not None and binary.deleted:
            raise Conflict(f"Binary/{binary_id} is deleted, so nothing can refer to it.")
    known = [binary_id for binary_id, binary in current.items() if binary is not None]
    known += referred(draft.references)
    if known or number > 1:
        transaction.refer(draft.type, draft.id, number, known)


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
