"""The log: one JSON object a line, on standard output."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from threading import Thread
from typing import Any, BinaryIO

import orjson

_FLUSH_SECONDS = 0.2
_REPEAT_SECONDS = 60.0
_MOST_SAID = 100
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes what is at least as grave as `level`. Every line has time, level and what was done.

    Lines of every request are written out some times a second: a system call each would make the
    threads wait for one another.
    """

    def __init__(self, level: str, out: BinaryIO | None = None) -> None:
        self._least = _LEVELS[level]
        self._out = out or sys.stdout.buffer
        self._said: dict[tuple[str, str], float] = {}
        Thread(target=self._run, name="log", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            self._flush()

    def info(self, did: str, **told: Any) -> None:
        if self._least <= _LEVELS["info"]:
            self._write("info", did, told)

    def warning(self, did: str, **told: Any) -> None:
        """What was said within the last minute, whatever its cause, is not said again."""
        if self._least <= _LEVELS["warning"] and not self._is_said(did, told):
            self._write("warning", did, told)
            self._flush()

    def _is_said(self, did: str, told: dict[str, Any]) -> bool:
        said = did, str({name: value for name, value in told.items() if name != "cause"})
        now = time.monotonic()
        if now - self._said.get(said, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return True
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said[said] = now
        return False

    def error(self, did: str, **told: Any) -> None:
        self._write("error", did, told)
        self._flush()

    def _write(self, level: str, did: str, told: dict[str, Any]) -> None:
        now = time.time()
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        line = orjson.dumps({"time": moment, "level": level, "did": did, **told}, default=str)
        with suppress(OSError, ValueError):
            self._out.write(line + b"\n")

    def _flush(self) -> None:
        """A log on a full disk, or closed, loses lines; requests go on."""
        with suppress(OSError, ValueError):
            self._out.flush()
