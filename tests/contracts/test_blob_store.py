"""What every BlobStore does, on SeaweedFS and on MinIO."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import requests

from fhir_blob.blobs import s3 as module
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.errors import BodyTruncated, Conflict
from tests.services.s3 import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "contract"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store(s3: S3) -> Iterator[S3BlobStore]:
    with closing(s3.store(BUCKET, timeout=30.0)) as store:
        store.ensure_bucket(("https://app.example.org",))
        yield store


@pytest.fixture(scope="module")
def client(s3: S3) -> Iterator[S3Client]:
    with closing(s3.client()) as client:
        yield client


def _put(store: S3BlobStore, key: str, body: bytes, content_type: str = "text/plain") -> str:
    """The ETag of an object made of that body."""
    return store.put(BUCKET, key, (body,), size=len(body), content_type=content_type).etag


def _read(store: S3BlobStore, key: str, *, start: int = 0, end: int | None = None) -> bytes | None:
    download = store.open(BUCKET, key, start=start, end=end)
    if download is None:
        return None
    with closing(download):
        return b"".join(download.chunks())


def _large(size: int) -> Iterator[bytes]:
    """A body that is never whole in memory, in chunks that fit no part."""
    block = bytes(range(256)) * 391
    for start in range(0, size, len(block)):
        yield block[: size - start]


@pytest.mark.parametrize("body", [b"", b"x", b"four kilobytes!!" * 256], ids=len)
def test_put_small(store: S3BlobStore, body: bytes) -> None:
    """An object has the size, type and bytes that were put, and the ETag that put told."""
    made = store.put(BUCKET, "small", (body[:1], body[1:]), size=len(body), content_type="text/x-odd; charset=utf-8")

    found = store.head(BUCKET, "small")

    assert found is not None
    assert (len(body), "text/x-odd; charset=utf-8", made.etag) == (found.size, found.content_type, found.etag)
    assert body == _read(store, "small")
    assert abs(time.time() - found.modified / 1_000_000) < 60


def test_put_in_parts(store: S3BlobStore) -> None:
    """A large body goes up in parts and comes back the same."""
    size = 20 * MIB + 7
    expected = hashlib.sha256(b"".join(_large(size))).hexdigest()

    made = store.put(BUCKET, "large", _large(size), size=size, content_type="video/mp4")

    download = store.open(BUCKET, "large")
    assert download is not None
    with closing(download):
        actual = hashlib.sha256()
        for chunk in download.chunks():
            actual.update(chunk)
    assert (size, made.etag, expected) == (download.info.size, download.info.etag, actual.hexdigest())
    assert "-3" in made.etag


@pytest.mark.parametrize("size", [4_096, 8 * MIB, 20 * MIB], ids=["small", "one part", "parts"])
@pytest.mark.parametrize("came", [-1, +1], ids=["short", "long"])
def test_other_length_stores_nothing(store: S3BlobStore, client: S3Client, size: int, came: int) -> None:
    """A body that ends early, or goes on, is BodyTruncated; neither an object nor a part stays."""
    store.delete(BUCKET, "truncated")

    with pytest.raises(BodyTruncated):
        store.put(BUCKET, "truncated", _large(size + came), size=size, content_type="text/plain")

    assert store.head(BUCKET, "truncated") is None
    assert [] == client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.mark.parametrize("size", [4_096, 20 * MIB], ids=["small", "parts"])
def test_broken_body_stores_nothing(store: S3BlobStore, client: S3Client, size: int) -> None:
    """What the body raises goes through, and nothing is stored."""

    class Gone(Exception):
        pass

    def body() -> Iterator[bytes]:
        yield from _large(size - 1)
        raise Gone

    with pytest.raises(Gone):
        store.put(BUCKET, "broken", body(), size=size, content_type="text/plain")

    assert store.head(BUCKET, "broken") is None
    assert [] == client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def test_endless_body_is_not_read(store: S3BlobStore) -> None:
    """A body that goes on after its size is given up there and then."""
    read: list[int] = []

    def body() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield b"x" * 100

    with pytest.raises(BodyTruncated):
        store.put(BUCKET, "endless", body(), size=150, content_type="text/plain")

    assert [0, 1] == read


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 0, b"0"),
        (3, None, b"3456789"),
        (3, 5, b"345"),
        (9, 9, b"9"),
        (5, 99, b"56789"),
    ],
)
def test_ranges(store: S3BlobStore, start: int, end: int | None, expected: bytes) -> None:
    """Both ends of a range are inclusive; `length` is the range's, `info.size` the object's."""
    _put(store, "range", b"0123456789")

    download = store.open(BUCKET, "range", start=start, end=end)

    assert download is not None
    with closing(download):
        assert (10, len(expected)) == (download.info.size, download.length)
        assert [expected[at : at + 4] for at in range(0, len(expected), 4)] == list(download.chunks(4))


def test_open_given_up(store: S3BlobStore) -> None:
    """A download that is closed in the middle leaves the store usable."""
    store.put(BUCKET, "given-up", _large(20 * MIB), size=20 * MIB, content_type="text/plain")
    for _ in range(20):
        download = store.open(BUCKET, "given-up")
        assert download is not None
        next(download.chunks(10))
        download.close()

    assert b"\x00\x01" == _read(store, "given-up", start=0, end=1)


def test_open_of_another_etag(store: S3BlobStore) -> None:
    """An object that has changed since its ETag was seen is a Conflict."""
    before = _put(store, "changing", b"before")
    after = _put(store, "changing", b"after")

    with pytest.raises(Conflict):
        store.open(BUCKET, "changing", if_match=before)

    download = store.open(BUCKET, "changing", if_match=after)
    assert download is not None
    with closing(download):
        assert b"after" == b"".join(download.chunks())


def test_absent(store: S3BlobStore) -> None:
    """What is not there is None, in a bucket that is not there too; deleting it is no error."""
    store.delete(BUCKET, "absent")

    found = [store.head(BUCKET, "absent"), store.open(BUCKET, "absent"), store.head("no-such-bucket", "absent")]

    assert [None, None, None] == found


def test_copy(store: S3BlobStore) -> None:
    """A copy has the same bytes, and the type that it is given."""
    key = "source with space/+%/ä"
    etag = _put(store, key, b"source")

    copied = store.copy(BUCKET, key, "copied", etag=etag, size=6, content_type="application/pdf")

    found = store.head(BUCKET, "copied")
    assert found is not None
    assert (6, "application/pdf", copied.etag) == (found.size, found.content_type, found.etag)
    assert b"source" == _read(store, "copied")


def test_copy_of_what_has_changed(store: S3BlobStore) -> None:
    """A source with another ETag, or none any more, is a Conflict, and nothing is copied."""
    before = _put(store, "copy-source", b"before")
    _put(store, "copy-source", b"after")
    store.delete(BUCKET, "never-copied")

    with pytest.raises(Conflict):
        store.copy(BUCKET, "copy-source", "never-copied", etag=before, size=6, content_type="text/plain")
    with pytest.raises(Conflict):
        store.copy(BUCKET, "absent", "never-copied", etag=before, size=6, content_type="text/plain")

    assert store.head(BUCKET, "never-copied") is None


def test_copy_in_parts(store: S3BlobStore, client: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit of one copy it goes in parts, under the same condition."""
    monkeypatch.setattr(module, "_COPY_LIMIT", 5 * MIB)
    monkeypatch.setattr(module, "_COPY_PART", 5 * MIB)
    size = 12 * MIB
    made = store.put(BUCKET, "copy-large", _large(size), size=size, content_type="text/plain")

    store.copy(BUCKET, "copy-large", "copied-large", etag=made.etag, size=size, content_type="video/mp4")
    with pytest.raises(Conflict):
        store.copy(BUCKET, "copy-large", "never-copied", etag='"0"', size=size, content_type="video/mp4")

    found = store.head(BUCKET, "copied-large")
    assert found is not None
    assert (size, "video/mp4") == (found.size, found.content_type)
    assert b"".join(_large(size)) == _read(store, "copied-large")
    assert store.head(BUCKET, "never-copied") is None
    assert [] == client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def test_delete_with_versions(s3: S3, client: S3Client) -> None:
    """Where the bucket keeps versions all of them go, and those of its neighbours stay."""
    with closing(s3.store("versions")) as store:
        store.ensure_bucket(())
        store.put("versions", "note", (b"0",), size=1, content_type="text/plain")
        store.delete("versions", "note")
        client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2"):
            made = store.put("versions", "note", (body,), size=1, content_type="text/plain")
        store.put("versions", "note-2", (b"3",), size=1, content_type="text/plain")

        store.delete("versions", "note")

    left = client.list_object_versions(Bucket="versions")
    assert made.version != ""
    assert ["note-2"] == [each.get("Key") for each in left.get("Versions", [])]
    assert [] == left.get("DeleteMarkers", [])


def test_delete_with_very_many_versions(s3: S3, client: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that was replayed leaves nothing, however many versions it made: S3 tells of them page by page."""
    monkeypatch.setattr(module, "_VERSIONS", 2)
    with closing(s3.store("replayed")) as store:
        store.ensure_bucket(())
        client.put_bucket_versioning(Bucket="replayed", VersioningConfiguration={"Status": "Enabled"})
        for _ in range(5):
            client.put_object(Bucket="replayed", Key="note", Body=b"1")

        store.delete("replayed", "note")

    left = client.list_object_versions(Bucket="replayed")
    assert ([], []) == (left.get("Versions", []), left.get("DeleteMarkers", []))


def test_list_pages(store: S3BlobStore) -> None:
    """Listing goes on past the thousand keys of one page, and keeps to its prefix."""
    expected = [f"many/{number:04}" for number in range(1_005)]
    _put(store, "many-more", b"x")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: _put(store, key, b"xy"), expected))

    found = list(store.list(BUCKET, "many/"))

    assert expected == [each.key for each in found]
    assert {2} == {each.size for each in found}
    assert all(abs(time.time() - each.modified / 1_000_000) < 120 for each in found)


def test_ensure_bucket_twice(s3: S3) -> None:
    """The second server that makes the bucket finds it, and what is in it stays."""
    stores = [s3.store("twice"), s3.store("twice")]
    stores[0].ensure_bucket(())
    stores[0].put("twice", "kept", (b"x",), size=1, content_type="text/plain")

    stores[1].ensure_bucket(("https://app.example.org",))

    assert stores[1].head("twice", "kept") is not None
    for store in stores:
        store.close()


def test_browsers_may_upload(store: S3BlobStore) -> None:
    """A browser's preflight for a PUT URL is answered, and the ETag can be read."""
    url = store.sign("PUT", BUCKET, "browser", now=time.time_ns() // 1000, seconds=60).url
    origin = {"Origin": "https://app.example.org"}
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}

    preflight = requests.options(url, headers=origin | asked, timeout=10)
    answer = requests.put(url, data=b"x", headers=origin, timeout=10)

    allowed = {name.strip().lower() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert preflight.ok and "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert allowed & {"content-type", "*"}
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://app.example.org")
    assert {"etag", "*"} & {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}


def test_ping_leaves_nothing(s3: S3) -> None:
    """Asking whether S3 takes anything leaves no object behind."""
    with closing(s3.store("pinged")) as store:
        store.ensure_bucket(())

        store.ping()

        assert [] == list(store.list("pinged", ""))
