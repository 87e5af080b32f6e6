"""What of the search index is not as the store has it, and mending it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fhir_blob.operations.reindexing import Reindexing, scanned
from fhir_blob.search import Document, ExternalIndex
from fhir_blob.store import IndexEntries
from fhir_blob.store.queue import State


@dataclass(frozen=True, slots=True)
class Difference:
    """`state` is the resource as the store has it, None where it has none; `held` what the index holds."""

    name: str
    what: str
    state: State | None = None
    held: Document | None = None


def differences(reindexing: Reindexing, types: Sequence[str]) -> Iterator[Difference]:
    """Resources that wait to be indexed are passed over."""
    for type in types:
        if reindexing.external is None:
            yield from _in_database(reindexing, type)
        else:
            yield from _outside(reindexing, reindexing.external, type)


def repair(reindexing: Reindexing, found: Sequence[Difference], *, now: int) -> None:
    """In the database at once; outside it by the indexer, but for what the store does not have."""
    if reindexing.external is None:
        reindexing.replace([each.state for each in found if each.state is not None])
        return
    reindexing.external.forget([each.held for each in found if each.held is not None and each.state is None])
    named = [(each.state.tenant, each.state.type, each.state.id) for each in found if each.state is not None]
    reindexing.store.index_tasks.enqueue(named, now=now)


def _outside(reindexing: Reindexing, index: ExternalIndex, type: str) -> Iterator[Difference]:
    """Both sides come in order of rid."""
    tasks = reindexing.store.index_tasks
    pending = tasks.pending(type)
    states, held = _states(reindexing, type), _held(index, type)
    state, document = next(states, None), next(held, None)
    while state is not None or document is not None:
        if document is None or (state is not None and state.rid < document.rid):
            assert state is not None  # one of both is there
            if (state.tenant, state.id) not in pending:
                yield Difference(f"{type}/{state.id}", "is missing from the index", state)
            state = next(states, None)
        elif state is None or document.rid < state.rid:
            if (document.tenant, document.id) not in pending:
                yield Difference(f"{type}/{document.id}", "is in the index, but not in the store", None, document)
            document = next(held, None)
        else:
            if state.version != document.version and (state.tenant, state.id) not in pending:
                told = f"is in the index in version {document.version}, in the store in {state.version}"
                yield Difference(f"{type}/{state.id}", told, state, document)
            state, document = next(states, None), next(held, None)


def _states(reindexing: Reindexing, type: str) -> Iterator[State]:
    for states in scanned(reindexing.store.index_tasks, type, bodies=False):
        yield from states


def _held(index: ExternalIndex, type: str) -> Iterator[Document]:
    after = 0
    while documents := index.held(type, after_rid=after, limit=1000):
        yield from documents
        after = documents[-1].rid


def _in_database(reindexing: Reindexing, type: str) -> Iterator[Difference]:
    """The rows of each resource against those that it should have."""
    for states in scanned(reindexing.store.index_tasks, type):
        for tenant, group in groupby(sorted(states, key=lambda each: each.tenant), key=lambda each: each.tenant):
            some = list(group)
            with reindexing.store.read(tenant) as reader:
                rows = reader.index_rows([each.rid for each in some])
            for state in some:
                if _comparable(rows[state.rid]) != _comparable(reindexing.entries(state)):
                    yield Difference(f"{type}/{state.id}", "has other rows in the index than it should", state)


def _comparable(entries: IndexEntries) -> Mapping[str, set[tuple[Any, ...]]]:
    return {kind: {tuple(row) for row in rows} for kind, rows in entries.items() if rows}
