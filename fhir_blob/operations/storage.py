"""Aidbox's door: presigned URLs for a file name in an account's bucket.

What is uploaded here is a Binary of its uploader, with its whole life cycle. The PUT URL names the
file; once completed, the bytes are a copy under a key that no URL can write to.
Source: https://www.health-samurai.io/docs/aidbox/storage-1/s3-compatible-storages/aws-s3
"""

from __future__ import annotations

import mimetypes
import re

from fhir_blob.blobs import RESERVED, BlobStore, SignedUrl
from fhir_blob.blobs.signing import LONGEST_URL
from fhir_blob.errors import BadParameter, Conflict, NotFound
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Context, drafts
from fhir_blob.interactions.delete import delete_in
from fhir_blob.store import Blob, Transaction

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def upload_url(context: Context, account: str, bucket: str, filename: str, seconds: int) -> SignedUrl:
    """A PUT URL for the file. One upload of a name at a time: a pending one is offered again."""
    _checked(context, account, bucket, filename)
    _check_seconds(seconds)
    blob = context.services.store.write(
        context.tenant, lambda transaction: _pending(context, transaction, account, bucket, filename, seconds)
    )
    return context.services.lifecycle.signed_put(context.tenant, blob, seconds=seconds)


def download_url(context: Context, account: str, bucket: str, filename: str, seconds: int) -> SignedUrl:
    """A GET URL for what was uploaded under the name; NotFound where nothing was, or not through here."""
    _checked(context, account, bucket, filename)
    _check_seconds(seconds)
    blob = _known(context, account, bucket, filename)
    if blob.state == "pending":
        limit = context.services.settings.complete_at_once
        blob = context.services.lifecycle.complete(context.tenant, blob.id, at_once_limit=limit)
    if blob.state != "available":
        raise NotFound(f"{filename[:200]!r} has no bytes: it is {blob.state}.")
    return context.services.lifecycle.signed_get(context.tenant, blob, seconds=seconds)


def delete_url(context: Context, account: str, bucket: str, filename: str, seconds: int) -> SignedUrl:
    """Deletes the file's Binary, and gives a URL that erases at once what stands under the name."""
    store = _checked(context, account, bucket, filename)
    _check_seconds(seconds)
    blob, now = _known(context, account, bucket, filename), context.services.clock()
    context.services.store.write(
        context.tenant, lambda transaction: delete_in(context, transaction, "Binary", blob.binary_id, now=now)
    )
    return store.sign("DELETE", bucket, filename, now=now, seconds=seconds)


def _pending(
    context: Context, transaction: Transaction, account: str, bucket: str, filename: str, seconds: int
) -> Blob:
    until = context.services.clock() + seconds * 1_000_000
    known = transaction.blob_by_pending_key(account, bucket, filename)
    if known is not None and known.state == "pending":
        if known.creator != context.principal.name:
            raise Conflict(f"{filename[:200]!r} is being uploaded by somebody else.")
        blob = known.with_(upload_until=max(known.upload_until, until))
        transaction.put_blob(blob)
        return blob
    now, binary_id = context.services.clock(), context.services.new_id()
    content_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    blob = context.services.lifecycle.offer(
        binary_id=binary_id,
        version=1,
        content_type=content_type,
        creator=context.principal.name,
        filename=filename,
        account=account,
        bucket=bucket,
        pending_key=filename,
    ).with_(upload_until=until)
    resource = {"resourceType": "Binary", "contentType": content_type}
    drafted = drafts.binary_draft(context, resource, binary_id, Link(binary_id, 1))
    transaction.put(drafted.version(1, now, "POST"), drafted.entries, expected=None)
    transaction.put_blob(blob)
    return blob


def _known(context: Context, account: str, bucket: str, filename: str) -> Blob:
    with context.services.store.read(context.tenant) as reader:
        blob = reader.blob_by_pending_key(account, bucket, filename)
    if blob is None or not blob.filename:
        raise NotFound(f"{filename[:200]!r} is not known in {account}/{bucket}.")
    return blob


def _checked(context: Context, account: str, bucket: str, filename: str) -> BlobStore:
    """The account's store. BadParameter for a name that S3 would not keep, or that is the server's own."""
    store = context.services.accounts.store(context.tenant, account)
    if not filename or len(filename.encode()) > 900 or _CONTROL.search(filename) or filename.endswith("/"):
        raise BadParameter(
            f"filename cannot be {filename[:200]!r}: it takes 1 to 900 bytes without control characters."
        )
    if filename.startswith(RESERVED) or any(part in ("", ".", "..") for part in filename.split("/")):
        raise BadParameter(f"filename cannot be {filename[:200]!r}: that part of the bucket is the server's own.")
    return store


def _check_seconds(seconds: int) -> None:
    if not 1 <= seconds <= LONGEST_URL:
        raise BadParameter(f"expiration takes 1 to {LONGEST_URL} seconds, not {seconds}.")
