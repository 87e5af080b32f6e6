"""What every BlobStore does, on SeaweedFS and on MinIO; and what it does when S3 fails it."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from fhir_blob.blobs import s3 as module
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.signing import Credentials
from fhir_blob.errors import BodyTruncated, Conflict, Unavailable
from tests.services.s3 import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "contract"
KEYS = Credentials("access", "secret")
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


def test_wrong_keys(s3: S3) -> None:
    """Keys that S3 does not take are Unavailable, and the sentence shows neither key nor URL."""
    credentials = Credentials("wrong-access", "wrong-secret")
    with closing(s3.store(BUCKET, credentials=credentials)) as store, pytest.raises(Unavailable) as raised:
        store.ping()

    assert not any(word in str(raised.value) for word in ("wrong", "http", "Signature="))


def test_no_keys_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any credentials cannot sign, which is Unavailable."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    store = _store("http://127.0.0.1:9", credentials=None)

    with closing(store), pytest.raises(Unavailable):
        store.sign("GET", BUCKET, "key", now=0, seconds=1)


def _store(endpoint: str, *, credentials: Credentials | None = KEYS) -> S3BlobStore:
    return S3BlobStore(
        "default",
        endpoint=endpoint,
        public_endpoint="",
        region="us-east-1",
        bucket=BUCKET,
        credentials=credentials,
        path_style=True,
        timeout=0.5,
    )


@contextmanager
def _server(answer: bytes, *, ends: bool) -> Iterator[str]:
    """The URL of a server that answers every request so, and then ends the connection or falls silent."""
    stop = threading.Event()

    def serve() -> None:
        held = []
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.recv(65_536)
            connection.sendall(answer)
            if ends:
                connection.close()
            else:
                held.append(connection)
        for connection in held:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


_HEAD = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n'
CALLS: dict[str, Callable[[S3BlobStore], object]] = {
    "head": lambda store: store.head(BUCKET, "key"),
    "open": lambda store: store.open(BUCKET, "key"),
    "put": lambda store: store.put(BUCKET, "key", (b"x",), size=1, content_type="text/plain"),
    "put in parts": lambda store: store.put(BUCKET, "key", _large(9 * MIB), size=9 * MIB, content_type="text/plain"),
    "copy": lambda store: store.copy(BUCKET, "a", "b", etag='"1"', size=1, content_type="text/plain"),
    "delete": lambda store: store.delete(BUCKET, "key"),
    "list": lambda store: list(store.list(BUCKET, "")),
    "ping": lambda store: store.ping(),
    "ensure_bucket": lambda store: store.ensure_bucket(()),
}


@pytest.mark.parametrize("call", CALLS)
def test_refused_connection(call: str) -> None:
    """Nobody listening is Unavailable, soon."""
    began = time.monotonic()

    with closing(_store("http://127.0.0.1:9")) as store, pytest.raises(Unavailable):
        CALLS[call](store)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("call", ["head", "put", "copy"])
def test_silence(call: str) -> None:
    """A server that takes connections and never answers is Unavailable after the timeout and one retry."""
    began = time.monotonic()

    with _server(b"", ends=False) as url, closing(_store(url)) as store, pytest.raises(Unavailable):
        CALLS[call](store)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops",
        b"not HTTP at all\r\n\r\n",
    ],
    ids=["500", "503", "garbage"],
)
def test_failing_server(call: str, answer: bytes) -> None:
    """Whatever comes that is not S3's answer is Unavailable."""
    with _server(answer, ends=True) as url, closing(_store(url)) as store, pytest.raises(Unavailable):
        CALLS[call](store)


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "stalled"])
def test_broken_download(ends: bool) -> None:
    """Bytes that stop coming are Unavailable: never a body that looks whole."""
    with _server(_HEAD + b"x" * 40, ends=ends) as url, closing(_store(url)) as store:
        download = store.open(BUCKET, "key")
        assert download is not None

        with closing(download), pytest.raises(Unavailable):
            list(download.chunks(10))
