"""What is known of an upload's bytes for having read them, against what had been declared."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing

from fhir_blob.blobs import Download, ObjectInfo
from fhir_blob.store import Blob

VANISHED = "The uploaded bytes were gone from S3 before they were verified."


class Digest:
    """SHA-1 as FHIR wants it and SHA-256 to prove it, of bytes as they pass."""

    def __init__(self) -> None:
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._sha1.update(chunk)
            self._sha256.update(chunk)
            yield chunk

    def read(self, download: Download) -> None:
        """All of it; it is closed afterwards."""
        with closing(download):
            for _ in self.watch(download.chunks()):
                pass

    @property
    def sha1(self) -> str:
        return base64.b64encode(self._sha1.digest()).decode()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def completed(blob: Blob, info: ObjectInfo, digest: Digest, now: int) -> Blob:
    """The row with what the object is, as it was read and not as it was declared."""
    return blob.with_(
        state="available",
        size=info.size,
        sha1=digest.sha1,
        sha256=digest.sha256,
        etag=info.etag,
        object_version=info.version,
        completed=now,
        lease_until=0,
    )


def mismatch(blob: Blob, size: int, digest: Digest) -> str:
    """Why the bytes are not those that had been declared; '' where they are."""
    if blob.declared_size is not None and blob.declared_size != size:
        return f"{blob.declared_size} bytes were declared, {size} came."
    if blob.declared_sha1 and blob.declared_sha1 != digest.sha1:
        return f"The hash {blob.declared_sha1[:60]!r} was declared, that of what came is {digest.sha1!r}."
    return ""
