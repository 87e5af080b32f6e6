"""BlobStore: objects in one S3 account, and the presigned URLs that let clients reach them.

This page is the contract; s3.py keeps it through boto3, signing.py makes the URLs by arithmetic,
lifecycle.py takes bytes from upload to erasure, accounts.py says which account an object is in.

A store out of reach, or not answering in time, is Unavailable. No method logs or raises a URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# Keys that the server alone writes: where uploads arrive, and where completed bytes stay.
PENDING, OBJECTS = "pending/", "objects/"
RESERVED = (PENDING, OBJECTS)


@dataclass(frozen=True, slots=True)
class ObjectKey:
    account: str
    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A presigned URL; `headers` are those the client must send with it, `expires` is in microseconds."""

    url: str
    expires: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What S3 says of an object; etag is quoted as S3 sends it; modified in microseconds."""

    key: str
    size: int
    etag: str
    content_type: str = ""
    version: str = ""
    modified: int = 0


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload in parts that was neither completed nor aborted; begun in microseconds."""

    key: str
    id: str
    begun: int


class Download(Protocol):
    """An object being read: `info`, the bytes of the range asked for, `close()` when done or given up."""

    @property
    def info(self) -> ObjectInfo: ...

    @property
    def length(self) -> int:
        """How many bytes `chunks` gives."""

    def chunks(self, size: int = 262_144) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class BlobStore(Protocol):
    """One S3 account. `bucket` is its default bucket."""

    @property
    def account(self) -> str: ...

    @property
    def bucket(self) -> str: ...

    def ensure_bucket(self, cors_origins: Sequence[str]) -> None:
        """Make the default bucket and its CORS rules where they are missing."""

    def sign(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        now: int,
        seconds: int,
        headers: Mapping[str, str] = ...,
        query: Mapping[str, str] = ...,
    ) -> SignedUrl:
        """A presigned URL on the public endpoint, signed at `now`; `headers` are bound into it."""

    def head(self, bucket: str, key: str) -> ObjectInfo | None: ...

    def open(
        self, bucket: str, key: str, *, start: int = 0, end: int | None = None, if_match: str | None = None
    ) -> Download | None:
        """Bytes start..end (inclusive) of the object; None where it is not there.

        Conflict where `if_match` does not hold.
        """

    def put(self, bucket: str, key: str, chunks: Iterable[bytes], *, size: int, content_type: str) -> ObjectInfo:
        """Write an object of exactly `size` bytes, in parts where it is large, memory flat.

        When `chunks` raises or ends early nothing is stored, and that error goes through.
        """

    def copy(self, bucket: str, source: str, target: str, *, etag: str, size: int, content_type: str) -> ObjectInfo:
        """Copy inside the bucket if the source still has that ETag (else Conflict); in parts above 5 GB."""

    def delete(self, bucket: str, key: str) -> None:
        """Erase the object, all its versions where the bucket keeps them; no error where it is not there."""

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]: ...

    def multipart_uploads(self, bucket: str, prefix: str) -> Iterator[MultipartUpload]:
        """Uploads in parts below the prefix that are not finished; where there are very many perhaps not all."""

    def abort(self, bucket: str, upload: MultipartUpload) -> None:
        """Give the upload up, and erase its parts; no error where it is not there."""

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Accounts(Protocol):
    """Every S3 account known: the configured default one and those made through /AwsAccount."""

    @property
    def default(self) -> BlobStore: ...

    def store(self, tenant: str, account: str) -> BlobStore:
        """The account's BlobStore; NotFound for an account unknown to the tenant."""

    def locate(self, tenant: str, url: str) -> tuple[ObjectKey, ...]:
        """The objects that a bare or presigned URL may name: one for each account that leads there."""

    def put(self, tenant: str, id: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Make or replace an AwsAccount: it without its secret, and whether it is new."""

    def get(self, tenant: str, id: str) -> dict[str, Any]: ...

    def delete(self, tenant: str, id: str) -> dict[str, Any]:
        """Conflict while bytes are in it."""
