"""Erasing objects: a task of the outbox, written with the row that gives the object up and done after it."""

from __future__ import annotations

import json

from fhir_blob.blobs import OBJECTS, Accounts
from fhir_blob.settings import Settings
from fhir_blob.store import Blob, BlobState, Reader, ResourceStore, Task, Transaction

SECOND = 1_000_000
# Rows whose bytes may still come.
UNFINISHED: tuple[BlobState, ...] = ("pending", "verifying")


def longest_url(settings: Settings) -> int:
    """How long a PUT URL that is signed now is good for at most, if nobody asks for more (microseconds)."""
    return (settings.put_url_seconds + settings.url_window_seconds) * SECOND


def give_up_pending(transaction: Transaction, settings: Settings, blob: Blob, now: int, *, ends: bool = False) -> None:
    """Now, and again when no URL can be replayed and no upload begun before can still be running."""
    last_url = max(blob.upload_until, now + longest_url(settings))
    transaction.enqueue(erasing(blob, blob.pending_key, not_before=now, ends=ends))
    transaction.enqueue(erasing(blob, blob.pending_key, not_before=last_url + settings.upload_seconds * SECOND))


def give_up_object(transaction: Transaction, blob: Blob, *, not_before: int, ends: bool = False) -> None:
    """What the server wrote for the row, if it ever did."""
    if blob.object_key:
        transaction.enqueue(erasing(blob, blob.object_key, not_before=not_before, ends=ends))


def forget(transaction: Transaction, settings: Settings, blob: Blob, now: int) -> None:
    """The row goes at once and for good, and what its keys name as soon as S3 lets it.

    Whoever is writing to a key just now ends with its lease, so that key is erased then too. The caller has
    locked the Binary.
    """
    give_up_object(transaction, blob, not_before=now)
    if blob.state in UNFINISHED and blob.lease_until > now:
        give_up_object(transaction, blob, not_before=blob.lease_until)
    if blob.pending_key:
        give_up_pending(transaction, settings, blob, now)
    transaction.drop_blob(blob.id)


def erasing(blob: Blob, key: str, *, not_before: int, ends: bool = False) -> Task:
    """`ends`: with this object the row's life is over. What the server was writing may have come in parts."""
    payload = {"account": blob.account, "bucket": blob.bucket, "key": key} | ({"blob": blob.id} if ends else {})
    if blob.state in UNFINISHED and key.startswith(OBJECTS):
        payload["parts"] = "1"
    return Task("erase", json.dumps(payload), not_before)


def erase(store: ResourceStore, accounts: Accounts, tenant: str, payload: dict[str, str]) -> None:
    """Do such a task, unless a row needs the object after all."""
    account, bucket, key = payload["account"], payload["bucket"], payload["key"]
    with store.read(tenant) as reader:
        is_wanted = _is_wanted(reader, account, bucket, key)
    if not is_wanted:
        objects = accounts.store(tenant, account)
        objects.delete(bucket, key)
        for each in objects.multipart_uploads(bucket, key) if payload.get("parts") else ():
            if each.key == key:
                objects.abort(bucket, each)
    blob_id = payload.get("blob", "")
    if blob_id:
        store.write(tenant, lambda transaction: _mark_deleted(transaction, blob_id))


def _is_wanted(reader: Reader, account: str, bucket: str, key: str) -> bool:
    """A file name may be uploaded again, and a row made available, after their erasing was written down."""
    uploaded = reader.blob_by_pending_key(account, bucket, key)
    kept = reader.blob_by_object_key(account, bucket, key)
    return (uploaded is not None and uploaded.state in UNFINISHED) or (kept is not None and kept.state == "available")


def _mark_deleted(transaction: Transaction, blob_id: str) -> None:
    blob = transaction.blob_by_id(blob_id)
    if blob is not None and blob.state == "deleting":
        transaction.put_blob(blob.with_(state="deleted"))
