"""kill -9 of a process that writes, or of the database: all that was acknowledged is there, and whole."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from fhir_blob.store import Task, Transaction, Version
from fhir_blob.store.sql import SqlStore, migrate, open_store
from tests.services.postgresql import Postgresql

ROUNDS = 6
ROOT = Path(__file__).parents[2]
_WRITER = "import sys; from tests.store.test_crash import write_for_ever; write_for_ever(sys.argv[1])"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    return str(request.getfixturevalue("fresh_postgresql_url"))


def write_for_ever(url: str) -> None:
    """Four threads update eight patients in turn, and print each id and version when it is committed."""
    store = open_store(url, statement_timeout=20)

    def work(thread: int) -> None:
        for number in itertools.count(thread, 3):
            id = f"p{number % 8}"
            version = store.write("t", partial(advance, id))
            os.write(1, f"{id} {version}\n".encode())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))


def advance(id: str, transaction: Transaction) -> int:
    """The next version, with index rows, a reference and a task that all bear its number."""
    current = transaction.lock("Patient", id)
    known = None if current is None else current.version
    number = (known or 0) + 1
    entries = {"token": [("identifier", 0, str(number), str(each)) for each in range(5)]}
    transaction.put(Version("Patient", id, number, number, "PUT", b"{}"), entries, expected=known)
    transaction.refer("Patient", id, number, [f"binary-{number}"])
    transaction.enqueue(Task("crash", f"{id} {number}"))
    return number


def acknowledged_before(crash: Callable[[], object], url: str, seconds: float) -> dict[str, int]:
    """The highest version of each id that a writer printed until, after some seconds, it was killed.

    `crash` happens right before that.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(seconds)
    crash()
    process.kill()
    rest, _ = process.communicate()
    highest: dict[str, int] = {}
    for line in b"".join([*lines, rest]).decode().splitlines():
        id, number = line.split()
        highest[id] = max(int(number), highest.get(id, 0))
    return highest


def versions_of_parts(store: SqlStore) -> dict[str, list[tuple[str, int]]]:
    """(id, version) of what is current, as each table tells it."""
    statements = {
        "resource": "SELECT id, version FROM resource ORDER BY id",
        "resource_version": "SELECT id, max(version) FROM resource_version GROUP BY id"
        " HAVING count(*) = max(version) ORDER BY id",
        "token_index": "SELECT r.id, CAST(min(i.system) AS bigint) FROM resource r JOIN token_index i ON i.rid = r.rid"
        " GROUP BY r.id HAVING count(*) = 5 AND min(i.system) = max(i.system) ORDER BY r.id",
        "blob_reference": "SELECT id, version FROM blob_reference ORDER BY id",
        "outbox": "SELECT substr(payload, 1, 2), count(*) FROM outbox GROUP BY 1 ORDER BY 1",
    }
    with store.read("t") as reader:
        return {
            name: [(str(id), int(number)) for id, number in reader.rows(sql, ())] for name, sql in statements.items()
        }


def check(store: SqlStore, acknowledged: dict[str, int]) -> int:
    """Assert that it is all there; how many versions there are."""
    told = versions_of_parts(store)

    assert dict.fromkeys(told, told["resource"]) == told
    current = dict(told["resource"])
    assert {} == {id: number for id, number in acknowledged.items() if current.get(id, 0) < number}
    return sum(current.values())


def wait_for_the_last_commit(store: SqlStore) -> None:
    """What a killed client had sent, PostgreSQL still does: until then its tables change."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with store.read("t") as reader:
        while reader.is_postgresql and reader.rows(others, ()) != [(0,)]:
            time.sleep(0.01)


def test_a_killed_writer(url: str) -> None:
    """After each round every acknowledged version is there, and all tables tell of the same one."""
    migrate(url)
    store, chance, written = open_store(url, statement_timeout=20), random.Random(7), 0
    for _ in range(ROUNDS):
        acknowledged = acknowledged_before(lambda: None, url, chance.uniform(0.05, 0.4))
        wait_for_the_last_commit(store)
        written = check(store, acknowledged)
    store.close()

    assert written > 20 * ROUNDS


def test_a_killed_postgresql(own_postgresql: Postgresql) -> None:
    """The same where it is the database that ends without a checkpoint, and recovers."""
    url = f"{own_postgresql.url}/postgres"
    migrate(url)
    store, written = open_store(url, statement_timeout=20), 0
    for _ in range(2):
        acknowledged = acknowledged_before(own_postgresql.crash, url, 0.3)
        own_postgresql.start()
        written = check(store, acknowledged)
    store.close()

    assert written > 40
