"""The sweep: uploads that were never completed, and objects that no row knows.

It never takes what is referred to, what may still be arriving, or what is younger than the longest
upload. It looks into every bucket that a row names, and there at keys of the server's own form alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fhir_blob.blobs import OBJECTS, PENDING, Accounts, BlobStore
from fhir_blob.blobs.erasure import SECOND
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.errors import Conflict, NotFound, Unavailable
from fhir_blob.settings import Settings
from fhir_blob.store import Blob, ResourceStore, Transaction

_BATCH = 500
# A bucket that a client named may hold objects of others.
_OWN = re.compile(rf"({PENDING}|{OBJECTS})[0-9a-f]{{32}}")


@dataclass(frozen=True, slots=True)
class SweepReport:
    """`uploads` by blob id, `objects` and uploads in `parts` by account/bucket/key.

    `erased` tells whether they went or were only found; `unseen` are the places out of reach, and why.
    """

    uploads: tuple[str, ...]
    objects: tuple[str, ...]
    parts: tuple[str, ...]
    unseen: tuple[str, ...]
    erased: bool

    def text(self) -> str:
        did = "erased" if self.erased else "found, nothing erased (--erase does)"
        counts = f"objects unknown: {len(self.objects)}, uploads in parts not finished: {len(self.parts)}"
        lines = [f"uploads never completed: {len(self.uploads)}, {counts}: {did}"]
        lines += [f"  upload {each}" for each in self.uploads]
        lines += [f"  {each}" for each in self.objects]
        lines += [f"  parts of {each}" for each in self.parts]
        return "\n".join([*lines, *(f"  not seen: {each}" for each in self.unseen)])


@dataclass(frozen=True, slots=True)
class _Place:
    """A bucket, and by which accounts rows name it: two accounts may well lead to the same one."""

    store: BlobStore
    bucket: str
    accounts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.store.account}/{self.bucket}"


@dataclass(frozen=True, slots=True)
class Sweep:
    store: ResourceStore
    accounts: Accounts
    lifecycle: Lifecycle
    settings: Settings

    def run(self, *, now: int, dry_run: bool = True) -> SweepReport:
        """What was found, and unless `dry_run` erased; a place out of reach keeps it from no other."""
        before = now - (self.settings.upload_seconds + self.settings.put_url_seconds) * SECOND
        unseen = dict[str, str]()
        uploads = tuple(self._uploads(now, before, dry_run, unseen))
        objects, parts = dict[tuple[str, str], str](), dict[tuple[str, str], str]()
        for place in self._places(unseen):
            with _noting(unseen, place.name):
                objects |= {(place.bucket, key): place.name for key in self._objects(place, before, dry_run)}
                parts |= {(place.bucket, key): place.name for key in self._parts(place, before, dry_run)}
        failures = tuple(f"{name}: {why}" for name, why in unseen.items())
        return SweepReport(uploads, _named(objects), _named(parts), failures, erased=not dry_run)

    def _places(self, unseen: dict[str, str]) -> Iterator[_Place]:
        """The default bucket, and every other that a row names."""
        default = self.accounts.default
        named = self.store.blob_places()
        accounts = defaultdict[str, set[str]](set, {default.bucket: {default.account}})
        for _, account, bucket in named:
            accounts[bucket].add(account)
        yield _Place(default, default.bucket, tuple(accounts[default.bucket]))
        for tenant, account, bucket in named:
            if (account, bucket) != (default.account, default.bucket):
                with _noting(unseen, f"{account}/{bucket}"):
                    yield _Place(self.accounts.store(tenant, account), bucket, tuple(accounts[bucket]))

    def _uploads(self, now: int, before: int, dry_run: bool, unseen: dict[str, str]) -> Iterator[str]:
        after = ""
        while batch := self.store.blobs_in_state("pending", before=before, limit=_BATCH, after=after):
            after = batch[-1][1].id
            for tenant, blob in batch:
                with _noting(unseen, f"{blob.account}/{blob.bucket}"):
                    is_given_up = self._is_given_up(tenant, blob, now, dry_run)
                    if is_given_up and (dry_run or self._discarded(tenant, blob, now)):
                        yield blob.id

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

    def _objects(self, place: _Place, before: int, dry_run: bool) -> Iterator[str]:
        for prefix in (PENDING, OBJECTS):
            for each in place.store.list(place.bucket, prefix):
                if _OWN.fullmatch(each.key) and each.modified < before and not self._is_known(place, each.key):
                    if not dry_run:
                        place.store.delete(place.bucket, each.key)
                    yield each.key

    def _is_known(self, place: _Place, key: str) -> bool:
        return any(self.store.knows_object(account, place.bucket, key) for account in place.accounts)

    def _parts(self, place: _Place, before: int, dry_run: bool) -> Iterator[str]:
        """A writer that died left them; what is so old has none any more, whether a row knows its key or not."""
        for each in tuple(place.store.multipart_uploads(place.bucket, OBJECTS)):
            if _OWN.fullmatch(each.key) and each.begun < before:
                if not dry_run:
                    place.store.abort(place.bucket, each)
                yield each.key


@contextmanager
def _noting(unseen: dict[str, str], name: str) -> Iterator[None]:
    """An account that is away, or no more known, is noted and left."""
    try:
        yield
    except (NotFound, Unavailable) as error:
        unseen[name] = str(error)


def _named(found: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    return tuple(f"{name}/{key}" for (_, key), name in found.items())
