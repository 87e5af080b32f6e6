"""The life of a Binary's bytes: pending -> verifying -> available | rejected -> deleting -> deleted.

- Every key is named in a committed row before a byte exists under it.
- PUT URLs name `pending_key` alone; `object_key` is written by the server, fresh for each attempt,
  never signed for PUT: bytes that were completed cannot change, though a URL be replayed.
- Completing leases the row, hashes what is there under the ETag it saw, copies under that same
  ETag, and commits; whoever lost the lease meanwhile gives its copy up.
- Nothing here talks to S3 inside a transaction. What is to be erased is a task of the outbox.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from contextlib import closing

from fhir_blob.blobs import OBJECTS, PENDING, Accounts, Download, ObjectInfo, SignedUrl
from fhir_blob.blobs.erasure import SECOND, UNFINISHED, erase, give_up_object, give_up_pending, longest_url
from fhir_blob.blobs.evidence import VANISHED, Digest, completed, mismatch
from fhir_blob.errors import Conflict, FhirError, Gone, NotFound, Unprocessable
from fhir_blob.fhir import media
from fhir_blob.settings import Settings
from fhir_blob.store import Blob, ResourceStore, Task, Transaction

_LEASE, _BACKOFF = 900 * SECOND, 5 * SECOND

Promote = Callable[[str, Transaction, Blob], Blob]


class Lifecycle:
    """`promote(tenant, transaction, blob)` makes the next version of a Binary for a blob that has none."""

    def __init__(
        self,
        store: ResourceStore,
        accounts: Accounts,
        settings: Settings,
        clock: Callable[[], int],
        new_id: Callable[[], str],
        promote: Promote,
    ) -> None:
        self._store, self._accounts, self._settings = store, accounts, settings
        self._clock, self._new_id, self._promote = clock, new_id, promote

    def offer(
        self,
        *,
        binary_id: str,
        version: int | None,
        content_type: str,
        creator: str,
        owner: str = "",
        declared_size: int | None = None,
        declared_sha1: str = "",
        filename: str = "",
        account: str = "",
        bucket: str = "",
        pending_key: str | None = None,
    ) -> Blob:
        """A new row, for the caller to put; pending_key '' where no URL is to be offered."""
        now = self._clock()
        return Blob(
            id=self._new_id(),
            binary_id=binary_id,
            version=version,
            state="pending",
            account=account or self._accounts.default.account,
            bucket=bucket or self._accounts.default.bucket,
            pending_key=PENDING + secrets.token_hex(16) if pending_key is None else pending_key,
            created=now,
            upload_until=now + longest_url(self._settings),
            content_type=content_type,
            filename=filename,
            declared_size=declared_size,
            declared_sha1=declared_sha1,
            creator=creator,
            owner=owner,
        )

    def signed_put(
        self, tenant: str, blob: Blob, *, bind_content_type: bool = False, seconds: int | None = None
    ) -> SignedUrl:
        """The URL to upload to: the same inside a window, good for `put_url_seconds` at least.

        Where it outlives what the row knows, the row is told first: the sweep goes by it.
        """
        now, valid = self._window(seconds, self._settings.put_url_seconds)
        headers = {"Content-Type": blob.content_type} if bind_content_type and blob.content_type else {}
        store = self._accounts.store(tenant, blob.account)
        signed = store.sign("PUT", blob.bucket, blob.pending_key, now=now, seconds=valid, headers=headers)
        if signed.expires > blob.upload_until:
            self._extend(tenant, blob, signed.expires)
        return signed

    def signed_get(self, tenant: str, blob: Blob, *, seconds: int | None = None) -> SignedUrl:
        """The URL to download from: the same inside a window, good for `get_url_seconds` at least.

        A browser, which would go by a tenth of its age (RFC 9111, 4.2.2), is told to keep what it gives.
        """
        now, valid = self._window(seconds, self._settings.get_url_seconds)
        disposition = media.disposition(blob.content_type, blob.filename)
        query = {} if disposition == "inline" else {"response-content-disposition": disposition}
        if seconds is None:
            query["response-cache-control"] = f"private, max-age={self._settings.url_window_seconds}"
        store = self._accounts.store(tenant, blob.account)
        return store.sign("GET", blob.bucket, blob.object_key, now=now, seconds=valid, query=query)

    def write(self, tenant: str, blob: Blob, chunks: Iterable[bytes], size: int) -> Blob:
        """Bytes that come through the server: streamed, hashed, and back as an available row to put.

        The row is committed as pending, with its key and a lease, before the first byte.
        """
        now = self._clock()
        blob = blob.with_(object_key=_fresh_key(), lease_until=now + self._settings.upload_seconds * SECOND)
        self._store.write(tenant, lambda transaction: transaction.put_blob(blob.with_(version=None)))
        digest = Digest()
        try:
            store = self._accounts.store(tenant, blob.account)
            info = store.put(
                blob.bucket, blob.object_key, digest.watch(chunks), size=size, content_type=blob.content_type
            )
            reason = mismatch(blob, size, digest)
            if reason:
                raise Unprocessable(reason)
        except BaseException:
            self.abandon(tenant, blob)
            raise
        return completed(blob, info, digest, now)

    def abandon(self, tenant: str, blob: Blob) -> None:
        """Erase bytes whose resource was not stored; nothing happens where it was after all."""

        def work(transaction: Transaction) -> None:
            known = transaction.blob_by_id(blob.id)
            if known is None:  # it was taken away meanwhile: see erasure.forget
                give_up_object(transaction, blob, not_before=self._clock())
            elif known.state in UNFINISHED:
                self.discard(transaction, known, now=self._clock())

        self._store.write(tenant, work)

    def complete(self, tenant: str, blob_id: str, *, at_once_limit: int | None) -> Blob:
        """The row after one look at what has been uploaded.

        Still pending where nothing is there; verifying where it is larger than the limit, or somebody
        else is at it: the worker goes on with those. Rejected where what was to be verified is gone.
        """
        blob = self._known(tenant, blob_id)
        if blob.state not in UNFINISHED or not blob.pending_key:
            return blob
        store = self._accounts.store(tenant, blob.account)
        info = store.head(blob.bucket, blob.pending_key)
        if info is None:
            return self._not_there(tenant, blob_id)
        if at_once_limit is not None and info.size > at_once_limit:
            return self._schedule(tenant, blob)
        leased, is_ours = self._lease(tenant, blob)
        if is_ours:
            return self._verify(tenant, leased, info)
        return leased.with_(state="verifying") if leased.state in UNFINISHED else leased

    def has_arrived(self, tenant: str, blob: Blob) -> bool:
        """Whether there is something to complete; nothing is changed."""
        store = self._accounts.store(tenant, blob.account)
        return bool(blob.pending_key) and store.head(blob.bucket, blob.pending_key) is not None

    def read_all(self, tenant: str, blob: Blob) -> bytes:
        with closing(self.open(tenant, blob)) as download:
            return b"".join(download.chunks())

    def open(self, tenant: str, blob: Blob, *, start: int = 0, end: int | None = None) -> Download:
        """NotFound where the object is gone, though its row is there."""
        download = self._accounts.store(tenant, blob.account).open(blob.bucket, blob.object_key, start=start, end=end)
        if download is None:
            raise NotFound(f"The bytes of Binary/{blob.binary_id} are not in S3.")
        return download

    def delete(self, transaction: Transaction, binary_id: str, *, now: int) -> None:
        """All bytes of the Binary, in the transaction that deletes it and has locked it."""
        for blob in transaction.blobs_of(binary_id):
            if blob.state not in ("deleting", "deleted"):
                self._erase(transaction, blob, now=now, after=now + self._settings.restore_seconds * SECOND)

    def discard(self, transaction: Transaction, blob: Blob, *, now: int) -> None:
        """An upload that is not wanted any more: its bytes go at once."""
        self._erase(transaction, blob, now=now, after=now)

    def run_due(self, limit: int) -> int:
        """Do up to `limit` tasks of the outbox; how many were due."""
        tasks = self._store.claim(("erase", "verify"), now=self._clock(), lease=_LEASE, limit=limit)
        for task in tasks:
            self._run(task)
        return len(tasks)

    def _run(self, task: Task) -> None:
        try:
            _HANDLERS[task.kind](self, task.tenant, json.loads(task.payload))
        except NotFound:
            self._store.finish(task)
        except FhirError as error:
            wait = min(_BACKOFF * 2 ** min(task.attempts, 10), 3600 * SECOND)
            self._store.postpone(task, not_before=self._clock() + wait, error=str(error))
        else:
            self._store.finish(task)

    def _run_verify(self, tenant: str, payload: dict[str, str]) -> None:
        blob = self.complete(tenant, payload["blob"], at_once_limit=None)
        if blob.state == "verifying":
            raise Conflict("The upload is being verified by somebody else.")

    def _known(self, tenant: str, blob_id: str) -> Blob:
        with self._store.read(tenant) as reader:
            blob = reader.blob_by_id(blob_id)
        if blob is None:
            raise NotFound("The upload is not known.")
        return blob

    def _extend(self, tenant: str, blob: Blob, expires: int) -> None:
        """`upload_until` goes further than needed, so that reading an upload again and again seldom writes."""

        def work(transaction: Transaction) -> None:
            transaction.lock_binary(blob.binary_id)
            known = transaction.blob_by_id(blob.id)
            if known is not None and known.state in UNFINISHED and known.upload_until < expires:
                transaction.put_blob(known.with_(upload_until=expires + longest_url(self._settings)))

        self._store.write(tenant, work)

    def _window(self, seconds: int | None, promised: int) -> tuple[int, int]:
        """When a URL is signed and for how long: whoever asks for seconds gets just those, from now on."""
        now = self._clock()
        if seconds is not None:
            return now, seconds
        window = self._settings.url_window_seconds * SECOND
        return now // window * window, promised + self._settings.url_window_seconds

    def _schedule(self, tenant: str, blob: Blob) -> Blob:
        """Leave a large upload to the worker."""

        def work(transaction: Transaction) -> Blob:
            transaction.lock_binary(blob.binary_id)
            known = transaction.blob_by_id(blob.id)
            if known is None or known.state != "pending":
                return known or blob
            verifying = known.with_(state="verifying")
            transaction.put_blob(verifying)
            transaction.enqueue(Task("verify", json.dumps({"blob": blob.id})))
            return verifying

        return self._store.write(tenant, work)

    def _lease(self, tenant: str, blob: Blob) -> tuple[Blob, bool]:
        """The row with a fresh object key, ours for a while; as it is and False where somebody else has it."""
        now = self._clock()

        def work(transaction: Transaction) -> tuple[Blob, bool]:
            transaction.lock_binary(blob.binary_id)
            known = transaction.blob_by_id(blob.id) or blob.with_(state="deleted")
            if known.state not in UNFINISHED or known.lease_until > now:
                return known, False
            give_up_object(transaction, known, not_before=now + _LEASE)
            leased = known.with_(object_key=_fresh_key(), lease_until=now + _LEASE)
            transaction.put_blob(leased)
            return leased, True

        return self._store.write(tenant, work)

    def _not_there(self, tenant: str, blob_id: str) -> Blob:
        """The row as it is now. What was seen once may come again as long as a URL to upload it is good."""
        now, known = self._clock(), self._known(tenant, blob_id)
        if known.state != "verifying" or max(known.upload_until, known.lease_until) > now:
            return known
        return self._commit(tenant, known, known.with_(state="rejected", reason=VANISHED))

    def _verify(self, tenant: str, blob: Blob, info: ObjectInfo) -> Blob:
        """Hash what is there under its ETag, copy just that, and commit; the lease is given back on failure."""
        store = self._accounts.store(tenant, blob.account)
        try:
            download = store.open(blob.bucket, blob.pending_key, if_match=info.etag)
            if download is None:
                raise Conflict("The upload was taken away meanwhile.")
            digest = Digest()
            digest.read(download)
            reason = mismatch(blob, info.size, digest)
            if reason:
                return self._commit(tenant, blob, blob.with_(state="rejected", reason=reason, lease_until=0))
            copied = store.copy(
                blob.bucket,
                blob.pending_key,
                blob.object_key,
                etag=info.etag,
                size=info.size,
                content_type=blob.content_type,
            )
        except FhirError:
            self._give_back(tenant, blob)
            raise
        return self._commit(tenant, blob, completed(blob, copied, digest, self._clock()))

    def _commit(self, tenant: str, leased: Blob, done: Blob) -> Blob:
        """The outcome, if the lease is still ours and the Binary still there; else our copy goes."""
        now = self._clock()

        def work(transaction: Transaction) -> Blob:
            transaction.lock_binary(leased.binary_id)
            known = transaction.blob_by_id(leased.id)
            known = known or leased.with_(state="deleted")
            if known.state not in UNFINISHED or known.object_key != leased.object_key:
                give_up_object(transaction, leased, not_before=now)
                return known
            is_next = done.state == "available" and done.version is None
            outcome = self._promoted(tenant, transaction, done) if is_next else done
            transaction.put_blob(outcome)
            give_up_pending(transaction, self._settings, leased, now)
            if outcome.state != "available":
                give_up_object(transaction, leased, not_before=now)
            return outcome

        return self._store.write(tenant, work)

    def _promoted(self, tenant: str, transaction: Transaction, done: Blob) -> Blob:
        try:
            return self._promote(tenant, transaction, done)
        except Gone:
            return done.with_(state="deleted", reason="The Binary was deleted before its upload was completed.")

    def _give_back(self, tenant: str, leased: Blob) -> None:
        def work(transaction: Transaction) -> None:
            known = transaction.blob_by_id(leased.id)
            if known is not None and known.object_key == leased.object_key and known.state in UNFINISHED:
                transaction.put_blob(known.with_(lease_until=0))

        self._store.write(tenant, work)

    def _erase(self, transaction: Transaction, blob: Blob, *, now: int, after: int) -> None:
        transaction.put_blob(blob.with_(state="deleting"))
        give_up_object(transaction, blob, not_before=after, ends=True)
        if blob.pending_key:
            give_up_pending(transaction, self._settings, blob, now, ends=not blob.object_key)


_HANDLERS: dict[str, Callable[[Lifecycle, str, dict[str, str]], None]] = {
    "erase": lambda life, tenant, payload: erase(life._store, life._accounts, tenant, payload),
    "verify": Lifecycle._run_verify,
}


def _fresh_key() -> str:
    return OBJECTS + secrets.token_hex(16)
