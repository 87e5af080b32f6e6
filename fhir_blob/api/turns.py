"""Reads one after the other, where this process alone answers them.

A thread that leaves the interpreter for SQLite waits until another gives it back, some hundred times a second
each: taking turns brings a third more reads from the same processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

# A turn is not waited for longer (seconds), so that a slow search holds up nobody.
_LONGEST_WAIT = 0.005
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Turns:
    """The application, one GET of FHIR at a time; raw bytes come from elsewhere and are not waited for."""

    def __init__(self, application: Wsgi, *, wait: float = _LONGEST_WAIT) -> None:
        self._application, self._turn, self._wait = application, Lock(), wait

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or "/Binary/" in environ.get("PATH_INFO", ""):
            return self._application(environ, start_response)
        is_ours = self._turn.acquire(timeout=self._wait)
        try:
            return self._application(environ, start_response)
        finally:
            if is_ours:
                self._turn.release()
