"""Making the search index anew, and comparing it with the store, while the server goes on.

A search parameter that was added (a SearchParameter in the store) counts once its types were reindexed:
first every process writes its rows, then all resources are gone through, then it can be asked for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from fhir_blob.errors import Unprocessable
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import SearchParameter, activate
from fhir_blob.operations.indexing import documents_of
from fhir_blob.search import ExternalIndex, Refused
from fhir_blob.search.added import Added, dumped, loaded, parameters_of
from fhir_blob.search.extraction import extract
from fhir_blob.store import IndexEntries, ResourceStore
from fhir_blob.store.queue import IndexTasks, State

T = TypeVar("T")
R = TypeVar("R")

# How often a process looks whether search parameters were added, and how long until every one has.
LOOK_SECONDS = 1.0
_UNTIL_ALL_KNOW = 2.5
_BATCH = 500
# Bulk requests that are made or waited for.
_AT_ONCE = 2
_PARAMETERS = "parameters"

# (type, how many of it are done)
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Reindexing:
    """`external` is the index outside the database, None where the database answers searches."""

    store: ResourceStore
    external: ExternalIndex | None
    base: str

    def run(self, types: Sequence[str], progress: Progress, ended: Progress = lambda type, count: None) -> int:
        """Every resource of the types, anew; how many they were. No search fails or misses one meanwhile.

        `progress` is called again and again within a type, `ended` once after it.
        """
        tasks, known = self.store.index_tasks, added(self.store)
        is_new = self._announce(known, types)
        done = 0
        for type in types:
            progress(type, 0)
            count = self._one(type, progress)
            ended(type, count)
            done += count
        if is_new:
            _, pending = loaded(tasks.state(_PARAMETERS))
            tasks.put_state(_PARAMETERS, dumped(known, [each for each in pending if each[0] not in types]))
            look(tasks)
        return done

    def _announce(self, known: Added, types: Sequence[str]) -> bool:
        """Have every process write the rows of added search parameters, which stay pending; whether there are any.

        Those of types that are not reindexed now stay pending beyond it.
        """
        tasks = self.store.index_tasks
        before, waiting = loaded(tasks.state(_PARAMETERS))
        pending = {
            (type, code)
            for type, codes in known.items()
            for code, each in codes.items()
            if (type, code) in waiting or each != before.get(type, {}).get(code)
        }
        if known == before and not pending:
            return False
        activate(known, pending)
        if self.external is not None:
            for type in sorted({type for type, _ in pending}):
                self.external.widen(type)
        tasks.put_state(_PARAMETERS, dumped(known, pending))
        time.sleep(_UNTIL_ALL_KNOW)
        return True

    def _one(self, type: str, progress: Progress) -> int:
        if self.external is None:
            return self._rewrite(type, progress)
        return self._rebuild(type, self.external, progress)

    def _rebuild(self, type: str, index: ExternalIndex, progress: Progress) -> int:
        """Beside the old index; what is written meanwhile goes into both, since tasks claimed from now on say so.

        Of two that rebuild the same type the one that began first ends with Conflict.
        """
        tasks, count = self.store.index_tasks, 0
        if not tasks.scan(type, after_rid=0, limit=1, bodies=False) and not index.held(type, after_rid=0, limit=1):
            return 0
        built = index.begin(type)
        tasks.put_state(f"rebuilding/{type}", built)
        for filled, refused in _side_by_side(lambda states: _fill(index, states), scanned(tasks, type)):
            # As tasks they are set aside, and told of.
            tasks.enqueue([(each.tenant, each.type, each.id) for each in refused], now=time.time_ns() // 1000)
            count += filled
            progress(type, count)
        index.swap(type, built)
        tasks.drop_state(f"rebuilding/{type}", built)
        return count

    def _rewrite(self, type: str, progress: Progress) -> int:
        """In its place: each resource's rows are replaced in one transaction, if it is still what was read."""
        tasks, count = self.store.index_tasks, 0
        for states in scanned(tasks, type):
            self.replace(states)
            count += len(states)
            progress(type, count)
        return count

    def replace(self, states: Sequence[State]) -> None:
        """Make the rows of these resources anew."""
        by_tenant: dict[str, list[tuple[State, IndexEntries]]] = {}
        for each in states:
            by_tenant.setdefault(each.tenant, []).append((each, self.entries(each)))
        for tenant, pairs in by_tenant.items():
            self.store.write(tenant, lambda transaction, pairs=pairs: [transaction.reindex(*each) for each in pairs])  # type: ignore[misc]

    def entries(self, state: State) -> IndexEntries:
        """The rows of a resource. What it refers to is local where it was when it was written."""
        found = extract(codec.reparse(state.body), base=self.base)
        local = {(type, id) for _, _, type, id, _, url in state.references if id and not url}
        foreign = {(type, id, url) for _, _, type, id, _, url in state.references if url}
        rows = [
            (param, group, type, id, version, "" if (type, id) in local and (type, id, url) not in foreign else url)
            for param, group, type, id, version, url in found.get("reference", ())
        ]
        return {**found, "reference": rows} if rows else found


def scanned(tasks: IndexTasks, type: str, *, bodies: bool = True) -> Iterator[tuple[State, ...]]:
    """The resources of a type, some at a time, in order of rid."""
    after = 0
    while states := tasks.scan(type, after_rid=after, limit=_BATCH, bodies=bodies):
        yield states
        after = states[-1].rid


def _fill(index: ExternalIndex, states: Sequence[State]) -> tuple[int, tuple[Refused, ...]]:
    return len(states), index.fill(documents_of(states))


def _side_by_side(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results in the order of the items, some of which are worked on at once: values are found while the
    cluster works, and it is never without a request."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        running: deque[Future[R]] = deque()
        for item in items:
            if len(running) == _AT_ONCE:
                yield running.popleft().result()
            running.append(threads.submit(work, item))
        while running:
            yield running.popleft().result()


def look(tasks: IndexTasks) -> None:
    """Take on the search parameters that were added, if that has changed."""
    text = tasks.state(_PARAMETERS)
    if text != _looked.get("text", ""):
        _looked["text"] = text
        activate(*loaded(text))


_looked: dict[str, str] = {}


def added(store: ResourceStore) -> dict[str, dict[str, SearchParameter]]:
    """By type and code the SearchParameters of the store that R4 does not have itself."""
    found: dict[str, dict[str, SearchParameter]] = {}
    for states in scanned(store.index_tasks, "SearchParameter"):
        for state in states:
            resource = codec.parse(state.body)
            if resource.get("status") != "retired" and "expression" in resource:
                with suppress(Unprocessable):  # a composite of what is not known here
                    for type, parameter in parameters_of(resource):
                        found.setdefault(type, {})[parameter.code] = parameter
    return found
