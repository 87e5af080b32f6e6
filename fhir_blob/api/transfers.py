"""Bodies: how many raw ones at a time, and what happens to one that stalls, ends early, or comes a drop at a time.

An aborted upload looks like a normal end to the WSGI server, so the length is compared. It knows no
timeout either, and a read waits until all that it wants has come: `Connections` is what ends a wait for a client
that sends, or takes, nothing any more, or next to nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from threading import Semaphore, Thread, get_ident
from typing import IO, Any

from fhir_blob.api import tcp
from fhir_blob.errors import BodyTruncated, TooManyTransfers, UploadTimeout

_CHUNK = 65_536
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
            is_late = time.monotonic() - began >= 0.9 * stall_seconds or getattr(body, "was_ended", False)
            raise _ended(got, size, stall_seconds, is_late=is_late)
        yield chunk


def _ended(got: int, size: int, stall_seconds: float, *, is_late: bool) -> BodyTruncated | UploadTimeout:
    if is_late:
        return UploadTimeout(f"The body stalled for {stall_seconds:g} seconds after {got} of {size} bytes.")
    return BodyTruncated(f"The body ended after {got} of {size} bytes.")


class Connections:
    """The application, with an end for every connection to the port that carries no byte, either way, for so long.

    A connection is quiet too while the server works on its answer. Which one that is a WSGI server does not tell,
    but the address, which may be a proxy's: all from there are let be, unless a body from there is waited for as
    long, and nobody has worked for long. Then those end too that bring less than 64 kB in that time.
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
        paces: dict[int, _Pace] = {}
        while True:
            time.sleep(max(self._seconds / 10, 0.1))
            busy, waited_for = self._addresses()
            before, paces = paces, {}
            for connection in tcp.connections(self._port):
                with connection, suppress(OSError):  # it is over meanwhile
                    key = tcp.identity(connection)
                    paces[key] = self._judged(connection, before.get(key), busy, waited_for)

    def _addresses(self) -> tuple[set[str], set[str]]:
        """Those whose connections may be quiet, and those of which a body is waited for too long."""
        now, threads = time.monotonic(), [*self._threads.values()]
        waited_for = {each.address for each in threads if each.waits_since < now - 0.9 * self._seconds}
        # A request may have waited for its thread, so that half of the time is much.
        waited_for -= {each.address for each in threads if each.works_since < now - 0.5 * self._seconds}
        return {each.address for each in threads} - waited_for, waited_for

    def _judged(self, connection: socket.socket, pace: _Pace | None, busy: Set[str], waited_for: Set[str]) -> _Pace:
        """Of a client that says nothing no more is read; what is answered it can still take."""
        state, address, now = tcp.state(connection), connection.getpeername()[0], time.monotonic()
        milliseconds = self._seconds * 1000
        if pace is None or state.received - pace.received >= _CHUNK or state.received_ms >= milliseconds:
            pace = _Pace(now, state.received)
        # It was seen late by a tenth. A request that waits for its thread brings nothing at all meanwhile.
        is_dripping = state.received > pace.received and state.received_ms < 0.5 * milliseconds
        is_slow = address in waited_for and is_dripping and now - pace.since >= 0.8 * self._seconds
        is_idle = state.received_ms >= milliseconds and (address not in busy or tcp.has_unsent(connection))
        if (is_slow and state.sent_ms >= 0.8 * milliseconds) or (is_idle and state.sent_ms >= milliseconds):
            connection.shutdown(socket.SHUT_RD)
            self._tell(address, now)
        return pace

    def _tell(self, address: str, now: float) -> None:
        """Those who wait for a body from there that it may have been theirs, though their thread began late."""
        for each in [*self._threads.values()]:
            each.was_ended |= each.address == address and each.waits_since < now - 0.5 * self._seconds


@dataclass(frozen=True, slots=True)
class _Pace:
    """How many bytes had come of a connection at a moment, since when little came."""

    since: float
    received: int


class _Doing:
    """What a thread does for a client at that address: it works, or waits for the body, the other being never."""

    __slots__ = ("address", "waits_since", "was_ended", "works_since")

    def __init__(self, address: str, now: float) -> None:
        self.address, self.works_since, self.waits_since, self.was_ended = address, now, inf, False


class _Body:
    """A body that tells when it is waited for. What has come before is there in `quick` seconds, and no wait."""

    def __init__(self, body: IO[bytes], doing: _Doing, quick: float) -> None:
        self._body, self._doing, self._quick = body, doing, quick

    @property
    def was_ended(self) -> bool:
        return self._doing.was_ended

    def read(self, size: int = -1) -> bytes:
        doing, began = self._doing, time.monotonic()
        worked_since = doing.works_since
        doing.works_since, doing.waits_since = inf, began
        try:
            return self._body.read(size)
        finally:
            now = time.monotonic()
            doing.works_since, doing.waits_since = worked_since if now - began < self._quick else now, inf
