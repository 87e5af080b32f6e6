"""Raw bodies: how many at a time, and what happens to one that stalls or ends early.

An aborted upload looks like a normal end to the WSGI server, and it knows no body timeout: so the
length is compared, and a thread reads ahead while this one watches the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from queue import Empty, Full, Queue
from threading import Event, Semaphore, Thread
from typing import IO

from fhir_blob.errors import BodyTruncated, TooManyTransfers, UploadTimeout

_CHUNK = 262_144
_AHEAD = 4
_READERS = 64


class TransferGate:
    """Lets `limit` raw transfers run at a time, so that threads stay for everybody else."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = Semaphore(limit)

    def enter(self) -> None:
        if not self._free.acquire(blocking=False):
            raise TooManyTransfers(
                f"{self._limit} raw transfers are under way, which is all this process takes.", retry_after=1
            )

    def leave(self) -> None:
        self._free.release()


def whole(body: IO[bytes], size: int, stall_seconds: float) -> bytes:
    """The body in memory, as `chunks` reads it; a small one is read at once by a thread that waits for such."""
    if size > _CHUNK:
        return b"".join(chunks(body, size, stall_seconds))
    reading = _readers().submit(body.read, size)
    try:
        found = bytes(reading.result(stall_seconds))
    except TimeoutError:
        raise UploadTimeout(f"The body of {size} bytes took longer than {stall_seconds:g} seconds.") from None
    except (OSError, ValueError, RuntimeError):
        found = b""
    if len(found) != size:
        raise BodyTruncated(f"The body ended after {len(found)} of {size} bytes.")
    return found


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_READERS, thread_name_prefix="body")


def chunks(body: IO[bytes], size: int, stall_seconds: float) -> Iterator[bytes]:
    """Exactly `size` bytes of the body. BodyTruncated where it ends early, UploadTimeout where it stalls."""
    ahead: Queue[bytes] = Queue(_AHEAD)
    given_up = Event()
    Thread(target=_read, args=(body, size, ahead, given_up), daemon=True).start()
    got = 0
    try:
        while got < size:
            chunk = _next(ahead, stall_seconds, got, size)
            if not chunk:
                raise BodyTruncated(f"The body ended after {got} of {size} bytes.")
            got += len(chunk)
            yield chunk
    finally:
        given_up.set()


def _next(ahead: Queue[bytes], seconds: float, got: int, size: int) -> bytes:
    try:
        return ahead.get(timeout=seconds)
    except Empty:
        raise UploadTimeout(f"The body stalled for {seconds:g} seconds after {got} of {size} bytes.") from None


def _read(body: IO[bytes], size: int, ahead: Queue[bytes], given_up: Event) -> None:
    left = size
    while left > 0 and not given_up.is_set():
        try:
            chunk = body.read(min(_CHUNK, left))
        except (OSError, ValueError, RuntimeError):
            chunk = b""
        left -= len(chunk)
        if not _put(ahead, chunk, given_up) or not chunk:
            return


def _put(ahead: Queue[bytes], chunk: bytes, given_up: Event) -> bool:
    while not given_up.is_set():
        try:
            ahead.put(chunk, timeout=0.5)
            return True
        except Full:
            continue
    return False
