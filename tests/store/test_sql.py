"""What the two databases do when they are used hard, fail, or meet another release."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from fhir_blob.errors import Unavailable
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


_MIGRATING = """
import sys
import alembic.command
from fhir_blob.store.sql import migrate
print("ready", flush=True)
sys.stdin.readline()
migrate(sys.argv[1])
"""


def test_many_servers_migrate_once(url: str) -> None:
    """Of four processes that begin at the same moment on an empty database none fails."""
    command, pipe = [sys.executable, "-c", _MIGRATING, url], subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(4)]
    for each in started:
        assert each.stdout is not None and b"ready\n" == each.stdout.readline()
    for each in started:
        assert each.stdin is not None
        each.stdin.write(b"\n")
        each.stdin.flush()

    failures = [each.communicate(timeout=60)[1] for each in started]

    assert [b""] * 4 == failures


def test_a_newer_schema_is_refused(url: str) -> None:
    """The sentence names both revisions."""
    migrate(url)
    store = open_store(url, statement_timeout=5)
    store.write(
        "t", lambda transaction: transaction.rows("UPDATE alembic_version SET version_num='9999' RETURNING 1", ())
    )
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
