"""Reads one after the other, where this process alone answers them.

A thread that leaves the interpreter for SQLite waits until another gives it back, some hundred times a second
each: taking turns brings a third more reads from the same processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

# A turn is waited for until it is this old (seconds), so that a slow search holds up nobody.
_LONGEST_WAIT = 0.005
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Turns:
    """The application, one GET of FHIR at a time; raw bytes come from elsewhere and are not waited for."""

    def __init__(self, application: Wsgi, *, wait: float = _LONGEST_WAIT) -> None:
        self._application, self._turn, self._wait = application, Lock(), wait
        self._since = time.monotonic()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or "/Binary/" in environ.get("PATH_INFO", ""):
            return self._application(environ, start_response)
        if not self._has_turn():
            return self._application(environ, start_response)
        self._since = time.monotonic()
        try:
            return self._application(environ, start_response)
        finally:
            self._turn.release()

    def _has_turn(self) -> bool:
        """Who has had the turn for longer than one waits is not waited for by anybody who comes then."""
        if self._turn.acquire(blocking=False):
            return True
        left = self._since + self._wait - time.monotonic()
        return left > 0 and self._turn.acquire(timeout=left)
