"""A bar that grows, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

_WIDTH = 30
_SECONDS = 0.2


class Bar:
    """By types done, with the count of resources; nothing where nobody watches."""

    def __init__(self, types: Sequence[str]) -> None:
        self._places = {type: number for number, type in enumerate(types)}
        self._count = 0
        self._done: dict[str, int] = {}
        self._is_watched, self._shown = sys.stderr.isatty(), 0.0

    def show(self, type: str, done: int) -> None:
        self._count += done - self._done.get(type, 0)
        self._done[type] = done
        if self._is_watched and time.monotonic() - self._shown > _SECONDS:
            self._shown = time.monotonic()
            filled = round(_WIDTH * self._places[type] / len(self._places))
            bar = "#" * filled + "." * (_WIDTH - filled)
            sys.stderr.write(f"\r[{bar}] {self._count:>10} {type:<40}")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_watched:
            sys.stderr.write(f"\r[{'#' * _WIDTH}] {self._count:>10} {'':<40}\n")
