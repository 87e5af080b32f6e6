"""The indexer: what the store wrote goes into the index outside the database.

It may be killed at any moment, and several may run: a task is done when the index has the resource
in that version or a later one, and doing it again harms nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Event

from fhir_blob.errors import FhirError
from fhir_blob.fhir import codec
from fhir_blob.search import Document, ExternalIndex
from fhir_blob.search.extraction import extract
from fhir_blob.store.queue import Claimed, IndexTask, IndexTasks, State

_IDLE_SECONDS = 0.1
_REFRESH_SECONDS = 0.5
_LONGEST_PAUSE = 15.0

# What is said, and of what: a line of the log.
Report = Callable[..., None]


class Indexer:
    """Of one thread. `waiting` is set while a search waits, and is looked at sooner than the clock.

    After `lease` seconds another indexer takes over what this one claimed: longer than any write takes.
    """

    def __init__(
        self, tasks: IndexTasks, index: ExternalIndex, waiting: Event, report: Report, *, lease: float
    ) -> None:
        self._tasks, self._index, self._waiting, self._report = tasks, index, waiting, report
        self._lease = int(lease * 1_000_000)
        self._sent: list[IndexTask] = []
        self._refreshed = time.monotonic()

    def run(self, stop: Event) -> None:
        """Until the event is set. An index out of reach is tried again, less and less often."""
        pause = _IDLE_SECONDS
        while not stop.is_set():
            try:
                if not self.step():
                    self._waiting.wait(_IDLE_SECONDS)
                    self._waiting.clear()
                pause = _IDLE_SECONDS
            except FhirError as error:
                self._report("the indexer waits", **error.for_operator())
                stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def step(self) -> bool:
        """Take what is due; False where nothing was. Unavailable leaves it to be claimed again."""
        claimed = self._tasks.claim(now=time.time_ns() // 1000, lease=self._lease)
        if claimed.tasks:
            self._take(claimed)
        if self._sent and (not claimed.tasks or time.monotonic() - self._refreshed > _REFRESH_SECONDS):
            self._refresh()
        return bool(claimed.tasks)

    def _take(self, claimed: Claimed) -> None:
        latest = {(each.tenant, each.type, each.id): each for each in claimed.tasks}
        try:
            documents = documents_of(self._tasks.states(list(latest)))
            refused = self._index.write(documents, rebuilding=claimed.rebuilding)
        except FhirError:
            self._tasks.release(claimed.tasks)
            raise
        aside = {latest[each.tenant, each.type, each.id].task: each for each in refused}
        for each in claimed.tasks:
            if each.task in aside:
                self._tasks.set_aside(each, aside[each.task].reason)
                self._report("the index refuses a resource", type=each.type, id=each.id, error=aside[each.task].reason)
        done = [each for each in claimed.tasks if each.task not in aside]
        self._tasks.sent(done)
        self._sent += done

    def _refresh(self) -> None:
        self._index.refresh({each.type for each in self._sent})
        self._refreshed = time.monotonic()
        sent, self._sent = self._sent, []
        self._tasks.finish(sent)


def documents_of(states: Iterable[State]) -> Iterator[Document]:
    """One after the other: what is made of one need not wait for the others."""
    return map(document_of, states)


def document_of(state: State) -> Document:
    """References are those of the database's rows, which know by which URL this server was written to."""
    entries = None
    if not state.deleted:
        found = dict(extract(codec.reparse(state.body), base=""))
        found.pop("reference", None)
        entries = {**found, "reference": list(state.references)} if state.references else found
    return Document(state.tenant, state.type, state.id, state.version, state.rid, state.last_updated, entries)
