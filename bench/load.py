"""A load generator: sixteen keep-alive connections in a process of their own, one request at a time on each."""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

CLIENTS = 16


def request(
    port: int, method: str, path: str, body: bytes = b"", type: str = "application/fhir+json", **headers: str
) -> bytes:
    """The bytes of an HTTP request."""
    given = {"Host": f"127.0.0.1:{port}", "Accept": "*/*", **headers}
    if body:
        given |= {"Content-Type": type, "Content-Length": str(len(body))}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def throughput(port: int, requests: Sequence[bytes], seconds: float, clients: int = CLIENTS) -> float:
    """Answered requests a second; ValueError where one is answered with an error."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_run, args=(theirs, port, requests, seconds, clients))
    process.start()
    done = ours.recv()
    process.join()
    if isinstance(done, str):
        raise ValueError(done)
    return float(done)


def _run(out: Connection, port: int, requests: Sequence[bytes], seconds: float, clients: int) -> None:
    try:
        out.send(_measured(port, requests, seconds, clients))
    except (ValueError, OSError) as error:
        out.send(f"{type(error).__name__}: {error}")


def _measured(port: int, requests: Sequence[bytes], seconds: float, clients: int) -> float:
    selector, sent = selectors.DefaultSelector(), 0
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port), 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(requests[sent % len(requests)])
        sent += 1
        selector.register(connection, selectors.EVENT_READ, _Answer())
    answered, began = 0, time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(1):
            connection = key.fileobj  # type: ignore[assignment]
            if key.data.take(connection.recv(262_144)):
                answered += 1
                connection.sendall(requests[sent % len(requests)])
                sent += 1
    rate = answered / (time.perf_counter() - began)
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return rate


class _Answer:
    """An HTTP answer as it comes in; `take` tells whether it is whole."""

    def __init__(self) -> None:
        self._head, self._left = b"", -1

    def take(self, data: bytes) -> bool:
        if not data:
            raise ValueError("the server closed the connection")
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            if self._head[9:10] not in (b"2", b"3"):
                raise ValueError(self._head[:600].decode(errors="replace"))
            lower = self._head[:end].lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._left = length - (len(self._head) - end - 4)
        else:
            self._left -= len(data)
        if self._left > 0:
            return False
        self._head, self._left = b"", -1
        return True


def ratio(reference: Callable[[], float], case: Callable[[], float], rounds: int) -> float:
    """The median of case / reference, the reference measured before and after each case."""
    found = []
    before = reference()
    for _ in range(rounds):
        measured = case()
        after = reference()
        found.append(2 * measured / (before + after))
        before = after
    return sorted(found)[len(found) // 2]
