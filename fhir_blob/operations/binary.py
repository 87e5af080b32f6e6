"""The operations on a Binary: $complete and $presigned-url (profiles/OperationDefinition-*.json)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fhir_blob.blobs import SignedUrl
from fhir_blob.blobs.signing import LONGEST_URL
from fhir_blob.errors import BadParameter, Conflict, NotFound, Unprocessable
from fhir_blob.fhir import codec
from fhir_blob.interactions import Answer, Context, binary, instant, read
from fhir_blob.store import Blob


def complete(context: Context, id: str) -> Answer:
    """`$complete`: 200 with the Binary once its upload is verified, 202 while it still is being.

    Conflict where nothing has been uploaded, Unprocessable where it was not what had been declared.
    """
    with context.services.store.read(context.tenant) as reader:
        version = read.current(reader, "Binary", id)
        blob = reader.offered(id) or reader.blob(id, version.version)
    if blob is None:
        raise Conflict(f"Binary/{id} has no upload to complete.")
    limit = context.services.settings.complete_at_once
    if blob.state == "pending":
        blob = context.services.lifecycle.complete(context.tenant, blob.id, at_once_limit=limit)
    if blob.state == "pending":
        raise Conflict(f"Nothing has been uploaded for Binary/{id} yet.")
    if blob.state == "rejected":
        raise Unprocessable(f"The upload for Binary/{id} was rejected: {blob.reason}")
    answer = read.read(context, "Binary", id)
    return replace(answer, status=202) if blob.state == "verifying" else answer


def presigned_url(context: Context, id: str, *, upload: bool, seconds: int | None) -> Answer:
    """`$presigned-url`: Parameters with url, expires and the headers that go with it."""
    if seconds is not None and not 1 <= seconds <= LONGEST_URL:
        raise BadParameter(f"expiration takes 1 to {LONGEST_URL} seconds, not {seconds}.")
    signed = _upload_url(context, id, seconds) if upload else _download_url(context, id, seconds)
    parameters: list[dict[str, Any]] = [
        {"name": "url", "valueUrl": signed.url},
        {"name": "expires", "valueInstant": instant(signed.expires)},
    ]
    parameters += [{"name": "header", "valueString": f"{name}: {value}"} for name, value in signed.headers]
    return Answer(200, codec.dump({"resourceType": "Parameters", "parameter": parameters}), signed=True)


def _upload_url(context: Context, id: str, seconds: int | None) -> SignedUrl:
    blob = binary.offer_next(context, id)
    lifecycle = context.services.lifecycle
    return lifecycle.signed_put(context.tenant, blob, bind_content_type=context.bind_content_type, seconds=seconds)


def _download_url(context: Context, id: str, seconds: int | None) -> SignedUrl:
    return context.services.lifecycle.signed_get(context.tenant, available(context, id), seconds=seconds)


def available(context: Context, id: str) -> Blob:
    """The bytes of the current version; NotFound while there are none."""
    with context.services.store.read(context.tenant) as reader:
        version = read.current(reader, "Binary", id)
        blob = reader.blob(id, version.version)
    if blob is not None and blob.state == "pending":
        limit = context.services.settings.complete_at_once
        blob = context.services.lifecycle.complete(context.tenant, blob.id, at_once_limit=limit)
    if blob is None or blob.state != "available":
        raise NotFound(f"Binary/{id} has no bytes yet: it is {blob.state if blob else 'empty'}.")
    return blob
