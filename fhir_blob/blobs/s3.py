"""BlobStore on any S3: AWS, MinIO, SeaweedFS, Ceph, R2. The one module that knows boto3.

Checksums are sent only where S3 demands them, since not every server knows the newer ones. Writes
above one part go up in parts, so memory stays flat; a write that fails leaves no part behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from fhir_blob.blobs import PENDING, Download, ObjectInfo, SignedUrl
from fhir_blob.blobs.signing import Credentials, Endpoint, presign
from fhir_blob.errors import BodyTruncated, Conflict, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_PART = 8 * 1024 * 1024
_MOST_PARTS = 10_000
_COPY_LIMIT = 5 * 1024**3
_COPY_PART = 512 * 1024 * 1024
_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload"}
_CHANGED = {"412", "PreconditionFailed"}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "501", "405"}


class S3BlobStore:
    """One account; `credentials` None: whatever boto3 finds (role, profile, environment)."""

    def __init__(
        self,
        account: str,
        *,
        endpoint: str,
        public_endpoint: str,
        region: str,
        bucket: str,
        credentials: Credentials | None,
        path_style: bool,
        timeout: float,
        connections: int = 10,
    ) -> None:
        self.account, self.bucket = account, bucket
        self._endpoint, self._region, self._timeout = endpoint, region, timeout
        self._credentials, self._path_style, self._connections = credentials, path_style, connections
        public = public_endpoint or endpoint or f"https://s3.{region}.amazonaws.com"
        self.public = Endpoint.of(public, region, path_style=path_style)
        self._versioned: dict[str, bool] = {}
        self._has_written = False
        self._lock = Lock()

    def sign(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        now: int,
        seconds: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> SignedUrl:
        url = presign(
            self.public,
            self._current_credentials(),
            method,
            bucket,
            key,
            now=now,
            seconds=seconds,
            headers=headers or {},
            query=query or {},
        )
        return SignedUrl(url, now // 1_000_000 * 1_000_000 + seconds * 1_000_000, tuple((headers or {}).items()))

    def ensure_bucket(self, cors_origins: Sequence[str]) -> None:
        bucket = self.bucket
        if self._found(lambda: self._client.head_bucket(Bucket=bucket)) is None:
            place: Any = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            more = {} if self._region == "us-east-1" or self._endpoint else place
            self._do(lambda: self._client.create_bucket(Bucket=bucket, **more), but={"BucketAlreadyOwnedByYou"})
        rule: Any = {
            "AllowedOrigins": list(cors_origins) or ["*"],
            "AllowedMethods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "Content-Length", "Content-Range", "Accept-Ranges"],
            "MaxAgeSeconds": 3000,
        }
        rules: Any = {"CORSRules": [rule]}
        self._do(lambda: self._client.put_bucket_cors(Bucket=bucket, CORSConfiguration=rules), but=_UNKNOWN)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        found = self._found(lambda: self._client.head_object(Bucket=bucket, Key=key))
        return None if found is None else _info(key, found)

    def open(
        self, bucket: str, key: str, *, start: int = 0, end: int | None = None, if_match: str | None = None
    ) -> Download | None:
        more: Any = {"IfMatch": if_match} if if_match else {}
        if start or end is not None:
            more["Range"] = f"bytes={start}-{'' if end is None else end}"
        found = self._found(lambda: self._client.get_object(Bucket=bucket, Key=key, **more))
        return None if found is None else _Download(self, _info(key, found), found)

    def put(self, bucket: str, key: str, chunks: Iterable[bytes], *, size: int, content_type: str) -> ObjectInfo:
        parts = _parts(chunks, size, max(_PART, -(-size // _MOST_PARTS)))
        if size <= _PART:
            body = next(parts, b"")
            found: Any = self._do(
                lambda: self._client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
            )
            return ObjectInfo(key, size, found["ETag"], content_type, found.get("VersionId", ""))
        return self._in_parts(
            bucket,
            key,
            content_type,
            size,
            lambda upload: (
                self._do(
                    lambda: self._client.upload_part(
                        Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part
                    )
                )["ETag"]
                for number, part in enumerate(parts, 1)
            ),
        )

    def copy(self, bucket: str, source: str, target: str, *, etag: str, size: int, content_type: str) -> ObjectInfo:
        origin: Any = {"Bucket": bucket, "Key": source}
        if size <= _COPY_LIMIT:
            found: Any = self._do(
                lambda: self._client.copy_object(
                    Bucket=bucket,
                    Key=target,
                    CopySource=origin,
                    CopySourceIfMatch=etag,
                    MetadataDirective="REPLACE",
                    ContentType=content_type,
                )
            )
            return ObjectInfo(target, size, found["CopyObjectResult"]["ETag"], content_type, found.get("VersionId", ""))
        return self._in_parts(
            bucket,
            target,
            content_type,
            size,
            lambda upload: (
                self._do(
                    lambda: self._client.upload_part_copy(
                        Bucket=bucket,
                        Key=target,
                        UploadId=upload,
                        PartNumber=number,
                        CopySource=origin,
                        CopySourceIfMatch=etag,
                        CopySourceRange=f"bytes={start}-{min(start + _COPY_PART, size) - 1}",
                    )
                )["CopyPartResult"]["ETag"]
                for number, start in enumerate(range(0, size, _COPY_PART), 1)
            ),
        )

    def delete(self, bucket: str, key: str) -> None:
        if not self._is_versioned(bucket):
            self._do(lambda: self._client.delete_object(Bucket=bucket, Key=key), but=_MISSING)
            return
        page: Any = self._do(lambda: self._client.list_object_versions(Bucket=bucket, Prefix=key))
        for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if each["Key"] == key:
                version = each["VersionId"]
                self._do(
                    lambda version=version: self._client.delete_object(Bucket=bucket, Key=key, VersionId=version),
                    but=_MISSING,
                )

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        token: Any = {}
        while True:
            page: Any = self._do(
                lambda token=token: self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
            )
            for each in page.get("Contents", ()):
                modified = int(each["LastModified"].timestamp() * 1_000_000)
                yield ObjectInfo(each["Key"], each["Size"], each["ETag"], modified=modified)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def ping(self) -> None:
        """The first one writes: SeaweedFS reads some seconds before it takes anything."""
        if not self._has_written:
            self._do(lambda: self._client.put_object(Bucket=self.bucket, Key=f"{PENDING}probe", Body=b"1"))
            self._has_written = True
        self._do(lambda: self._client.head_bucket(Bucket=self.bucket))

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def _client(self) -> S3Client:
        import boto3  # heavy, and not needed to sign
        from botocore.config import Config

        given = self._credentials
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if self._path_style else "virtual"},
            connect_timeout=min(self._timeout, 5),
            read_timeout=self._timeout,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=self._connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with self._lock:
            return boto3.session.Session().client(
                "s3",
                endpoint_url=self._endpoint or None,
                region_name=self._region,
                aws_access_key_id=given.access_key if given else None,
                aws_secret_access_key=given.secret_key if given else None,
                aws_session_token=(given.token or None) if given else None,
                config=config,
            )

    def _current_credentials(self) -> Credentials:
        if self._credentials is not None:
            return self._credentials
        found = self._client._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined]
        return Credentials(found.access_key, found.secret_key, found.token or "")

    def _is_versioned(self, bucket: str) -> bool:
        if bucket not in self._versioned:
            found: Any = self._do(lambda: self._client.get_bucket_versioning(Bucket=bucket), but=_UNKNOWN) or {}
            self._versioned[bucket] = bool(found.get("Status"))
        return self._versioned[bucket]

    def _in_parts(
        self, bucket: str, key: str, content_type: str, size: int, etags: Callable[[str], Iterable[str]]
    ) -> ObjectInfo:
        """A multipart upload of the parts whose ETags are given; aborted when one of them fails."""
        begun: Any = self._do(
            lambda: self._client.create_multipart_upload(Bucket=bucket, Key=key, ContentType=content_type)
        )
        upload = begun["UploadId"]
        try:
            made: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags(upload), 1)]
            done: Any = self._do(
                lambda: self._client.complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": made}
                )
            )
        except BaseException:
            self._do(
                lambda: self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload), but=_MISSING
            )
            raise
        return ObjectInfo(key, size, done["ETag"], content_type, done.get("VersionId", ""))

    def _found(self, call: Callable[[], T]) -> T | None:
        return self._do(call, but=_MISSING)

    def _do(self, call: Callable[[], T], *, but: set[str] | frozenset[str] = frozenset()) -> Any:
        """The call's result, None for the error codes of `but`; what S3 cannot do now is Unavailable."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in but:
                return None
            if code in _CHANGED:
                raise Conflict("The object in S3 has changed meanwhile.") from error
            raise Unavailable(f"The S3 account {self.account!r} answers {code or 'an error'}.") from error
        except BotoCoreError as error:
            raise Unavailable(f"The S3 account {self.account!r} is out of reach.") from error


class _Download:
    """An object being read."""

    def __init__(self, store: S3BlobStore, info: ObjectInfo, found: Any) -> None:
        self.info = info
        self.length: int = found["ContentLength"]
        self._store, self._body = store, found["Body"]

    def chunks(self, size: int = 262_144) -> Iterator[bytes]:
        left = self.length
        while left > 0:
            chunk: bytes = self._store._do(lambda: self._body.read(min(size, left)))
            if not chunk:
                raise Unavailable("S3 ended an object early.")
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._body.close()


def _parts(chunks: Iterable[bytes], size: int, length: int) -> Iterator[bytes]:
    """The same bytes in parts of that length; BodyTruncated where they are not `size` bytes."""
    buffer, total = bytearray(), 0
    for chunk in chunks:
        total += len(chunk)
        buffer += chunk
        while len(buffer) >= length and total < size:
            yield bytes(buffer[:length])
            del buffer[:length]
    if total != size:
        raise BodyTruncated(f"The body has {total} bytes, not the {size} that were announced.")
    if buffer:
        yield bytes(buffer)


def _info(key: str, found: Any) -> ObjectInfo:
    total = found.get("ContentRange", "").rpartition("/")[2]
    return ObjectInfo(
        key,
        int(total) if total.isdigit() else found["ContentLength"],
        found["ETag"],
        found.get("ContentType", ""),
        found.get("VersionId", ""),
        int(found["LastModified"].timestamp() * 1_000_000) if "LastModified" in found else 0,
    )
