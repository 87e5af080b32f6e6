"""Raw bodies: how many at a time, and what happens to one that stalls or ends early.

An aborted upload looks like a normal end to the WSGI server, so the length is compared. It knows no
timeout either, and a body can be read in the request's own thread alone: `Connections` is what ends
a wait for a client that sends, or takes, nothing any more.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from math import inf
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


def drain(body: Iterable[bytes]) -> None:
    """Take what is left of a body that was answered early: a client that still sends would not hear the answer."""
    with suppress(BodyTruncated, UploadTimeout):
        for _ in body:
            pass


def _ended(got: int, size: int, stall_seconds: float, waited: float) -> BodyTruncated | UploadTimeout:
    if waited >= 0.9 * stall_seconds:  # the connection was quiet before the read began
        return UploadTimeout(f"The body stalled for {stall_seconds:g} seconds after {got} of {size} bytes.")
    return BodyTruncated(f"The body ended after {got} of {size} bytes.")


class Connections:
    """The application, with an end for every connection to the port that carries no byte, either way, for so long.

    A connection is quiet too while the server works on its answer. Which one that is a WSGI server does not tell,
    but the address, which may be a proxy's: all from there are let be, unless a body from there is waited for as
    long, and nobody has worked for long.
    """

    def __init__(self, inner: Wsgi, port: int, seconds: float) -> None:
        self._inner, self._port, self._seconds = inner, port, seconds
        self._threads: dict[int, _Doing] = {}

    def start(self) -> None:
        Thread(target=self._watch, name="idle", daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        doing = _Doing(environ.get("REMOTE_ADDR", ""), time.monotonic())
        environ["wsgi.input"] = _Body(environ["wsgi.input"], doing, 0.1 * self._seconds)
        self._threads[get_ident()] = doing
        try:
            return self._inner(environ, start_response)
        finally:
            del self._threads[get_ident()]

    def _watch(self) -> None:
        while True:
            time.sleep(max(self._seconds / 10, 0.1))
            spared = self._spared()
            for descriptor in os.listdir("/proc/self/fd"):
                _end_if_idle(int(descriptor), self._port, self._seconds * 1000, spared)

    def _spared(self) -> set[str]:
        """The addresses whose connections may be quiet."""
        now, threads = time.monotonic(), [*self._threads.values()]
        waited_for = {each.address for each in threads if each.waits_since < now - 0.9 * self._seconds}
        # A request may have waited for its thread, so that half of the time is much.
        worked_for = {each.address for each in threads if each.works_since < now - 0.5 * self._seconds}
        return {each.address for each in threads} - (waited_for - worked_for)


class _Doing:
    """What a thread does for a client at that address: it works, or waits for the body, the other being never."""

    __slots__ = ("address", "waits_since", "works_since")

    def __init__(self, address: str, now: float) -> None:
        self.address, self.works_since, self.waits_since = address, now, inf


class _Body:
    """A body that tells when it is waited for. What has come before is there in `quick` seconds, and no wait."""

    def __init__(self, body: IO[bytes], doing: _Doing, quick: float) -> None:
        self._body, self._doing, self._quick = body, doing, quick

    def read(self, size: int = -1) -> bytes:
        doing, began = self._doing, time.monotonic()
        worked_since = doing.works_since
        doing.works_since, doing.waits_since = inf, began
        try:
            return self._body.read(size)
        finally:
            now = time.monotonic()
            doing.works_since, doing.waits_since = worked_since if now - began < self._quick else now, inf


def _end_if_idle(descriptor: int, port: int, milliseconds: float, spared: Set[str]) -> None:
    """Of a client that says nothing no more is read; what is answered it can still take."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family not in _INTERNET or connection.getsockname()[1] != port:
                return
            info = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
            is_idle = min(info[_LAST_DATA_SENT], info[_LAST_DATA_RECEIVED]) >= milliseconds
            if is_idle and (connection.getpeername()[0] not in spared or _has_unsent(connection)):
                connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # no connection, or none any more


def _has_unsent(connection: socket.socket) -> bool:
    """Whether an answer is there that the client does not take: SIOCOUTQ of tcp(7)."""
    unsent = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    return any(unsent)
