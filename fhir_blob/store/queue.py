"""The queue of an index outside the database, and what its indexers ask of the store: the contract.

A task is appended with each version, in its transaction; see index_tasks.py, which keeps this on SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class IndexTask:
    """A resource that an index outside the database has yet to hear of."""

    task: int
    tenant: str
    type: str
    id: str
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """Tasks, and the types that were being rebuilt when they were claimed."""

    tasks: tuple[IndexTask, ...]
    rebuilding: frozenset[str]


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits, since when (microseconds), and how many tasks were set aside for good."""

    waiting: int
    oldest: int | None
    set_aside: int


@dataclass(frozen=True, slots=True)
class State:
    """A resource as it is now, of any tenant; `references` are its rows of the reference index."""

    tenant: str
    type: str
    id: str
    version: int
    rid: int
    last_updated: int
    deleted: bool
    body: bytes
    references: tuple[tuple[Any, ...], ...] = ()


class IndexTasks(Protocol):
    """The queue of an index outside the database, and what is to be known of its rebuilding."""

    def claim(self, *, now: int, lease: int, limit: int = 500) -> Claimed:
        """The oldest tasks that nobody holds, leased until now + lease (microseconds)."""

    def sent(self, tasks: Sequence[IndexTask]) -> None:
        """The index has them, but was not refreshed."""

    def finish(self, tasks: Sequence[IndexTask]) -> None:
        """They are found by searches; what was set aside of the same resources is forgotten."""

    def release(self, tasks: Sequence[IndexTask]) -> None:
        """They were not done: anybody may claim them."""

    def set_aside(self, task: IndexTask, error: str) -> None:
        """The index will never take it as it is."""

    def enqueue(self, named: Iterable[tuple[str, str, str]], *, now: int) -> None:
        """Tasks for (tenant, type, id)s, beside those that writes leave."""

    def newest(self) -> int | None:
        """The last task that was committed, None where nothing waits."""

    def is_queued(self, newest: int) -> bool:
        """Whether a task up to that one was not sent."""

    def is_sent(self, newest: int) -> bool:
        """Whether a task up to that one was sent and not refreshed."""

    def sent_types(self) -> tuple[str, ...]: ...

    def pending(self, type: str) -> frozenset[tuple[str, str]]:
        """(tenant, id) of the resources of the type that wait."""

    def backlog(self) -> Backlog: ...

    def state(self, name: str) -> str:
        """A note on the index under that name, '' for none. 'rebuilding/<type>' is read by `claim`."""

    def put_state(self, name: str, value: str) -> None: ...

    def drop_state(self, name: str, value: str) -> None:
        """Take the note away, if it is still that one."""

    def states(self, named: Sequence[tuple[str, str, str]]) -> tuple[State, ...]:
        """Those (tenant, type, id)s as they are now, deleted ones too."""

    def scan(self, type: str, *, after_rid: int, limit: int, bodies: bool = True) -> tuple[State, ...]:
        """The resources of a type that are not deleted, of every tenant, in order of rid."""
