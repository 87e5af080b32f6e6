"""S3 that fails: what cannot be reached, or answers what S3 never would, is Unavailable in bounded time."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.signing import Credentials
from fhir_blob.errors import Unavailable
from tests.services.s3 import S3

BUCKET = "contract"
KEYS = Credentials("access", "secret")
LARGE = b"x" * (9 * 1024 * 1024)


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
    "put in parts": lambda store: store.put(BUCKET, "key", (LARGE,), size=len(LARGE), content_type="text/plain"),
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
