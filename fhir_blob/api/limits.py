"""Limits of a request before anything of it is done: the size of its head, and how many a minute there may be."""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from ipaddress import ip_network
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Any

from fhir_blob.access import ANYBODY, Principal
from fhir_blob.access.credentials import Credentials
from fhir_blob.api.requests import Request
from fhir_blob.errors import BadRequest, HeaderTooLarge, Throttled, Unauthenticated, UrlTooLong

LONGEST_URL, LONGEST_HEADER = 32_768, 8_192
# Those that the server reads. All headers together are the HTTP server's to limit.
_READ = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_AUTHORIZATION",
    "HTTP_CONTENT_ENCODING",
    "HTTP_FORWARDED",
    "HTTP_HOST",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_EXIST",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_ORIGIN",
    "HTTP_PREFER",
    "HTTP_RANGE",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_SECURITY_CONTEXT",
)
# What the HTTP server cannot read, not being ASCII, it passes on as nothing: of these that would be another meaning.
_NEVER_EMPTY = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_SECURITY_CONTEXT")
_MINUTE = 60.0
# The file: a key that nobody knows, then sets of four entries, each the digest of a name and when it has paid.
_KEY, _SET, _SETS = 16, struct.Struct("=QdQdQdQd"), 16_384
_ENTRY = struct.Struct("=Qd")


def check_head(environ: dict[str, Any]) -> None:
    """UrlTooLong or HeaderTooLarge for what no client needs; BadRequest for what cannot be read, or without a Host.

    A Host there must be since HTTP/1.1: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    """
    if len(environ["PATH_INFO"]) + len(environ.get("QUERY_STRING", "")) > LONGEST_URL:
        raise UrlTooLong(f"The URL has more than {LONGEST_URL} bytes: POST a long search to _search, as a form.")
    check_path(environ["PATH_INFO"])
    for name in _READ:
        if name in environ and len(environ[name]) > LONGEST_HEADER:
            raise HeaderTooLarge(f"{_header(name)} has {len(environ[name])} bytes; at most {LONGEST_HEADER} are read.")
    for name in _NEVER_EMPTY:
        if name in environ and not environ[name].strip(" ,"):
            raise BadRequest(f"{_header(name)} is empty, or not ASCII.")
    if not environ.get("HTTP_HOST") and environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        raise BadRequest("The request has no Host.")


def check_path(path: str) -> None:
    """BadRequest for what no name has, and PostgreSQL does not take."""
    if "\0" in path:
        raise BadRequest("The URL has NUL (%00) in its path, which is in no name.")


def _header(name: str) -> str:
    return name.removeprefix("HTTP_").replace("_", "-").title()


class Admission:
    """Lets in who is known, so many times a minute."""

    def __init__(self, credentials: Credentials, rate: RateLimit | None = None) -> None:
        self._credentials, self._rate = credentials, rate

    def principal(self, request: Request) -> Principal:
        """Who asks. Unauthenticated where that is not known, Throttled where they asked too often.

        Whoever has no name of their own, or a wrong one, is counted by address: when that has used up its minute what
        it calls itself is not even looked at, since that takes the processor long, unless it was right before.
        """
        authorization = request.header("AUTHORIZATION")
        if self._rate is None:
            return self._credentials.identify(authorization)
        if not self._credentials.knows(authorization):
            self._rate.check(_address(request))
        try:
            principal = self._credentials.identify(authorization)
        except Unauthenticated:
            self._rate.count(_address(request))
            raise
        is_anybody = principal.name == ANYBODY.name
        self._rate.count(_address(request) if is_anybody else f"{principal.tenant}\0{principal.name}")
        return principal


def _address(request: Request) -> str:
    """The client's, or the network that one client has all addresses of: https://www.rfc-editor.org/rfc/rfc6177"""
    address = str(request.environ.get("REMOTE_ADDR", ""))
    try:
        return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address


class RateLimit:
    """So many requests a minute of each name, counted in a file for all processes of this machine.

    A name may use its minute at once, and has it back bit by bit (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm):
    one moment for each name is all that is kept, and what a crash leaves behind is past after a minute.
    """

    def __init__(self, path: Path, per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._file, self._threads = os.open(path, os.O_RDWR | os.O_CREAT, 0o600), Lock()
        size = _KEY + _SETS * _SET.size
        with self._alone():
            if os.fstat(self._file).st_size != size:
                os.ftruncate(self._file, size)
                os.pwrite(self._file, secrets.token_bytes(_KEY), 0)
        self._memory = mmap.mmap(self._file if _is_reserved(self._file, size) else -1, size)
        self._key = self._memory[:_KEY]

    def count(self, name: str) -> None:
        """Throttled, and not counted, where the name's requests of this minute are used up."""
        self._refuse(self._pay(name))

    def check(self, name: str) -> None:
        """Throttled where they are used up; it counts for nothing."""
        self._refuse(self._pay(name, 0.0))

    def _refuse(self, seconds: float) -> None:
        if seconds:
            raise Throttled(
                f"You asked more than {self._per_minute} times a minute: go on in {ceil(seconds)} s.",
                headers={"Retry-After": str(ceil(seconds))},
            )

    def _pay(self, name: str, times: float = 1.0) -> float:
        """0, or how long to wait until one more may be paid; that many are."""
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest(), "little")
        at, interval, now = _KEY + digest % _SETS * _SET.size, _MINUTE / self._per_minute, self._clock()
        with self._alone():
            fields = _SET.unpack_from(self._memory, at)
            digests, moments = fields[::2], fields[1::2]
            way = digests.index(digest) if digest in digests else moments.index(min(moments))
            is_known = digests[way] == digest and moments[way] <= now + _MINUTE
            paid = max(moments[way], now) if is_known else now
            if paid + interval - now > _MINUTE + 1e-6:
                return paid + interval - now - _MINUTE
            if times:
                _ENTRY.pack_into(self._memory, at + way * _ENTRY.size, digest, paid + times * interval)
            return 0.0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Among the threads, and among the processes: a lock of lockf ends with its process."""
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _is_reserved(file: int, size: int) -> bool:
    """False where the disk is full: who writes into a hole of a mapped file is ended then (SIGBUS)."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError:
        return False
    return True
