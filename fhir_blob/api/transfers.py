"""Raw bodies: how many at a time, and what happens to one that stalls or ends early.

An aborted upload looks like a normal end to the WSGI server, so the length is compared. It knows no
timeout either, and a body can be read in the request's own thread alone: `Connections` is what ends
a wait for a client that sends, or takes, nothing any more.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Set
from threading import Semaphore, Thread, get_ident
from typing import IO, Any

from fhir_blob.errors import BodyTruncated, TooManyTransfers, UploadTimeout

_CHUNK = 65_536
# struct tcp_info: eight bytes, then 32-bit fields, times in milliseconds.
_TCP_INFO = struct.Struct("=8B13I")
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LAST_DATA_SENT, _LAST_DATA_RECEIVED = 8 + 9, 8 + 11
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


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


def chunks(body: IO[bytes], size: int, stall_seconds: float) -> Iterator[bytes]:
    """Exactly `size` bytes of the body. BodyTruncated where it ends early, UploadTimeout where it stalled."""
    got = 0
    while got < size:
        began, wanted = time.monotonic(), min(_CHUNK, size - got)
        try:
            chunk = body.read(wanted)
        except (OSError, ValueError, RuntimeError):
            chunk = b""
        got += len(chunk)
        if len(chunk) < wanted:  # it waits for all that was wanted, so this is the end
            raise _ended(got, size, stall_seconds, time.monotonic() - began)
        yield chunk


def _ended(got: int, size: int, stall_seconds: float, waited: float) -> BodyTruncated | UploadTimeout:
    if waited >= 0.9 * stall_seconds:  # the connection was quiet before the read began
        return UploadTimeout(f"The body stalled for {stall_seconds:g} seconds after {got} of {size} bytes.")
    return BodyTruncated(f"The body ended after {got} of {size} bytes.")


class Connections:
    """The application, with an end for every connection to the port that carries no byte, either way, for so long.

    A connection may be quiet while the server works on its answer. Which one that is a WSGI server does not
    tell, but the address: all from there are let be that long.
    """

    def __init__(self, inner: Wsgi, port: int, seconds: float) -> None:
        self._inner, self._port, self._seconds = inner, port, seconds
        # By thread: for whom it works, and since when.
        self._work: dict[int, tuple[str, float]] = {}

    def start(self) -> None:
        Thread(target=self._watch, name="idle", daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        address = environ.get("REMOTE_ADDR", "")
        environ["wsgi.input"] = _Body(environ["wsgi.input"], self, address)
        self.works(address)
        try:
            return self._inner(environ, start_response)
        finally:
            self.waits()

    def works(self, address: str) -> None:
        """From now on this thread works for a client there."""
        self._work[get_ident()] = address, time.monotonic()

    def waits(self) -> None:
        """From now on it does not, or waits for what the client sends."""
        self._work.pop(get_ident(), None)

    def _watch(self) -> None:
        while True:
            time.sleep(max(self._seconds / 10, 0.1))
            before = time.monotonic() - 0.8 * self._seconds
            busy = {address for address, since in [*self._work.values()] if since < before}
            for descriptor in os.listdir("/proc/self/fd"):
                _end_if_idle(int(descriptor), self._port, self._seconds * 1000, busy)


class _Body:
    """A body that tells when it is waited for."""

    def __init__(self, body: IO[bytes], connections: Connections, address: str) -> None:
        self._body, self._connections, self._address = body, connections, address

    def read(self, size: int = -1) -> bytes:
        self._connections.waits()
        try:
            return self._body.read(size)
        finally:
            self._connections.works(self._address)


def _end_if_idle(descriptor: int, port: int, milliseconds: float, busy: Set[str]) -> None:
    """Of a client that says nothing no more is read; what is answered it can still take."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family not in _INTERNET or connection.getsockname()[1] != port:
                return
            info = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
            is_idle = min(info[_LAST_DATA_SENT], info[_LAST_DATA_RECEIVED]) >= milliseconds
            if connection.getpeername()[0] not in busy and is_idle:
                connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # no connection, or none any more
