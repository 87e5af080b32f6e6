"""Resources and bytes that go for good, a bounded part in each transaction: for `$expunge` and `$erase`.

A resource keeps one row, that of its deletion, so that its versions go on where it is made again and every
index outside the database hears of it. Of a Binary's bytes no row stays: each key is in a task of the outbox.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from fhir_blob.blobs.erasure import forget
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.references import local_references
from fhir_blob.interactions import Context
from fhir_blob.store import Blob, Reader, Transaction, Version

BINARY = "Binary"
_PAGE = 200
# So many versions go in one transaction, and no more begin once it has taken so long: others want to write too.
CHUNK = 50
_SECONDS = 0.02
_NAMES_BINARY = re.compile(rb"Binary/[A-Za-z0-9.-]")


@dataclass(slots=True)
class Removed:
    """What went: (type, id) of resources, how many versions of all, how many uploads and the bytes of them.

    `kept` are Binaries that did not go, each with the reason, `gone` those that did, by name.
    """

    resources: set[tuple[str, str]] = field(default_factory=set)
    versions: int = 0
    objects: int = 0
    bytes: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def add(self, more: Removed) -> None:
        """What was kept may go later, with the last that needed it."""
        self.resources |= more.resources
        self.versions += more.versions
        self.objects += more.objects
        self.bytes += more.bytes
        self.gone |= more.gone
        self.kept = {name: why for name, why in (self.kept | more.kept).items() if name not in self.gone}


@dataclass(frozen=True, slots=True)
class Removal:
    """What one transaction takes away. What is not done when its time is over is left to the next one.

    Nothing is kept for the sake of `doomed`, a 'Type/id' that goes later.
    """

    context: Context
    transaction: Transaction
    now: int
    doomed: str = ""
    removed: Removed = field(default_factory=Removed)
    until: float = field(default_factory=lambda: time.monotonic() + _SECONDS)

    @property
    def is_over(self) -> bool:
        """Never before something went, so that there is always an end."""
        return bool(self.removed.versions or self.removed.objects) and time.monotonic() > self.until

    def resource(self, current: Version, also: Collection[str] = ()) -> bool:
        """The oldest versions last and the current one after all others, each with the Binaries that it names.

        `also` are Binaries that go with the last. False where some are left: what is there says where to go on.
        """
        type, id = current.type, current.id
        page = self._before(current)
        is_last = len(page) < CHUNK
        named = set[str]().union(*(binaries(self.context, each) for each in page))
        if is_last:
            owned = {blob.binary_id for blob in self.transaction.blobs_owned_by(f"{type}/{id}")}
            named |= binaries(self.context, current) | owned | set(also)
        if not self._all(named, but=f"{type}/{id}"):
            return False
        self._purge(current, page, is_last=is_last)
        return is_last

    def superseded(self, type: str, id: str, numbers: Sequence[int], also: Collection[str] = ()) -> bool:
        """Those versions, none of which is current, in that order, with `also` and what Binaries they alone name."""
        found = [self.transaction.version(type, id, each) for each in numbers]
        there = [each for each in found if each is not None]
        for start in range(0, len(there), CHUNK):
            part = there[start : start + CHUNK]
            named = set(also).union(*(binaries(self.context, each) for each in part))
            if self.is_over or not self._all(named):
                return False
            self._count(type, id, self.transaction.purge(type, id, [each.version for each in part]))
        return True

    def binary(self, id: str, *, but: str = "") -> bool:
        """A Binary with the bytes of all its versions, unless something else than `but` needs it."""
        blobs = self.transaction.lock_binary(id)
        current = self.transaction.lock(BINARY, id)
        outside = [each for each in self.transaction.referrers(id) if each != but]
        why = (
            f"{outside[0]} refers to it."
            if outside
            else secured(self.context, self.transaction, current, but, self.doomed)
        )
        if why:
            self.removed.kept[f"{BINARY}/{id}"] = why
            return True
        for blob in blobs:
            if self.is_over:
                return False
            self.bytes(blob)
        page = self._before(current) if current else ()
        is_last = len(page) < CHUNK
        if current is not None:
            self._purge(current, page, is_last=is_last)
        if is_last:
            self.removed.gone.add(f"{BINARY}/{id}")
        return is_last

    def bytes(self, blob: Blob) -> None:
        forget(self.transaction, self.context.services.settings, blob, self.now)
        if blob.state != "deleted":
            self.removed.objects += 1
            self.removed.bytes += blob.size or 0

    def _before(self, current: Version) -> tuple[Version, ...]:
        found = self.transaction.history(current.type, current.id, before_seq=current.seq, total=0, count=CHUNK)
        return found.versions

    def _all(self, binary_ids: Collection[str], *, but: str = "") -> bool:
        return all(not self.is_over and self.binary(each, but=but) for each in sorted(binary_ids))

    def _purge(self, current: Version, page: Sequence[Version], *, is_last: bool) -> None:
        """With the last of them the current version, in whose place stands its deletion."""
        type, id, numbers = current.type, current.id, [each.version for each in page]
        if is_last and not current.deleted:
            deletion = Version(type, id, current.version + 1, self.now, "DELETE", b"")
            self.transaction.put(deletion, {}, expected=current.version)
            self.transaction.refer(type, id, deletion.version, ())
            numbers.append(current.version)
        self._count(type, id, self.transaction.purge(type, id, numbers))

    def _count(self, type: str, id: str, purged: int) -> None:
        if purged:
            self.removed.resources.add((type, id))
            self.removed.versions += purged


def secured(context: Context, reader: Reader, binary: Version | None, *but: str) -> str:
    """Why a Binary has to stay: its security context, if that is there and none of `but`; else ''."""
    for type, id in security(context, b"" if binary is None else binary.body):
        found = reader.current(type, id)
        if f"{type}/{id}" not in but and found is not None and not found.deleted:
            return f"Its security context is {type}/{id}."
    return ""


def security(context: Context, body: bytes) -> tuple[tuple[str, str], ...]:
    """(type, id) of the security context that the body of a Binary names; no other reference stands in one."""
    if b'"securityContext"' not in body:
        return ()
    return tuple((each.type, each.id) for each in local_references(codec.parse(body), base=context.base))


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
