"""What only PostgreSQL does: it goes away and comes back, finds deadlocks, and commits out of the order of seq."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fhir_blob.errors import Internal, Unavailable
from fhir_blob.store import Transaction, Version
from fhir_blob.store.engine import Retry
from fhir_blob.store.sql import SqlStore, migrate, open_store
from tests.services.postgresql import Postgresql

ENTRIES = {"token": [("identifier", 0, "urn:x", "1")]}


def patient(id: str, number: int = 1) -> Version:
    return Version("Patient", id, number, 1000, "PUT", b"{}")


def put(store: SqlStore, id: str, number: int = 1) -> Version:
    return store.write("t", lambda it: it.put(patient(id, number), ENTRIES, expected=number - 1 or None))


def ids(store: SqlStore) -> list[str]:
    with store.read("t") as reader:
        return [each.id for each in reader.history("Patient", None, count=99).versions]


def settled(store: SqlStore, expected: list[str]) -> list[str]:
    """The same once it is as expected, at last as it is: other tests' transactions on the same server hold it up."""
    until = time.monotonic() + 10
    while (found := ids(store)) != expected and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.fixture
def url(fresh_postgresql_url: str) -> str:
    migrate(fresh_postgresql_url)
    return fresh_postgresql_url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    opened = open_store(url, statement_timeout=20)
    yield opened
    opened.close()


def test_a_server_that_goes_and_comes_back(own_postgresql: Postgresql) -> None:
    """Out of reach it is Unavailable within seconds; when it is back the first request of each thread succeeds."""
    url = f"{own_postgresql.url}/postgres"
    migrate(url)
    store, together = open_store(url, statement_timeout=20), threading.Barrier(4)

    def hold(number: int) -> None:
        with store.read("t") as reader:
            reader.current("Patient", "before")
            together.wait(10)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, range(4)))  # four connections stand idle
    put(store, "before")

    own_postgresql.stop()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        put(store, "lost")
    with pytest.raises(Unavailable):
        store.ping()
    assert time.monotonic() - began < 10
    own_postgresql.start()

    assert ["before"] == settled(store, ["before"])
    put(store, "after")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, range(4)))
    assert ["after", "before"] == settled(store, ["after", "before"])
    store.close()


def test_connections_that_the_server_ended(store: SqlStore, url: str) -> None:
    """A restart between two requests is not noticed: neither a read nor a write fails."""
    put(store, "before")
    for step in (lambda: ids(store), lambda: put(store, "after")):
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        step()

    assert ["after", "before"] == settled(store, ["after", "before"])


def test_a_connection_lost_inside_a_transaction(store: SqlStore) -> None:
    """The work is not run on with half of what it did: Unavailable, and nothing of it stays."""

    def work(transaction: Transaction) -> None:
        transaction.put(patient("a"), ENTRIES, expected=None)
        [(pid,)] = transaction.rows("SELECT pg_backend_pid()", ())
        with store.read("t") as other:
            other.rows("SELECT pg_terminate_backend(?, 5000)", (pid,))
        transaction.put(patient("b"), ENTRIES, expected=None)

    put(store, "before")
    with pytest.raises(Unavailable):
        store.write("t", work)

    assert ["before"] == settled(store, ["before"])


def test_a_deadlock_is_run_again(store: SqlStore) -> None:
    """Two works that take the same two resources in opposite order both succeed in the end."""
    put(store, "a"), put(store, "b")
    both, runs = threading.Barrier(2), []

    def swap(first: str, second: str) -> None:
        def work(transaction: Transaction) -> None:
            runs.append(first)
            held = transaction.lock("Patient", first)
            if len(runs) <= 2:
                both.wait(10)
            other = transaction.lock("Patient", second)
            for each in (held, other):
                assert each is not None
                transaction.put(patient(each.id, each.version + 1), ENTRIES, expected=each.version)

        store.write("t", work)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(swap, "ab", "ba"))

    with store.read("t") as reader:
        assert [3, 3] == [getattr(reader.current("Patient", id), "version", 0) for id in "ab"]
    assert len(runs) >= 3


def test_a_swallowed_failure_is_not_acknowledged(store: SqlStore) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error: that is one here."""
    put(store, "a")

    def work(transaction: Transaction) -> str:
        transaction.put(patient("b"), ENTRIES, expected=None)
        with pytest.raises(Retry):
            transaction.put(patient("a"), ENTRIES, expected=None)
        return "done"

    with pytest.raises(Internal):
        store.write("t", work)

    assert ["a"] == settled(store, ["a"])


def test_history_waits_for_what_began_earlier(store: SqlStore) -> None:
    """A version whose seq is lower but which commits later is not missed: no page goes past it before."""
    begun, seen = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        transaction.put(patient("slow"), ENTRIES, expected=None)
        begun.set()
        seen.wait(10)

    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(store.write, "t", slow)
        begun.wait(10)
        put(store, "fast")
        meanwhile = ids(store)
        with store.read("t") as reader:
            alone = reader.history("Patient", "fast", count=9).total
        seen.set()
        late.result()

    assert ([], 1) == (meanwhile, alone)
    assert ["fast", "slow"] == settled(store, ["fast", "slow"])


def test_history_inside_a_transaction(store: SqlStore) -> None:
    """It has what the transaction wrote, though others that began later are done; theirs it has not yet."""

    def work(transaction: Transaction) -> list[str]:
        transaction.put(patient("own"), ENTRIES, expected=None)
        put(store, "another")
        return [each.id for each in transaction.history("Patient", None, count=99).versions]

    inside = store.write("t", work)

    assert (["own"], ["another", "own"]) == (inside, settled(store, ["another", "own"]))


def test_history_after_a_restore(store: SqlStore) -> None:
    """Rows that a dump brought from a server with higher transaction ids are history here too."""
    put(store, "a")
    store.write("t", lambda it: it.rows("UPDATE resource_version SET xid = 4000000000 RETURNING 1", ()))

    assert ["a"] == settled(store, ["a"])


def test_a_replica_takes_no_writes(store: SqlStore, url: str) -> None:
    """While another server takes over, a write is Unavailable and no fault of the program."""
    name = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())

    with pytest.raises(Unavailable):
        put(store, "a")

    assert [] == ids(store)


def test_who_holds_a_lock_and_sleeps_is_cut_off(url: str) -> None:
    """A server that hangs inside a transaction keeps nobody waiting for longer than a statement may take."""
    hanging, waiting = open_store(url, statement_timeout=1), open_store(url, statement_timeout=5)
    put(waiting, "a")
    inside, over = threading.Event(), threading.Event()

    def work(transaction: Transaction) -> None:
        transaction.lock("Patient", "a")
        inside.set()
        over.wait(10)
        transaction.lock("Patient", "a")

    with ThreadPoolExecutor(1) as threads:
        hung = threads.submit(hanging.write, "t", work)
        inside.wait(10)
        put(waiting, "a", 2)
        over.set()

        with pytest.raises(Unavailable):
            hung.result()
    hanging.close()
    waiting.close()


def test_options_of_the_url_stay(url: str) -> None:
    """The schema that the URL names is where both migrations and statements go."""
    elsewhere = f"{url}?options=-csearch_path%3Delsewhere"
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("CREATE SCHEMA elsewhere")

    migrate(elsewhere)
    store = open_store(elsewhere, statement_timeout=5)
    put(store, "a")

    with store.read("t") as reader:
        assert [(1,)] == reader.rows("SELECT count(*) FROM elsewhere.resource", ())
    store.close()
