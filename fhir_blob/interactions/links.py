"""Which Binary an Attachment.url stands for: a Binary's own URL, or a URL of its object in S3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fhir_blob.blobs import ObjectKey
from fhir_blob.fhir import attachments, codec
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Context
from fhir_blob.store import Blob, Reader, Version

_BINARY = re.compile(r"Binary/([A-Za-z0-9.-]{1,64})(?:/_history/([1-9][0-9]{0,17}))?\Z")


# Binaries that come in the same transaction, by id: their bytes, None where those are not decided yet.
Coming = Mapping[str, Blob | None]
NOTHING: Coming = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL stands for: `url` is what is stored, `blobs` are its bytes, the ones meant last.

    `by_object`: the URL named the object in S3, not the Binary. `kept`: of size and hash those that
    the client said itself in the prior version.
    """

    link: Link
    url: str
    blobs: tuple[Blob, ...] = ()
    by_object: bool = False
    kept: frozenset[str] = frozenset()


class Links:
    """Reads the URLs of one resource, beside what its prior version said of the same Binaries."""

    def __init__(self, context: Context, prior: Version | None, coming: Coming = NOTHING) -> None:
        self._context = context
        self._prior = prior
        self._coming = coming

    def of(self, url: str) -> Target | None:
        """None where the URL is none of ours, or of an object of unknown origin."""
        with self._context.services.store.read(self._context.tenant) as reader:
            found = self._local(reader, url) or self._object(reader, url)
        if found is None:
            return None
        before = self._before(found)
        return found if before is None else replace(before, blobs=found.blobs)

    def with_hash(self, sha1: str) -> Target | None:
        """The prior version's Attachment whose bytes have that base64 SHA-1."""
        known = list(self._known())
        if not known:
            return None
        with self._context.services.store.read(self._context.tenant) as reader:
            blobs = reader.blobs([(each.link.binary_id, each.link.version) for each in known])
        matching = (each for each in known if _sha1(blobs.get((each.link.binary_id, each.link.version))) == sha1)
        return next(matching, None)

    def _local(self, reader: Reader, url: str) -> Target | None:
        match = _BINARY.match(url.removeprefix(self._context.base).removeprefix("/"))
        if match is None:
            return None
        binary_id, version = match[1], int(match[2]) if match[2] else None
        current = reader.current("Binary", binary_id)
        if version is None and binary_id in self._coming:
            coming = filter(None, (self._coming[binary_id],))
            return Target(Link(binary_id, None), url, (*_bytes(reader, binary_id, None), *coming))
        if current is None or (version or 0) > current.version:
            return None
        return Target(Link(binary_id, version), url, _bytes(reader, binary_id, version))

    def _object(self, reader: Reader, url: str) -> Target | None:
        keys = self._context.services.accounts.locate(self._context.tenant, url)
        blob = next(filter(None, (_blob_at(reader, key) for key in keys)), None)
        if blob is None:
            return None
        bare = url.partition("?")[0] if blob.filename else f"Binary/{blob.binary_id}/_history/{blob.version or 1}"
        version = None if blob.filename else blob.version
        return Target(Link(blob.binary_id, version), bare, (blob,), by_object=True)

    def _before(self, found: Target) -> Target | None:
        """The same Binary in the prior version: its URL may have been answered as a presigned one."""
        wanted = found.link
        same = [each for each in self._known() if each.link.binary_id == wanted.binary_id]
        exact = (each for each in same if each.link.version == wanted.version)
        followed = (each for each in same if each.link.version is None and found.by_object)
        return next(exact, None) or next(followed, None)

    def _known(self) -> Iterator[Target]:
        if self._prior is None or self._prior.slots is None:
            return
        for slot in attachments.decode(self._prior.slots):
            attachment = codec.parse(self._prior.body[slot.start : slot.end])
            yield Target(slot.link, attachment.get("url", ""), kept=frozenset(attachment) & _FILLED_IN)


def _blob_at(reader: Reader, at: ObjectKey) -> Blob | None:
    found = reader.blob_by_object_key(at.account, at.bucket, at.key)
    return found or reader.blob_by_pending_key(at.account, at.bucket, at.key)


def _bytes(reader: Reader, binary_id: str, version: int | None) -> tuple[Blob, ...]:
    if version is not None:
        blob = reader.blob(binary_id, version)
        return () if blob is None else (blob,)
    return tuple(blob for blob in reader.blobs_of(binary_id) if blob.version is not None and blob.state in _USABLE)


# What answers add to an Attachment from its blob.
_FILLED_IN = frozenset({"size", "hash"})
_USABLE = {"pending", "verifying", "available"}


def _sha1(blob: Blob | None) -> str:
    return "" if blob is None else blob.sha1
