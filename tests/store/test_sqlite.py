"""What only SQLite does: one writer for a group of works, and a disk that fills up beside the server."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fhir_blob.errors import StorageFull, TookTooLong, Unavailable
from fhir_blob.store import Transaction, Version, versions
from fhir_blob.store.sql import SqlStore, migrate, open_store

ENTRIES = {"token": [("identifier", 0, "urn:x", str(number)) for number in range(5)]}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


def version(id: str, body: bytes = b"{}") -> Version:
    return Version("Patient", id, 1, 1000, "POST", body)


def write(store: SqlStore, each: Version) -> None:
    store.write("t", lambda transaction: transaction.put(each, ENTRIES, expected=None))


def putting(each: Version) -> Callable[[Transaction], Version]:
    return lambda transaction: transaction.put(each, ENTRIES, expected=None)


def stored(store: SqlStore) -> set[str]:
    with store.read("t") as reader:
        return {str(row[0]) for row in reader.rows("SELECT id FROM resource", ())}


def opened(folder: Path, *, statement_timeout: float = 5) -> SqlStore:
    url = f"sqlite:///{folder / 'metadata.sqlite'}"
    migrate(url)
    return open_store(url, statement_timeout=statement_timeout)


def together(store: SqlStore, works: list[Callable[[Transaction], Any]]) -> list[type[BaseException] | None]:
    """How each ended: all wait behind a first one, and so become one group."""
    inside, over = threading.Event(), threading.Event()

    def first(transaction: Transaction) -> None:
        inside.set()
        over.wait(10)

    with ThreadPoolExecutor(len(works) + 1) as threads:
        threads.submit(store.write, "t", first)
        inside.wait(10)
        waiting = [threads.submit(store.write, "t", work) for work in works]
        while len(store._writer._waiting) < len(works):  # type: ignore[union-attr]
            time.sleep(0.01)
        over.set()
        errors = [each.exception(60) for each in waiting]
    return [None if error is None else type(error) for error in errors]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, which only root can make."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("this root may not mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """507; what was acknowledged is there, nothing of what was not; it goes on when there is room again."""
    store, acknowledged = opened(small_disk), set()
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 1_000_000)

    def work(number: int) -> bool:
        try:
            write(store, version(f"p{number}", b"x" * 5000))
        except StorageFull:
            return False
        acknowledged.add(f"p{number}")
        return True

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(work, range(600)))
    assert acknowledged == stored(store)
    filler.unlink()
    write(store, version("after"))

    assert 10 < sum(outcomes) < 600
    assert acknowledged | {"after"} == stored(store)
    with store.read("t") as reader:
        assert [(5 * len(acknowledged) + 5,)] == reader.rows("SELECT count(*) FROM token_index", ())
        assert [("ok",)] == reader.rows("PRAGMA integrity_check", ())
    store.close()


def test_no_room_even_to_open(small_disk: Path) -> None:
    """Opened when the disk is already full it says so, instead of failing as a program."""
    store = opened(small_disk)
    write(store, version("a"))
    store.close()
    os.unlink(small_disk / "metadata.sqlite.lock")
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(b"x" * 4096)

    store = open_store(f"sqlite:///{small_disk / 'metadata.sqlite'}", statement_timeout=5)
    with pytest.raises((StorageFull, Unavailable)):
        write(store, version("b"))
    (small_disk / "filler").unlink()
    write(store, version("c"))

    assert {"a", "c"} == stored(store)
    store.close()


def test_what_does_not_fit_fails_alone(tmp_path: Path) -> None:
    """Of a group the work that the disk has no room for fails; its neighbours are committed without it."""
    store = opened(tmp_path)
    write(store, version("before"))
    session = store._database._sessions._idle[-1]
    pages = session.execute("PRAGMA page_count").fetchone()
    assert pages is not None
    session.execute(f"PRAGMA max_page_count={pages[0] + 40}")
    bodies = [b"{}", b"x" * 1_000_000, b"{}"]

    outcomes = together(store, [putting(version(f"p{number}", body)) for number, body in enumerate(bodies)])

    assert [None, StorageFull, None] == outcomes
    assert {"before", "p0", "p2"} == stored(store)
    store.close()


def test_what_takes_too_long_fails_alone(tmp_path: Path) -> None:
    """Of a group the work whose statement is cut off fails; its neighbours are committed without it."""
    store = opened(tmp_path, statement_timeout=0.3)

    outcomes = together(
        store,
        [
            putting(version("a")),
            lambda it: (it.put(version("b"), ENTRIES, expected=None), it.rows(ENDLESS, ())),
            putting(version("c")),
        ],
    )

    assert [None, TookTooLong, None] == outcomes
    assert {"a", "c"} == stored(store)
    store.close()


def test_what_was_undone_decides_nothing(tmp_path: Path) -> None:
    """A work that failed over a neighbour's write, which was then rolled back, is run again without it."""
    store = opened(tmp_path, statement_timeout=0.3)

    def refuse(transaction: Transaction) -> None:
        if transaction.current("Patient", "a"):
            raise ValueError("it is there")
        transaction.put(version("b"), ENTRIES, expected=None)

    outcomes = together(
        store,
        [
            putting(version("a")),
            refuse,
            lambda it: it.rows(ENDLESS, ()),
        ],
    )

    assert [None, ValueError, TookTooLong] == outcomes
    assert {"a"} == stored(store)
    store.close()


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    """While a transaction is open, and has written, a read answers with what was committed before."""
    store = opened(tmp_path)
    inside, over = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        transaction.put(version("a"), ENTRIES, expected=None)
        inside.set()
        over.wait(10)

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(store.write, "t", slow)
        inside.wait(10)
        began = time.monotonic()
        seen = stored(store)
        waited = time.monotonic() - began
        over.set()
        writing.result()

    assert set() == seen
    assert waited < 1
    store.close()


def test_a_database_without_its_folder(tmp_path: Path) -> None:
    """Reading and writing it are Unavailable."""
    store = open_store(f"sqlite:///{tmp_path / 'none' / 'x.sqlite'}", statement_timeout=1)

    for step in (store.ping, lambda: write(store, version("a"))):
        with pytest.raises(Unavailable):
            step()


def test_it_is_durable(tmp_path: Path) -> None:
    """WAL, and every commit on disk before it is acknowledged."""
    store = opened(tmp_path)

    with store.read("t") as reader:
        assert [(2,)] == reader.rows("PRAGMA synchronous", ())
    driver = sqlite3.connect(tmp_path / "metadata.sqlite")
    assert ("wal",) == driver.execute("PRAGMA journal_mode").fetchone()
    driver.close()
    store.close()


@pytest.mark.parametrize(
    "type, id, index",
    [
        (True, True, "INDEX sqlite_autoindex_resource_version_1 (tenant=? AND type=? AND id=?)"),
        (True, False, "INDEX resource_version_by_type (tenant=? AND type=? AND seq<?)"),
        (False, False, "INTEGER PRIMARY KEY (rowid<?)"),
    ],
)
def test_a_page_of_history_is_read_in_its_order(tmp_path: Path, type: bool, id: bool, index: str) -> None:
    """Nothing is sorted, and of one id nothing but its versions is looked at."""
    store = opened(tmp_path)
    _, page = versions._history(type, id, since=False, at=False, settled=False, before=True)
    text = page.text(store._database.dialect)

    with store.read("t") as reader:
        plan = reader.rows(f"EXPLAIN QUERY PLAN {text.sql}", [0] * len(text.order or ()))
    store.close()

    assert [f"SEARCH resource_version USING {index}"] == [row[3] for row in plan]
