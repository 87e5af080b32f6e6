"""ResourceStore on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from fhir_blob.errors import Conflict, Internal, StorageFull, Unavailable
from fhir_blob.store import (
    Account,
    Blob,
    BlobState,
    HistoryPage,
    IndexEntries,
    Task,
    Transaction,
    Version,
    blob_rows,
    index_tasks,
    purging,
    versions,
)
from fhir_blob.store.engine import PostgresqlDatabase, Retry, Session, SqliteDatabase, connect
from fhir_blob.store.index_tasks import SqlIndexTasks
from fhir_blob.store.migrate import migrate
from fhir_blob.store.queue import State

__all__ = ["SqlStore", "migrate", "open_store"]

T = TypeVar("T")
_TRIES = 10
_GROUP = 64


def open_store(url: str, *, statement_timeout: float, announces: bool = False) -> SqlStore:
    """The store of a database whose schema is there already: see migrate.

    With `announces` each write leaves a task for the index outside the database.
    """
    return SqlStore(connect(url, statement_timeout=statement_timeout), announces=announces)


class SqlStore:
    def __init__(self, database: SqliteDatabase | PostgresqlDatabase, *, announces: bool = False) -> None:
        self._database, self._announces = database, announces
        self._writer = _GroupWriter(database) if isinstance(database, SqliteDatabase) else _RetryingWriter(database)
        self.index_tasks = SqlIndexTasks(database, self._writer.run)

    @contextmanager
    def read(self, tenant: str) -> Iterator[SqlTransaction]:
        with self._database.session() as session:
            yield SqlTransaction(session, tenant)

    def write(self, tenant: str, work: Callable[[Transaction], T]) -> T:
        done: T = self._writer.run(lambda session: work(SqlTransaction(session, tenant, announces=self._announces)))
        return done

    def claim(self, kinds: Sequence[str], *, now: int, lease: int, limit: int) -> tuple[Task, ...]:
        with self._database.session() as session:
            if not blob_rows.any_due(session, kinds, now):
                return ()
        return self._writer.run(lambda session: blob_rows.claim(session, kinds, now, lease, limit))

    def finish(self, task: Task) -> None:
        self._writer.run(lambda session: blob_rows.finish(session, task.task))

    def postpone(self, task: Task, *, not_before: int, error: str) -> None:
        self._writer.run(lambda session: blob_rows.postpone(session, task, not_before, error))

    def blobs_in_state(
        self, state: BlobState, *, before: int, limit: int, after: str = ""
    ) -> tuple[tuple[str, Blob], ...]:
        with self._database.session() as session:
            return blob_rows.in_state(session, state, before, limit, after)

    def blob_places(self) -> tuple[tuple[str, str, str], ...]:
        with self._database.session() as session:
            return blob_rows.places(session)

    def knows_object(self, account: str, bucket: str, key: str) -> bool:
        with self._database.session() as session:
            return blob_rows.knows_object(session, account, bucket, key)

    def scrub(self) -> bool:
        return self._database.scrub()

    def ping(self) -> None:
        with self._database.session() as session:
            session.execute("SELECT 1").fetchone()

    def close(self) -> None:
        self._database.close()


class SqlTransaction:
    """Reader and Transaction: they differ in whether a transaction was begun."""

    def __init__(self, session: Session, tenant: str, *, announces: bool = False) -> None:
        self._session, self.tenant, self._announces = session, tenant, announces

    @property
    def is_postgresql(self) -> bool:
        return self._session.database.is_postgresql

    def rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        text = sql.replace("%", "%%").replace("?", "%s") if self.is_postgresql else sql
        return self._session.execute(text, parameters).fetchall()

    def index_rows(self, rids: Sequence[int]) -> dict[int, IndexEntries]:
        return versions.index_rows(self._session, rids)

    def current(self, type: str, id: str) -> Version | None:
        return versions.current(self._session, self.tenant, type, id)

    def version(self, type: str, id: str, version: int) -> Version | None:
        return versions.version(self._session, self.tenant, type, id, version)

    def history(
        self,
        type: str | None,
        id: str | None,
        *,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before_seq: int | None = None,
        total: int | None = None,
        count: int,
    ) -> HistoryPage:
        session, tenant = self._session, self.tenant
        return versions.history(
            session, tenant, type, id, since=since, at=at, before_seq=before_seq, total=total, count=count
        )

    def blob(self, binary_id: str, version: int) -> Blob | None:
        return blob_rows.at_version(self._session, self.tenant, binary_id, version)

    def blobs(self, wanted: Sequence[tuple[str, int | None]]) -> dict[tuple[str, int | None], Blob]:
        return blob_rows.of_many(self._session, self.tenant, wanted)

    def offered(self, binary_id: str) -> Blob | None:
        return blob_rows.offered(self._session, self.tenant, binary_id)

    def blob_by_id(self, id: str) -> Blob | None:
        return blob_rows.by_id(self._session, self.tenant, id)

    def blob_by_pending_key(self, account: str, bucket: str, key: str) -> Blob | None:
        return blob_rows.by_key(self._session, self.tenant, account, bucket, key, pending=True)

    def blob_by_object_key(self, account: str, bucket: str, key: str) -> Blob | None:
        return blob_rows.by_key(self._session, self.tenant, account, bucket, key, pending=False)

    def blobs_of(self, binary_id: str) -> tuple[Blob, ...]:
        return blob_rows.of_binary(self._session, self.tenant, binary_id)

    def blobs_owned_by(self, owner: str) -> tuple[Blob, ...]:
        return blob_rows.owned_by(self._session, self.tenant, owner)

    def referrers(self, binary_id: str) -> tuple[str, ...]:
        return blob_rows.referrers(self._session, self.tenant, binary_id)

    def naming(self, name: str, *, after: int) -> tuple[purging.Named, int | None]:
        return purging.naming(self._session, self.tenant, name, after)

    def position(self) -> tuple[int, int]:
        return purging.position(self._session)

    def naming_since(self, name: str, position: tuple[int, int]) -> purging.Named:
        return purging.naming_since(self._session, self.tenant, name, position)

    def secured(self, *, after: int) -> tuple[tuple[tuple[str, bytes], ...], int | None]:
        return purging.secured(self._session, self.tenant, after)

    def waiting(self, kind: str, *, now: int) -> int:
        return blob_rows.waiting(self._session, self.tenant, kind, now)

    def account(self, id: str) -> Account | None:
        return blob_rows.account_by_id(self._session, self.tenant, id)

    def account_ids(self) -> tuple[str, ...]:
        return blob_rows.account_ids(self._session, self.tenant)

    def account_in_use(self, id: str) -> bool:
        return blob_rows.account_in_use(self._session, self.tenant, id)

    def lock(self, type: str, id: str) -> Version | None:
        return versions.current(self._session, self.tenant, type, id, lock=True)

    def put(self, version: Version, entries: IndexEntries, *, expected: int | None) -> Version:
        done = versions.put(self._session, self.tenant, version, entries, expected)
        if self._announces:
            index_tasks.append(self._session, self.tenant, done)
        return done

    def reindex(self, state: State, entries: IndexEntries) -> bool:
        return versions.reindex(self._session, state, entries)

    def purge(self, type: str, id: str, versions: Sequence[int]) -> int:
        return purging.purge(self._session, self.tenant, type, id, versions)

    def put_blob(self, blob: Blob) -> None:
        blob_rows.put(self._session, self.tenant, blob)

    def drop_blob(self, id: str) -> None:
        blob_rows.drop(self._session, self.tenant, id)

    def hold(self, name: str) -> None:
        """On PostgreSQL by an advisory lock, which holds also where no row is there yet. SQLite has one writer."""
        if self.is_postgresql:
            digest = hashlib.sha256(f"{self.tenant}\0{name}".encode()).digest()
            key = int.from_bytes(digest[:8], "big", signed=True)
            self._session.execute("SELECT pg_advisory_xact_lock(%s)", (key,))

    def share(self, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return versions.share(self._session, self.tenant, named)

    def lock_binary(self, binary_id: str) -> tuple[Blob, ...]:
        self.hold(binary_id)
        return blob_rows.of_binary(self._session, self.tenant, binary_id)

    def refer(self, type: str, id: str, version: int, binary_ids: Sequence[str]) -> None:
        blob_rows.refer(self._session, self.tenant, type, id, version, binary_ids)

    def enqueue(self, task: Task) -> int:
        return blob_rows.enqueue(self._session, self.tenant, task)

    def finish(self, task: int) -> None:
        blob_rows.finish(self._session, task)

    def put_account(self, account: Account) -> None:
        blob_rows.put_account(self._session, self.tenant, account)

    def delete_account(self, id: str) -> bool:
        return blob_rows.drop_account(self._session, self.tenant, id)


class _Waiting:
    """One transaction that waits to be part of a group: `outcome` once it is done."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[Session], Any]) -> None:
        self.work, self.done = work, False
        self.result: Any = None
        self.error: BaseException | None = None


class _GroupWriter:
    """SQLite: whoever gets the lock commits everything that waits, each work in a SAVEPOINT of its own."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._turn = Lock()
        self._waiting: deque[_Waiting] = deque()

    def run(self, work: Callable[[Session], T]) -> T:
        mine = _Waiting(work)
        self._waiting.append(mine)
        while not mine.done:
            with self._turn:
                if not mine.done:
                    self._commit([self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))])
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    def _commit(self, group: list[_Waiting]) -> None:
        """All at once; where the database fails in the midst of one of them, the others again without it.

        What a work said of a state that was then rolled back, its own failure included, does not count.
        """
        running: _Waiting | None = None
        try:
            with self._database.session() as session, self._database.exclusive():
                session.execute("BEGIN IMMEDIATE")
                try:
                    for running in group:
                        self._run(session, running)
                    running = None
                    session.execute("COMMIT")
                finally:
                    if session.driver.in_transaction:
                        session.driver.execute("ROLLBACK")
        except BaseException as error:  # noqa: BLE001 - every waiting thread has to hear of it
            for each in group:
                each.error = error
        again = [each for each in group if each is not running] if running else []
        for each in group:
            each.done = each not in again
        if again:
            self._commit(again)

    def _run(self, session: Session, each: _Waiting) -> None:
        each.error = None
        session.execute("SAVEPOINT work")
        try:
            each.result = each.work(session)
        except (StorageFull, Unavailable):
            raise  # the database itself: SQLite may have rolled everything back
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread whose work it was
            each.error = error
            session.execute("ROLLBACK TO work")
        session.execute("RELEASE work")


class _RetryingWriter:
    """PostgreSQL: a transaction each, run again when it lost against another."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self._database = database

    def run(self, work: Callable[[Session], T]) -> T:
        for attempt in range(_TRIES):
            with self._database.session() as session:
                try:
                    return self._once(session, work)
                except Retry:
                    time.sleep(random.uniform(0, 0.01 * attempt))
        raise Conflict("Other writers have been faster, again and again.")

    def _once(self, session: Session, work: Callable[[Session], T]) -> T:
        session.execute("BEGIN")
        try:
            result = work(session)
        except BaseException:
            self._roll_back(session)
            raise
        if session.execute("COMMIT").statusmessage == "ROLLBACK":  # no error: that had come before
            raise Internal("The metadata store gave up a write.")
        return result

    def _roll_back(self, session: Session) -> None:
        try:
            session.execute("ROLLBACK")
        except Unavailable:
            session.driver.close()
