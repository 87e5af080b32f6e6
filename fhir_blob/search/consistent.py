"""A search that waits until the index outside the database has what was committed when it came.

Not the write waits but the search, and no longer than it may: then it answers and says so.
"""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event, Lock

from fhir_blob.search import ExternalIndex, Page, Query
from fhir_blob.store import Reader
from fhir_blob.store.queue import IndexTasks

_FIRST_NAP, _LONGEST_NAP = 0.002, 0.05


class ConsistentIndex:
    """`waiting` tells the indexer of this process that a search waits."""

    def __init__(self, index: ExternalIndex, tasks: IndexTasks, *, seconds: float, waiting: Event) -> None:
        self._index, self._tasks, self._seconds, self._waiting = index, tasks, seconds, waiting
        self._refreshing, self._begun = Lock(), 0

    def search(self, reader: Reader, query: Query) -> Page:
        """One page, with `behind` where the wait was too long."""
        newest = self._tasks.newest() if query.cursor is None else None
        behind = "" if newest is None or self._caught_up(newest) else self._sentence()
        page = self._index.search(reader, query)
        return replace(page, behind=behind) if behind else page

    def _sentence(self) -> str:
        return f"The search index is behind by more than {self._seconds:g} s: what was written last may be missing."

    def _caught_up(self, newest: int) -> bool:
        until, nap = time.monotonic() + self._seconds, _FIRST_NAP
        while self._tasks.is_queued(newest):
            if time.monotonic() > until:
                return False
            self._waiting.set()
            time.sleep(nap)
            nap = min(nap * 1.5, _LONGEST_NAP)
        if self._tasks.is_sent(newest):
            self._refresh()
        return True

    def _refresh(self) -> None:
        """One for all that wait: whoever came before it began is served by it."""
        begun = self._begun
        with self._refreshing:
            if self._begun > begun:
                return
            self._begun += 1
            self._index.refresh(self._tasks.sent_types())
