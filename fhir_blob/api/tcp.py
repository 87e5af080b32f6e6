"""The connections to a port that this process has, as the kernel knows them: https://man7.org/linux/man-pages/man7/tcp.7.html

A WSGI server tells of a request's connection no more than the client's address.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass

# struct tcp_info: eight bytes, 32-bit fields with times in milliseconds, 64-bit ones, and 32-bit ones again.
_TCP_INFO = struct.Struct("=8B24I4Q6I")
_STATE, _LAST_DATA_SENT, _LAST_DATA_RECEIVED, _BYTES_RECEIVED, _SEGMENTS_SENT = 0, 17, 19, 35, 41
_DESCRIPTORS = "/proc/self/fd"
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# TCP_ESTABLISHED and TCP_CLOSE_WAIT of linux/tcp_states.h: this side has not ended it.
_OPEN = (1, 8)


@dataclass(frozen=True, slots=True)
class State:
    """How long (milliseconds) nothing was sent and received, from the beginning where nothing ever was.

    How many bytes ever came, whether any went, and whether more may.
    """

    sent_ms: int
    received_ms: int
    received: int
    has_sent: bool
    is_open: bool


def connections(port: int, address: str | None = None) -> Iterator[socket.socket]:
    """A duplicate of each, to be closed, or of those to an address: they end where the last one of it is closed.

    Where Linux is not, none is known.
    """
    for descriptor in os.listdir(_DESCRIPTORS) if os.path.isdir(_DESCRIPTORS) else ():
        connection = _duplicate(int(descriptor))
        if connection is None:
            continue
        if _is_between(connection, port, address):
            yield connection
        else:
            connection.close()


def _duplicate(descriptor: int) -> socket.socket | None:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        return socket.socket(fileno=os.dup(descriptor)) if is_socket else None
    except OSError:
        return None  # closed since, or there are too many


def _is_between(connection: socket.socket, port: int, address: str | None) -> bool:
    try:
        if connection.family not in _INTERNET or connection.getsockname()[1] != port:
            return False
        return connection.getpeername()[0] == address or address is None
    except OSError:
        return False  # it listens, or is over


def state(connection: socket.socket) -> State:
    """OSError where the connection is over."""
    fields = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    return State(
        fields[_LAST_DATA_SENT],
        fields[_LAST_DATA_RECEIVED],
        fields[_BYTES_RECEIVED],
        fields[_SEGMENTS_SENT] > 0,
        fields[_STATE] in _OPEN,
    )


def identity(connection: socket.socket) -> int:
    """The same for all duplicates, and for no other connection that there is."""
    return os.fstat(connection.fileno()).st_ino


def has_unsent(connection: socket.socket) -> bool:
    """Whether an answer is there that the client does not take: SIOCOUTQ of tcp(7)."""
    unsent = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    return any(unsent)
