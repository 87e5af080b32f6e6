"""The sweep: uploads that were never completed, and objects that no row knows.

It never takes what is referred to, what may still be arriving, or what is younger than the longest upload.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from fhir_blob.blobs import OBJECTS, PENDING, BlobStore
from fhir_blob.blobs.erasure import SECOND
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.errors import Conflict
from fhir_blob.settings import Settings
from fhir_blob.store import Blob, ResourceStore, Transaction

_BATCH = 500


@dataclass(frozen=True, slots=True)
class SweepReport:
    """`uploads` by blob id, `objects` by key; `erased` tells whether they went or were only found."""

    uploads: tuple[str, ...]
    objects: tuple[str, ...]
    erased: bool

    def text(self) -> str:
        did = "erased" if self.erased else "found, nothing erased (--erase does)"
        lines = [f"uploads never completed: {len(self.uploads)}, objects unknown: {len(self.objects)}: {did}"]
        return "\n".join(
            [*lines, *(f"  upload {each}" for each in self.uploads), *(f"  {each}" for each in self.objects)]
        )


@dataclass(frozen=True, slots=True)
class Sweep:
    store: ResourceStore
    bucket: BlobStore
    lifecycle: Lifecycle
    settings: Settings

    def run(self, *, now: int, dry_run: bool = True) -> SweepReport:
        """What was found, and unless `dry_run` erased."""
        before = now - (self.settings.upload_seconds + self.settings.put_url_seconds) * SECOND
        uploads = tuple(self._uploads(now, before, dry_run))
        objects = tuple(self._objects(before, dry_run))
        return SweepReport(uploads, objects, erased=not dry_run)

    def _uploads(self, now: int, before: int, dry_run: bool) -> list[str]:
        found, after = [], ""
        while batch := self.store.blobs_in_state("pending", before=before, limit=_BATCH, after=after):
            after = batch[-1][1].id
            for tenant, blob in batch:
                if self._is_given_up(tenant, blob, now, dry_run) and (dry_run or self._discarded(tenant, blob, now)):
                    found.append(blob.id)
        return found

    def _is_given_up(self, tenant: str, blob: Blob, now: int, dry_run: bool) -> bool:
        """Never what may still arrive or is referred to; an upload that arrived is completed instead."""
        if blob.lease_until > now or blob.upload_until + self.settings.upload_seconds * SECOND > now:
            return False
        with self.store.read(tenant) as reader:
            if reader.referrers(blob.binary_id):
                return False
        if not self.lifecycle.has_arrived(tenant, blob):
            return True
        if not dry_run:
            with suppress(Conflict):  # it is still changing
                self.lifecycle.complete(tenant, blob.id, at_once_limit=None)
        return False

    def _discarded(self, tenant: str, blob: Blob, now: int) -> bool:
        def work(transaction: Transaction) -> bool:
            transaction.lock_binary(blob.binary_id)
            known = transaction.blob_by_id(blob.id)
            if known != blob or transaction.referrers(blob.binary_id):
                return False
            self.lifecycle.discard(transaction, known, now=now)
            return True

        return self.store.write(tenant, work)

    def _objects(self, before: int, dry_run: bool) -> list[str]:
        found = []
        for prefix in (PENDING, OBJECTS):
            for each in self.bucket.list(self.bucket.bucket, prefix):
                if each.modified < before and not self.store.knows_object(
                    self.bucket.account, self.bucket.bucket, each.key
                ):
                    found.append(each.key)
                    if not dry_run:
                        self.bucket.delete(self.bucket.bucket, each.key)
        return found
