"""Connections to SQLite and PostgreSQL, and the few things in which they differ.

Statements are SQLAlchemy Core, compiled once for each database and run on held driver connections:
a connection from a pool for each call costs eight times the query itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg as postgresql
from sqlalchemy.engine import Dialect, make_url

from fhir_blob.errors import Conflict, FhirError, StorageFull, TookTooLong, Unavailable
from fhir_blob.settings import SettingsError

_BUSY_SECONDS = 20.0
_CONNECT_SECONDS = 5
# A write touches some thirty b-trees in one place each: with pages of 1 kB instead of 4 a commit costs
# .62 of the processor time (measured). The page size counts only where the file is made.
# What is deleted is overwritten, not left in free pages: https://sqlite.org/pragma.html#pragma_secure_delete
_PRAGMAS = (
    "page_size=1024",
    "journal_mode=WAL",
    "synchronous=FULL",
    "cache_size=-16384",
    "mmap_size=268435456",
    "secure_delete=ON",
)
# How long a checkpoint that holds the writers up waits for readers (milliseconds).
_SCRUB_WAIT = 50
# SQLite asks after so many steps of its machine whether a statement's time is up.
_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Text:
    """A statement in one database's SQL; `order` names its parameters where they are marked by position."""

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def arguments(self, parameters: Mapping[str, Any]) -> Any:
        given = {**self.constants, **parameters} if self.constants else parameters
        return given if self.order is None else [given[name] for name in self.order]


class Statement:
    """A Core statement, compiled once for each database. Lists in IN are written out by whoever makes it."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, Text] = {}

    def text(self, dialect: Dialect) -> Text:
        found = self._texts.get(dialect.name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=dialect)
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            order = compiled.positiontup
            found = Text(str(compiled), None if order is None else tuple(order), constants)
            self._texts[dialect.name] = found
        return found


class Retry(Exception):
    """The transaction lost against another and is to be run again."""


class Taken(Retry):
    """It wrote a row that another one has written already."""


class Cursor(Protocol):
    rowcount: int
    statusmessage: str | None  # PostgreSQL's only

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


class Session:
    """One driver connection, in autocommit unless a transaction was begun."""

    def __init__(self, driver: Any, database: SqliteDatabase | PostgresqlDatabase) -> None:
        self.driver, self.database = driver, database
        self.deadline = 0.0
        self.rested = False  # out of the pool, and nothing was run on it since

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Cursor:
        text = statement.text(self.database.dialect)
        return self.execute(text.sql, text.arguments(parameters))

    def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        text = statement.text(self.database.dialect)
        self.insert_many(text.sql, [text.arguments(row) for row in rows])

    def insert_many(self, sql: str, rows: Sequence[Any]) -> None:
        try:
            self.driver.cursor().executemany(sql, rows)
        except self.database.driver_error as error:
            raise self.database.translated(error) from error

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        database = self.database
        self.deadline = time.monotonic() + database.statement_timeout
        try:
            cursor: Cursor = self.driver.execute(sql, parameters)
        except database.driver_error as error:
            if self.rested and database.has_ended(self.driver):
                self.rested, self.driver = False, database.connected()
                return self.execute(sql, parameters)
            raise database.translated(error) from error
        self.rested = False
        return cursor


class _Sessions:
    """Idle sessions, the one used last first. A forked child forgets its parent's."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect, self._idle, self._pid = connect, deque[Session](), os.getpid()

    @contextmanager
    def one(self) -> Iterator[Session]:
        if self._pid != os.getpid():
            self._idle, self._pid = deque(), os.getpid()
        try:
            session = self._idle.pop()
            session.rested = True
        except IndexError:
            session = self._connect()
        try:
            yield session
        except (Unavailable, StorageFull):
            session.driver.close()
            raise
        except BaseException:
            self._idle.append(session)
            raise
        self._idle.append(session)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().driver.close()


class SqliteDatabase:
    """WAL, durable commits, one writer at a time: processes wait for it at a file lock, not by polling."""

    is_postgresql = False
    driver_error: type[Exception] = sqlite3.Error

    def __init__(self, url: str, *, statement_timeout: float) -> None:
        self.path = Path(make_url(url).database or "")
        self.dialect: Dialect = sqlite.dialect()
        self.statement_timeout = statement_timeout
        self._sessions = _Sessions(self._connect)
        self._lock_file: tuple[int, int] = (0, -1)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._sessions.one() as session:
            yield session

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Alone among all processes."""
        descriptor = self._descriptor()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def translated(self, error: Exception) -> Exception:
        """Ours in place of the driver's; what is a fault of the program stays as it is."""
        if isinstance(error, sqlite3.IntegrityError):
            return Conflict("Another writer has been faster.")
        return _sqlite_error(error) if isinstance(error, sqlite3.OperationalError) else error

    def has_ended(self, driver: sqlite3.Connection) -> bool:
        """A file's connection has no other end."""
        return False

    def connected(self) -> sqlite3.Connection:
        driver: sqlite3.Connection = self._connect().driver
        return driver

    def close(self) -> None:
        self._sessions.close()
        pid, descriptor = self._lock_file
        if descriptor >= 0 and pid == os.getpid():
            os.close(descriptor)
        self._lock_file = (0, -1)

    def scrub(self) -> bool:
        """Nothing stays in the log, which keeps old pages until they are written over.

        Most of it goes without a lock. Source: https://sqlite.org/pragma.html#pragma_wal_checkpoint
        """
        with closing(self.connected()) as driver:
            try:
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)")
                driver.execute(f"PRAGMA busy_timeout={_SCRUB_WAIT}")
                with self.exclusive():
                    busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise self.translated(error) from error
        return not busy

    def _descriptor(self) -> int:
        pid, descriptor = self._lock_file
        if pid != os.getpid():
            try:
                descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise _lock_error(error) from error
            self._lock_file = (os.getpid(), descriptor)
        return descriptor

    def _connect(self) -> Session:
        try:
            driver = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            for pragma in _PRAGMAS:
                driver.execute(f"PRAGMA {pragma}")
        except sqlite3.Error as error:
            raise self.translated(error) from error
        session = Session(driver, self)
        driver.set_progress_handler(lambda: time.monotonic() > session.deadline, _STEPS)
        return session


def _lock_error(error: OSError) -> FhirError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk of the metadata store is full.")
    return Unavailable(f"The metadata store is out of reach ({error.strerror}).")


def _sqlite_error(error: sqlite3.OperationalError) -> FhirError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL" or (name == "SQLITE_IOERR_WRITE"):
        return StorageFull("The disk of the metadata store is full.")
    if name == "SQLITE_INTERRUPT":
        return TookTooLong("The metadata store took longer than it may.")
    return Unavailable(f"The metadata store is out of reach ({name or 'SQLite'}).")


class PostgresqlDatabase:
    is_postgresql = True

    def __init__(self, url: str, *, statement_timeout: float) -> None:
        import psycopg  # where SQLite is used nobody waits for it

        self.driver_error: type[Exception] = psycopg.Error
        parsed = make_url(url).set(drivername="postgresql")
        self.url = parsed.render_as_string(hide_password=False)
        self._parameters = _connection_parameters(parsed.query.get("options", ""), int(statement_timeout * 1000))
        self.dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        self.statement_timeout = statement_timeout
        self._sessions = _Sessions(self._connect)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._sessions.one() as session:
            yield session

    def translated(self, error: Exception) -> Exception:
        """Ours in place of the driver's; Retry where the transaction lost against another."""
        from psycopg import InterfaceError, OperationalError, errors

        if isinstance(error, errors.UniqueViolation):
            return Taken()
        if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected):
            return Retry()
        if isinstance(error, errors.DiskFull):
            return StorageFull("The disk of the metadata store is full.")
        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable | errors.IdleInTransactionSessionTimeout):
            return TookTooLong("The metadata store took longer than it may.")
        if isinstance(error, errors.ReadOnlySqlTransaction):  # a replica that has not taken over yet
            return Unavailable("The metadata store takes no writes at present.")
        if isinstance(error, OperationalError | InterfaceError):
            return Unavailable("The metadata store is out of reach.")
        return error

    def scrub(self) -> bool:
        """There are no files that this server could see to."""
        return True

    def close(self) -> None:
        self._sessions.close()

    def has_ended(self, driver: Any) -> bool:
        """Whether the server ended the connection, as it does when it restarts."""
        return bool(driver.closed)

    def connected(self) -> Any:
        import psycopg

        try:
            return psycopg.connect(self.url, autocommit=True, connect_timeout=_CONNECT_SECONDS, **self._parameters)
        except psycopg.Error as error:
            raise self.translated(error) from error

    def _connect(self) -> Session:
        return Session(self.connected(), self)


def _connection_parameters(options: str | tuple[str, ...], milliseconds: int) -> dict[str, Any]:
    """No wait is endless: not for a statement, a lock, a client that hangs inside a transaction, or a dead network.

    https://www.postgresql.org/docs/current/runtime-config-client.html and libpq-connect.html
    """
    timeouts = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    ours = " ".join(f"-c {name}={milliseconds}" for name in timeouts)
    given = options if isinstance(options, str) else " ".join(options)
    keepalives = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    return {"options": f"{given} {ours} -c timezone=UTC", "tcp_user_timeout": milliseconds, **keepalives}


def connect(url: str, *, statement_timeout: float) -> SqliteDatabase | PostgresqlDatabase:
    """The database of a URL; SettingsError for one that is neither SQLite nor PostgreSQL."""
    kind = url.partition(":")[0].partition("+")[0]
    if kind == "sqlite":
        return SqliteDatabase(url, statement_timeout=statement_timeout)
    if kind in ("postgresql", "postgres"):
        return PostgresqlDatabase(url.replace("postgres://", "postgresql://", 1), statement_timeout=statement_timeout)
    raise SettingsError(f"FHIR_BLOB_DATABASE is a URL of {kind[:40]!r}: it takes postgresql:// or sqlite:///.")
