"""What the two databases do when they are used hard, fail, or meet another release."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from fhir_blob.errors import StorageFull, Unavailable
from fhir_blob.settings import SettingsError
from fhir_blob.store import Version
from fhir_blob.store.sql import SqlStore, migrate, open_store
from fhir_blob.store.tables import metadata

ENTRIES = {"token": [("identifier", 0, "urn:x", str(number)) for number in range(5)]}


def version(id: str, body: bytes = b"{}") -> Version:
    return Version("Patient", id, 1, 1000, "POST", body)


def write(store: SqlStore, each: Version) -> None:
    store.write("t", lambda transaction: transaction.put(each, ENTRIES, expected=None))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    return str(request.getfixturevalue("fresh_postgresql_url"))


def test_migrations_make_the_tables(url: str) -> None:
    """The schema after all migrations is the one that the statements are made for."""
    migrate(url)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()

    assert [] == differences


def test_many_servers_migrate_once(url: str) -> None:
    """Of six processes that start at once on an empty database none fails."""
    code = f"from fhir_blob.store.sql import migrate; migrate({url!r})"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(6)]

    failures = [each.communicate()[1] for each in started]

    assert [b""] * 6 == failures


def test_a_newer_schema_is_refused(url: str) -> None:
    """The sentence names both revisions."""
    migrate(url)
    store = open_store(url, statement_timeout=5)
    store.write("t", lambda transaction: transaction._session.execute("UPDATE alembic_version SET version_num='9999'"))
    store.close()

    with pytest.raises(SettingsError, match="'9999', which is newer than this server's"):
        migrate(url)


def _writer(url: str, name: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = open_store(url, statement_timeout=20)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: write(store, version(f"{name}-{number}")), range(100)))
    store.close()


def test_two_processes_of_eight_writers(url: str) -> None:
    """No writer hears of a lock, and every row is there."""
    migrate(url)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_writer, args=(url, name)) for name in ("a", "b")]
    for each in processes:
        each.start()
    for each in processes:
        each.join()

    assert [0, 0] == [each.exitcode for each in processes]
    store = open_store(url, statement_timeout=5)
    with store.read("t") as reader:
        assert [(200, 1000)] == reader.rows(
            "SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM token_index)", ()
        )
    store.close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """507, and what was acknowledged before is there; it goes on when there is room again."""
    url = f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    migrate(url)
    store, written = open_store(url, statement_timeout=5), 0
    store.write("t", lambda transaction: transaction._session.execute("SELECT 1"))
    session = store._database._sessions._idle[-1]
    pages = session.execute("PRAGMA page_count").fetchone()[0]
    session.execute(f"PRAGMA max_page_count={pages + 40}")

    with pytest.raises(StorageFull):
        for number in range(1000):
            write(store, version(f"p{number}", b"x" * 5000))
            written = number + 1
    write(store, version("after"))  # on a new connection, that knows of no limit

    with store.read("t") as reader:
        assert [(written + 1,)] == reader.rows("SELECT count(*) FROM resource", ())
    store.close()


def test_a_statement_that_takes_too_long(url: str) -> None:
    """503 in bounded time, and the next one works."""
    migrate(url)
    store = open_store(url, statement_timeout=1)
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"
    )

    began = time.monotonic()
    with pytest.raises(Unavailable), store.read("t") as reader:
        reader.rows(endless, ())
    assert time.monotonic() - began < 10

    store.ping()
    store.close()


def test_no_database(tmp_path: Path) -> None:
    """A database that is not there is Unavailable, not a fault."""
    for url in ("postgresql://nobody@127.0.0.1:1/none", f"sqlite:///{tmp_path / 'none' / 'x.sqlite'}"):
        with pytest.raises(Unavailable):
            open_store(url, statement_timeout=1).ping()


def test_another_kind_of_database_is_refused() -> None:
    """The sentence says what the setting takes."""
    with pytest.raises(SettingsError, match="'mysql': it takes postgresql:// or sqlite:///"):
        open_store("mysql://x/y", statement_timeout=1)


_CRASHING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from tests.store.test_sql import version, write
from fhir_blob.store.sql import open_store
store = open_store(sys.argv[1], statement_timeout=20)
def work(thread):
    for number in range(100000):
        write(store, version(f"{sys.argv[2]}-{thread}-{number}"))
        sys.stdout.write(f"{sys.argv[2]}-{thread}-{number}\\n")
        sys.stdout.flush()
with ThreadPoolExecutor(4) as threads:
    list(threads.map(work, range(4)))
"""


def test_what_was_acknowledged_survives_kill_9(url: str) -> None:
    """Five rounds of four writers, killed at a random moment: each acknowledged row and its index rows are there."""
    migrate(url)
    acknowledged: set[str] = set()
    chance = random.Random(7)
    for round in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _CRASHING, url, f"r{round}"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged.update((first + rest).decode().split("\n")[:-1])

    store = open_store(url, statement_timeout=5)
    with store.read("t") as reader:
        stored = {str(row[0]) for row in reader.rows("SELECT id FROM resource", ())}
        counts = reader.rows(
            "SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM resource_version),"
            " (SELECT count(*) FROM token_index) / 5",
            (),
        )
    store.close()
    assert len(acknowledged) > 50
    assert set() == acknowledged - stored
    assert 1 == len(set(counts[0]))


def test_sqlite_is_durable(tmp_path: Path) -> None:
    """WAL, and every commit on disk before it is acknowledged."""
    url = f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    migrate(url)
    store = open_store(url, statement_timeout=5)

    with store.read("t") as reader:
        assert [(2,)] == reader.rows("PRAGMA synchronous", ())
    assert ("wal",) == sqlite3.connect(tmp_path / "metadata.sqlite").execute("PRAGMA journal_mode").fetchone()
    store.close()
