"""Bodies that are answered before they have come: the client hears the answer, and no worker waits for the rest.

A connection that is closed while its client sends is reset, and the answer on its way may be lost. So the rest of a
small body is read after the answer, and the connection kept. Whoever sends more is told that it is closed, and what
still comes is thrown away below the HTTP server, within limits.

Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import inf
from threading import Event, Lock, Thread
from typing import IO, Any

from fhir_blob.api import tcp

# A rest up to which the connection is kept (bytes), and how long it is read (seconds).
_SMALL, _STEP, _DRAIN_SECONDS = 1_048_576, 65_536, 0.5
# How exactly the moment is known when an answer was sent (seconds).
_ABOUT = 0.05
# Of a closed connection: the most that is thrown away (bytes), how long (seconds), and how long nothing may come.
_MOST, _LONGEST, _LONGEST_QUIET = 1_073_741_824, 30.0, 5.0
# How many are held, the latest of them, how many of one address when one is refused, and how long until the HTTP server
# has closed it (seconds).
_MOST_HELD, _MOST_OF_ONE, _CLOSED_WITHIN = 128, 16, 2.0
_TICK, _BUFFER, _AT_ONCE = 0.01, 1_048_576, 8
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]


class Lingering:
    """The application, whose answers reach those who still send to that port."""

    def __init__(self, inner: Wsgi, port: int) -> None:
        self._inner, self._closing, self._turn = inner, Closing(port), Lock()

    def start(self) -> None:
        self._closing.start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH", "0" if "HTTP_TRANSFER_ENCODING" not in environ else "")
        if length == "0":
            return self._inner(environ, start_response)
        expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        body = environ["wsgi.input"] = Body(environ["wsgi.input"], length)
        address, turn = environ.get("REMOTE_ADDR", ""), _Turn(self._turn)

        def start(line: str, headers: Headers, *failure: Any) -> Any:
            is_awaited = expects and not body.asked  # to read would tell the client to send
            if body.left and (is_awaited or body.left > _SMALL or not turn.take()):
                if not any(name.lower() == "connection" for name, _ in headers):
                    headers.append(("Connection", "close"))
                self._closing.hold(address)
            return start_response(line, headers, *failure)

        answer = self._inner(environ, start)
        return self._drained(answer, body, address, turn) if turn.is_taken else answer

    def _drained(self, answer: Iterable[bytes], body: Body, address: str, turn: _Turn) -> Iterator[bytes]:
        """The answer is sent before the rest of the body is read, and nothing of it is read when that has ended.

        It is this thread that reads: at its end the HTTP server would wait for any other, and all threads with it.
        """
        try:
            yield from answer
            with self._closing.limited(address):
                while body.left:
                    body.read(int(min(_STEP, body.left)))
        finally:
            turn.leave()
            getattr(answer, "close", lambda: None)()


class Body:
    """A body that knows how much of it is to come: `inf` where its chunks have not ended."""

    __slots__ = ("_body", "asked", "left")

    def __init__(self, body: IO[bytes], length: str) -> None:
        self._body, self.asked = body, False
        self.left: float = int(length) if length.isascii() and length.isdigit() else inf

    def read(self, size: int) -> bytes:
        self.asked = True
        chunk = self._body.read(size)
        self.left = self.left - len(chunk) if len(chunk) == size else 0
        return chunk


class _Turn:
    """One worker at a time may read what nobody needs; whoever is let go of has left."""

    def __init__(self, lock: Lock) -> None:
        self._lock, self.is_taken = lock, False

    def take(self) -> bool:
        self.is_taken = self.is_taken or self._lock.acquire(blocking=False)
        return self.is_taken

    def leave(self) -> None:
        if self.is_taken:
            self.is_taken = False
            self._lock.release()

    __del__ = leave


@dataclass(slots=True)
class _Held:
    """A connection that the HTTP server closes, or has closed, since when it is held, and since when it is quiet."""

    connection: socket.socket
    since: float
    quiet_since: float
    is_closed: bool = False
    thrown_away: int = 0


@dataclass(frozen=True, slots=True)
class _Limited:
    """A body from an address that is read since then, and the connections that were ended for its sake."""

    address: str
    since: float
    ended: set[int]


class Closing:
    """Keeps connections from being reset: what comes after the HTTP server has closed one is taken, and thrown away.

    Which of an address is about to be closed nobody tells, so that the latest few are held until it shows.
    """

    def __init__(self, port: int) -> None:
        self._port, self._held, self._lock = port, dict[int, _Held](), Lock()
        self._is_busy, self._buffer = Event(), bytearray(_BUFFER)
        self._limited: _Limited | None = None

    def start(self) -> None:
        Thread(target=self._run, name="closing", daemon=True).start()

    @contextmanager
    def limited(self, address: str) -> Iterator[None]:
        """The reading of a body from there, for so long; of one at a time."""
        self._limited = _Limited(address, time.monotonic(), set())
        self._is_busy.set()
        try:
            yield
        finally:
            self._limited = None

    def hold(self, address: str) -> None:
        """Before an answer is sent to that address with which its connection ends."""
        found = sorted(self._open(address), key=lambda pair: pair[0])
        now = time.monotonic()
        with self._lock:
            for number, (_, connection) in enumerate(found):
                key = tcp.identity(connection)
                if number >= _MOST_OF_ONE or key in self._held:
                    connection.close()
                else:
                    self._held[key] = _Held(connection, now, now)
                if key in self._held and not self._held[key].is_closed:
                    self._held[key].since = now
            while len(self._held) > _MOST_HELD:
                self._held.pop(next(iter(self._held))).connection.close()
        self._is_busy.set()

    def _open(self, address: str) -> Iterable[tuple[int, socket.socket]]:
        """With how long nothing came."""
        for connection in tcp.connections(self._port, address):
            try:
                yield tcp.state(connection).received_ms, connection
            except OSError:
                connection.close()

    def _run(self) -> None:
        while True:
            self._is_busy.wait()
            self._is_busy.clear()
            time.sleep(_TICK)
            self._end_limited()
            with self._lock:
                for key, held in [*self._held.items()]:
                    if self._is_over(held):
                        held.connection.close()
                        del self._held[key]
            if self._held or self._limited is not None:
                self._is_busy.set()

    def _end_limited(self) -> None:
        """Its connection is the one from that address to which the answer was sent just before the reading began."""
        limited = self._limited
        if limited is None:
            return
        took = time.monotonic() - limited.since
        if took < _DRAIN_SECONDS:
            return
        with ExitStack() as open_ones:
            found = [open_ones.enter_context(each) for each in tcp.connections(self._port, limited.address)]
            distances = [(_distance(each, took, limited), number) for number, each in enumerate(found)]
            nearest, number = min(distances, default=(inf, 0))
            if nearest < _ABOUT + took - _DRAIN_SECONDS:
                limited.ended.add(tcp.identity(found[number]))
                with suppress(OSError):  # it is over meanwhile
                    found[number].shutdown(socket.SHUT_RD)

    def _is_over(self, held: _Held) -> bool:
        now = time.monotonic()
        try:
            if not held.is_closed and tcp.state(held.connection).is_open:
                return now - held.since > _CLOSED_WITHIN
            if not held.is_closed:
                held.is_closed, held.since, held.quiet_since = True, now, now
            came, has_ended = self._throw_away(held.connection)
        except OSError:
            return True
        held.thrown_away += came
        held.quiet_since = now if came else held.quiet_since
        is_long = now - held.since > _LONGEST or now - held.quiet_since > _LONGEST_QUIET
        return has_ended or is_long or held.thrown_away > _MOST

    def _throw_away(self, connection: socket.socket) -> tuple[int, bool]:
        """How much came, and whether the client has ended it too. With MSG_TRUNC nothing is copied."""
        came = 0
        for _ in range(_AT_ONCE):
            try:
                count = connection.recv_into(self._buffer, _BUFFER, socket.MSG_TRUNC | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return came, False
            if not count:
                return came, True
            came += count
        return came, False


def _distance(connection: socket.socket, seconds: float, limited: _Limited) -> float:
    """How much more or less than so long ago it was sent something; `inf` for one that it cannot be."""
    try:
        state = tcp.state(connection)
    except OSError:
        return inf
    is_possible = state.is_open and state.has_sent and tcp.identity(connection) not in limited.ended
    return abs(state.sent_ms / 1000 - seconds) if is_possible else inf
