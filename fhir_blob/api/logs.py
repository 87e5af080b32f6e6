"""The log: one JSON object a line, on standard output."""

from __future__ import annotations

import sys
import time
from typing import Any, BinaryIO

import orjson

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes what is at least as grave as `level`. Every line has time, level and what was done."""

    def __init__(self, level: str, out: BinaryIO | None = None) -> None:
        self._least = _LEVELS[level]
        self._out = out or sys.stdout.buffer

    def info(self, did: str, **told: Any) -> None:
        if self._least <= _LEVELS["info"]:
            self._write("info", did, told)

    def warning(self, did: str, **told: Any) -> None:
        if self._least <= _LEVELS["warning"]:
            self._write("warning", did, told)

    def error(self, did: str, **told: Any) -> None:
        self._write("error", did, told)

    def _write(self, level: str, did: str, told: dict[str, Any]) -> None:
        now = time.time()
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        line = orjson.dumps({"time": moment, "level": level, "did": did, **told}, default=str)
        self._out.write(line + b"\n")
        self._out.flush()
