"""Resources and bytes that go for good, in one transaction: for `$expunge` and `$erase`.

A resource keeps one row, that of its deletion, so that its versions go on where it is made again and every
index outside the database hears of it. Of a Binary's bytes no row stays: each key is in a task of the outbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fhir_blob.blobs.erasure import forget
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.references import local_references
from fhir_blob.interactions import Context
from fhir_blob.store import Blob, Reader, Transaction, Version

BINARY = "Binary"
_PAGE = 200
_NAMES_BINARY = re.compile(rb"Binary/[A-Za-z0-9.-]")


@dataclass(slots=True)
class Removed:
    """What went: 'Type/id' of resources, how many versions of all, how many uploads and the bytes of them."""

    resources: list[tuple[str, str]] = field(default_factory=list)
    versions: int = 0
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    context: Context
    transaction: Transaction
    now: int
    removed: Removed = field(default_factory=Removed)

    def resource(self, type: str, id: str) -> set[str]:
        """The resource with all its versions; the Binaries that any of them names."""
        current = self.transaction.lock(type, id)
        if current is None:
            return set()
        named, numbers = set[str](), list[int]()
        for version in versions(self.transaction, type, id):
            numbers.append(version.version)
            named |= binaries(self.context, version)
        if not current.deleted:
            deletion = Version(type, id, current.version + 1, self.now, "DELETE", b"")
            self.transaction.put(deletion, {}, expected=current.version)
            self.transaction.refer(type, id, deletion.version, ())
        purged = self.transaction.purge(type, id, numbers)
        if purged:
            self.removed.resources.append((type, id))
            self.removed.versions += purged
        return named

    def binary(self, id: str) -> None:
        """A Binary that nothing refers to, with the bytes of all its versions. Lock it before you ask for that."""
        self.resource(BINARY, id)
        for blob in self.transaction.blobs_of(id):
            self.bytes(blob)

    def bytes(self, blob: Blob) -> None:
        forget(self.transaction, self.context.services.settings, blob, self.now)
        if blob.state != "deleted":
            self.removed.objects += 1
            self.removed.bytes += blob.size or 0


def versions(reader: Reader, type: str, id: str) -> Iterator[Version]:
    """Every version of the resource, newest first; bodies page by page."""
    before: int | None = None
    while True:
        page = reader.history(type, id, before_seq=before, total=0, count=_PAGE).versions
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].seq


def binaries(context: Context, version: Version) -> set[str]:
    """The Binaries of this server that a version names, but for a Binary its own."""
    found = {slot.link.binary_id for slot in attachments.decode(version.slots)}
    if _NAMES_BINARY.search(version.body):
        references = local_references(codec.parse(version.body), base=context.base)
        found |= {each.id for each in references if each.type == BINARY}
    return found - {version.id} if version.type == BINARY else found


def whose(blobs: Sequence[Blob]) -> set[str]:
    """For whom the server made the Binary: {''} where a client did."""
    return {blob.owner for blob in blobs}
