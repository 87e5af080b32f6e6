"""Raw bodies: how many at a time, and what happens to one that stalls or ends early.

An aborted upload looks like a normal end to the WSGI server, so the length is compared. It knows no
timeout either, and a body can be read in the request's own thread alone: `end_idle_connections` is
what ends a wait for a client that sends, or takes, nothing any more.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from threading import Semaphore, Thread
from typing import IO

from fhir_blob.errors import BodyTruncated, TooManyTransfers, UploadTimeout

_CHUNK = 65_536
# struct tcp_info: eight bytes, then 32-bit fields, times in milliseconds.
_TCP_INFO = struct.Struct("=8B13I")
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LAST_DATA_SENT, _LAST_DATA_RECEIVED = 8 + 9, 8 + 11


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


def end_idle_connections(port: int, seconds: float) -> None:
    """From now on end every connection to the port that carries no byte, either way, for so long."""
    Thread(target=_end_idle, args=(port, seconds), name="idle", daemon=True).start()


def _end_idle(port: int, seconds: float) -> None:
    while True:
        time.sleep(max(seconds / 10, 0.1))
        for descriptor in os.listdir("/proc/self/fd"):
            _end_if_idle(int(descriptor), port, seconds * 1000)


def _end_if_idle(descriptor: int, port: int, milliseconds: float) -> None:
    """Of a client that says nothing no more is read; what is answered it can still take."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family in _INTERNET and connection.getsockname()[1] == port and connection.getpeername():
                info = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
                if min(info[_LAST_DATA_SENT], info[_LAST_DATA_RECEIVED]) >= milliseconds:
                    connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # no connection, or none any more
