"""BlobStore on any S3: AWS, MinIO, SeaweedFS, Ceph, R2. The one module that knows boto3.

Checksums are sent only where S3 demands them, since not every server knows the newer ones. Writes
above one part go up in parts, so memory stays flat; a write that fails leaves no part behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from fhir_blob.blobs import PENDING, Download, MultipartUpload, ObjectInfo, SignedUrl
from fhir_blob.blobs.signing import Credentials, Endpoint, presign
from fhir_blob.errors import BodyTruncated, Conflict, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PART = 8 * 1024 * 1024
_MOST_PARTS = 10_000
_VERSIONS = 1000
_COPY_LIMIT = 5 * 1024**3
_COPY_PART = 512 * 1024 * 1024
_PROBE = f"{PENDING}probe"
_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload"})
_THERE_ALREADY = frozenset({"BucketAlreadyOwnedByYou"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})


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
        self.public = Endpoint.of(public_endpoint or endpoint, region, path_style=path_style)
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
        if self._do("head_bucket", but=_MISSING, Bucket=bucket) is None:
            place = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            more = {} if self._region == "us-east-1" or self._endpoint else place
            self._do("create_bucket", but=_THERE_ALREADY, Bucket=bucket, **more)
        rule = {
            "AllowedOrigins": list(cors_origins) or ["*"],
            "AllowedMethods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "Content-Length", "Content-Range", "Accept-Ranges"],
            "MaxAgeSeconds": 3000,
        }
        self._do("put_bucket_cors", but=_UNKNOWN, Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        found = self._do("head_object", but=_MISSING, Bucket=bucket, Key=key)
        return None if found is None else _info(key, found)

    def open(
        self, bucket: str, key: str, *, start: int = 0, end: int | None = None, if_match: str | None = None
    ) -> Download | None:
        more = {"IfMatch": if_match} if if_match else {}
        if start or end is not None:
            more["Range"] = f"bytes={start}-{'' if end is None else end}"
        found = self._do("get_object", but=_MISSING, Bucket=bucket, Key=key, **more)
        return None if found is None else _Download(self, _info(key, found), found)

    def put(self, bucket: str, key: str, chunks: Iterable[bytes], *, size: int, content_type: str) -> ObjectInfo:
        parts = _parts(chunks, size, max(_PART, -(-size // _MOST_PARTS)))
        if size > _PART:
            return self._in_parts(bucket, key, content_type, size, lambda upload: self._sent(upload, parts))
        found = self._do("put_object", Bucket=bucket, Key=key, Body=next(parts, b""), ContentType=content_type)
        return ObjectInfo(key, size, found["ETag"], content_type, found.get("VersionId", ""))

    def copy(self, bucket: str, source: str, target: str, *, etag: str, size: int, content_type: str) -> ObjectInfo:
        origin = {"CopySource": {"Bucket": bucket, "Key": source}, "CopySourceIfMatch": etag}
        if size > _COPY_LIMIT:
            return self._in_parts(bucket, target, content_type, size, lambda upload: self._copied(upload, origin, size))
        given = {"Bucket": bucket, "Key": target, "MetadataDirective": "REPLACE", "ContentType": content_type}
        found = self._do("copy_object", **given, **origin)
        copied = _quoted(found["CopyObjectResult"]["ETag"])
        return ObjectInfo(target, size, copied, content_type, found.get("VersionId", ""))

    def delete(self, bucket: str, key: str) -> None:
        gone = self._do("delete_object", but=_MISSING, Bucket=bucket, Key=key) or {}
        if not gone.get("VersionId") and not gone.get("DeleteMarker"):
            return
        for version in tuple(self._versions(bucket, key)):
            self._do("delete_object", but=_MISSING, Bucket=bucket, Key=key, VersionId=version)

    def _versions(self, bucket: str, key: str) -> Iterator[str]:
        """A URL that is replayed makes as many as it likes: S3 tells of so many at a time."""
        markers: dict[str, str] = {}
        while True:
            page = self._do("list_object_versions", Bucket=bucket, Prefix=key, MaxKeys=_VERSIONS, **markers)
            found = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            yield from (each["VersionId"] for each in found if each["Key"] == key)
            if not page.get("IsTruncated") or any(each["Key"] != key for each in found):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        token: dict[str, str] = {}
        while True:
            page = self._do("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
            for each in page.get("Contents", ()):
                yield ObjectInfo(each["Key"], each["Size"], each["ETag"], modified=_microseconds(each["LastModified"]))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def multipart_uploads(self, bucket: str, prefix: str) -> Iterator[MultipartUpload]:
        """The prefix is matched here, since MinIO takes it for a whole key. SeaweedFS gives no marker to go on by."""
        markers: dict[str, str] = {}
        while True:
            page = self._do("list_multipart_uploads", Bucket=bucket, **markers)
            for each in page.get("Uploads", ()):
                if each["Key"].startswith(prefix):
                    yield MultipartUpload(each["Key"], each["UploadId"], _microseconds(each["Initiated"]))
            if not page.get("IsTruncated") or not page.get("NextKeyMarker"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}

    def abort(self, bucket: str, upload: MultipartUpload) -> None:
        self._do("abort_multipart_upload", but=_MISSING, Bucket=bucket, Key=upload.key, UploadId=upload.id)

    def ping(self) -> None:
        """The first one writes: SeaweedFS reads some seconds before it takes anything."""
        if not self._has_written:
            self._do("put_object", Bucket=self.bucket, Key=_PROBE, Body=b"1")
            self.delete(self.bucket, _PROBE)
            self._has_written = True
        self._do("head_bucket", Bucket=self.bucket)

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
        known = self._client._request_signer._credentials  # type: ignore[attr-defined]
        if known is None:
            raise Unavailable(f"The S3 account {self.account!r} has no credentials.")
        with self.reaching():
            found = known.get_frozen_credentials()
        return Credentials(found.access_key, found.secret_key, found.token or "")

    def _sent(self, upload: Mapping[str, str], parts: Iterable[bytes]) -> Iterator[str]:
        """The ETags of an upload's parts, as they are sent."""
        for number, part in enumerate(parts, 1):
            yield self._do("upload_part", **upload, PartNumber=number, Body=part)["ETag"]

    def _copied(self, upload: Mapping[str, str], origin: Mapping[str, Any], size: int) -> Iterator[str]:
        for number, start in enumerate(range(0, size, _COPY_PART), 1):
            span = f"bytes={start}-{min(start + _COPY_PART, size) - 1}"
            found = self._do("upload_part_copy", **upload, **origin, PartNumber=number, CopySourceRange=span)
            yield found["CopyPartResult"]["ETag"]

    def _in_parts(
        self,
        bucket: str,
        key: str,
        content_type: str,
        size: int,
        etags: Callable[[Mapping[str, str]], Iterable[str]],
    ) -> ObjectInfo:
        """A multipart upload of the parts whose ETags are given; aborted when one of them fails."""
        begun = self._do("create_multipart_upload", Bucket=bucket, Key=key, ContentType=content_type)
        upload = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        try:
            made = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags(upload), 1)]
            done = self._do("complete_multipart_upload", **upload, MultipartUpload={"Parts": made})
        except BaseException:
            with suppress(Unavailable):
                self._do("abort_multipart_upload", but=_MISSING, **upload)
            raise
        return ObjectInfo(key, size, _quoted(done["ETag"]), content_type, done.get("VersionId", ""))

    def _do(self, operation: str, *, but: Any = frozenset(), **arguments: Any) -> Any:
        """What S3 answers to a boto3 operation; None for the error codes of `but`."""
        from botocore.exceptions import ClientError

        try:
            with self.reaching():
                return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in but:
                return None
            if code in _CHANGED or ("CopySource" in arguments and code in _MISSING):
                raise Conflict("The object in S3 has changed meanwhile.") from error
            raise Unavailable(f"The S3 account {self.account!r} answers {code or 'an error'}.") from error

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """What cannot reach S3, or not in time, is Unavailable."""
        from botocore.exceptions import BotoCoreError, HTTPClientError

        try:
            yield
        except (BotoCoreError, HTTPClientError) as error:
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
            with self._store.reaching():
                chunk: bytes = self._body.read(min(size, left))
            if not chunk:
                raise Unavailable("S3 ended an object early.")
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._body.close()


def _parts(chunks: Iterable[bytes], size: int, length: int) -> Iterator[bytes]:
    """The same bytes in parts of that length; BodyTruncated where they are not `size` bytes."""
    held: list[bytes] = []
    holding = total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > size:
            break
        while holding + len(chunk) > length:
            held.append(chunk[: length - holding])
            part, chunk = b"".join(held), chunk[length - holding :]
            held.clear()
            holding = 0
            yield part
        held.append(chunk)
        holding += len(chunk)
    if total != size:
        came = f"more than {size}" if total > size else f"{total}"
        raise BodyTruncated(f"The body has {came} bytes, not the {size} that were announced.")
    if holding:
        yield b"".join(held)


def _quoted(etag: str) -> str:
    """SeaweedFS leaves the quotes out of what it answers to a copy."""
    return etag if etag.startswith('"') else f'"{etag}"'


def _info(key: str, found: Any) -> ObjectInfo:
    total = found.get("ContentRange", "").rpartition("/")[2]
    return ObjectInfo(
        key,
        int(total) if total.isdigit() else found["ContentLength"],
        found["ETag"],
        found.get("ContentType", ""),
        found.get("VersionId", ""),
        _microseconds(found["LastModified"]) if "LastModified" in found else 0,
    )


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
