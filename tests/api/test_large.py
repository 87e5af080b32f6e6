"""Large raw bodies pass through the server and none of them stays in its memory."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from threading import Event, Thread

import psutil
import requests

from tests.client import Client
from tests.services.server import Server, StartServer

_MB = 1024 * 1024
_SIZE = 256 * _MB
_BLOCK = os.urandom(_MB)


class _Body(io.RawIOBase):
    """So many bytes, made as they are read, each megabyte another one."""

    def __init__(self, size: int) -> None:
        self._size, self._at, self.digest = size, 0, hashlib.sha256()

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        megabyte, offset = divmod(self._at, _MB)
        start = (megabyte + offset) % _MB
        chunk = _BLOCK[start : min(start + size, start + _MB - offset, start + self._size - self._at)]
        self._at += len(chunk)
        self.digest.update(chunk)
        return chunk


class _Memory:
    """The most resident memory that the processes had while it watched, in bytes."""

    def __init__(self, server: Server) -> None:
        parent = psutil.Process(server.process.pid)
        everyone = [parent, *parent.children(recursive=True)]
        self._watched = [each for each in everyone if "weed" not in each.name()]
        assert len(self._watched) > 1
        self.most, self._stop = self._now(), Event()

    def __enter__(self) -> _Memory:
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, self._now())

    def _now(self) -> int:
        return sum(each.memory_info().rss for each in self._watched)


def _upload(fhir: Client, size: int) -> tuple[str, bytes]:
    """The id of the Binary, and the hash of what was sent."""
    body = _Body(size)
    made = requests.post(f"{fhir.base}/Binary", data=body, headers={"Content-Type": "video/mp4"}, timeout=120)
    assert 201 == made.status_code, made.text
    return made.json()["id"], body.digest.digest()


def _download(fhir: Client, id: str) -> bytes:
    """The hash of what came."""
    digest = hashlib.sha256()
    with requests.get(f"{fhir.base}/Binary/{id}", stream=True, timeout=120) as answer:
        chunks: Iterator[bytes] = answer.iter_content(_MB)
        for chunk in chunks:
            digest.update(chunk)
    return digest.digest()


def test_flat_memory(start_server: StartServer) -> None:
    """256 MB up and down again are the same bytes, and take less than 64 MB of the server's memory."""
    server = start_server(workers=1)
    fhir = Client(server.base)
    _download(fhir, _upload(fhir, 20 * _MB)[0])  # what is loaded once

    with _Memory(server) as memory:
        before = memory.most
        id, sent = _upload(fhir, _SIZE)
        uploaded = memory.most - before
        got = _download(fhir, id)

    assert sent == got
    assert (True, True) == (uploaded < 64 * _MB, memory.most - before < 64 * _MB), (uploaded, memory.most - before)
