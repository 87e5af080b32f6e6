"""One suite for the ResourceStore, on SQLite and PostgreSQL: resources, their versions and index rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_blob.errors import Conflict, Gone
from fhir_blob.store import IndexEntries, Task, Transaction, Version
from fhir_blob.store.sql import SqlStore
from tests.contracts.stores import ENTRIES, count, patient, put


def test_what_was_written_is_read(store: SqlStore) -> None:
    """current, version and the slots that came with it; None for an id never used."""
    written = put(store, Version("Patient", "a", 1, 1000, "POST", b"{}", b"[[0,1]]"))

    with store.read("t") as reader:
        assert written == reader.current("Patient", "a")
        assert b"[[0,1]]" == (reader.version("Patient", "a", 1) or written).slots
        assert (None, None) == (reader.current("Patient", "b"), reader.version("Patient", "a", 2))


def test_tenants_do_not_see_each_other(store: SqlStore) -> None:
    """Every statement names the tenant."""
    put(store, patient("a"), tenant="one")
    put(store, patient("a"), tenant="two")

    with store.read("three") as reader:
        assert (None, 0) == (reader.current("Patient", "a"), reader.history(None, None, count=9).total)


def test_an_update_replaces_the_index_rows(store: SqlStore) -> None:
    """A resource has the rows of its current version only; a deleted one has none."""
    put(store, patient("a"))
    put(store, patient("a", 2), 1)
    assert 1 == count(store, "token_index")

    put(store, patient("a", 3, method="DELETE"), 2)

    assert [0] * 4 == [count(store, f"{kind}_index") for kind in ENTRIES]
    with store.read("t") as reader:
        current = reader.current("Patient", "a")
        assert current is not None and current.deleted


def test_another_version_than_expected_is_a_conflict(store: SqlStore) -> None:
    """Nothing of the write stays."""
    put(store, patient("a"))
    put(store, patient("a", 2), 1)

    with pytest.raises(Conflict):
        put(store, patient("a", 3), 1)

    with store.read("t") as reader:
        assert 2 == reader.history("Patient", "a", count=9).total


def test_a_version_that_is_there_is_told_at_once(store: SqlStore) -> None:
    """A write of a version that another writer has made is not tried again and again."""
    put(store, patient("a"))
    put(store, patient("a", 2), 1)
    runs: list[int] = []

    def work(transaction: Transaction) -> None:
        runs.append(1)
        transaction.put(patient("a", 2), ENTRIES, expected=1)

    with pytest.raises(Conflict):
        store.write("t", work)

    assert [1] == runs


def test_of_many_writers_one_wins(opened: Callable[[], SqlStore]) -> None:
    """Sixteen threads over two stores replace the same version: one does, fifteen hear of a Conflict."""
    stores = opened(), opened()
    put(stores[0], patient("a"))
    start = threading.Barrier(16)

    def work(number: int) -> bool:
        start.wait()
        try:
            put(stores[number % 2], patient("a", 2), 1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert 1 == sum(threads.map(work, range(16)))


def test_every_update_counts(opened: Callable[[], SqlStore]) -> None:
    """Writers that lock what is current and put the next version lose no update, on a new id too."""
    stores = opened(), opened()

    def work(number: int) -> None:
        def step(transaction: Transaction) -> None:
            current = transaction.lock("Patient", "a")
            known = None if current is None else current.version
            transaction.put(patient("a", (known or 0) + 1), ENTRIES, expected=known)

        stores[number % 2].write("t", step)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(40)))

    with stores[0].read("t") as reader:
        versions = reader.history("Patient", "a", count=99).versions
    assert list(range(40, 0, -1)) == [each.version for each in versions]


def test_a_failing_work_takes_nothing_with_it(store: SqlStore) -> None:
    """What it did is undone, what others committed in the same group is not."""
    start = threading.Barrier(8)

    def work(number: int) -> bool:
        def step(transaction: Transaction) -> None:
            transaction.put(patient(f"p{number}"), ENTRIES, expected=None)
            if number % 2:
                raise ValueError("mine")

        start.wait()
        try:
            store.write("t", step)
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert [True, False] * 4 == list(threads.map(work, range(8)))
    assert 4 == count(store, "resource")
    assert 4 == count(store, "token_index")


def test_a_transaction_sees_its_own_writes(store: SqlStore) -> None:
    """And nobody else does before it is committed."""

    def work(transaction: Transaction) -> bool:
        transaction.put(patient("a"), ENTRIES, expected=None)
        with store.read("t") as reader:
            unseen = reader.current("Patient", "a") is None
        return unseen and transaction.current("Patient", "a") is not None

    assert store.write("t", work)


def test_history(store: SqlStore) -> None:
    """Newest first; since, at, pages by seq; the total does not depend on the page, nor is it counted where told."""
    for number, at in enumerate((1000, 2000, 3000), 1):
        put(store, patient("a", number, at=at), number - 1 or None)
    put(store, patient("b", at=1500))

    with store.read("t") as reader:
        everything = reader.history(None, None, count=9)
        first = reader.history("Patient", None, count=2)
        second = reader.history("Patient", None, before_seq=first.versions[-1].seq, count=2)
        told = reader.history("Patient", None, before_seq=first.versions[-1].seq, total=7, count=2)
        later = reader.history("Patient", "a", since=2000, count=9)
        then = reader.history("Patient", "a", at=(2500, 2501), count=9)

    assert (4, ["b", "a", "a", "a"]) == (everything.total, [each.id for each in everything.versions])
    assert (4, 4, 7) == (first.total, second.total, told.total)
    assert second.versions == told.versions
    assert [each.seq for each in everything.versions] == [each.seq for each in (*first.versions, *second.versions)]
    assert [3, 2] == [each.version for each in later.versions]
    assert [2] == [each.version for each in then.versions]


def test_a_deleted_resource_comes_back(store: SqlStore) -> None:
    """Its versions go on, its history tells of the deletion, and it has index rows again."""
    put(store, patient("a"))
    put(store, patient("a", 2, method="DELETE"), 1)
    put(store, patient("a", 3), 2)

    with store.read("t") as reader:
        versions = reader.history("Patient", "a", count=9).versions
        current = reader.current("Patient", "a")
    assert [(3, False), (2, True), (1, False)] == [(each.version, each.deleted) for each in versions]
    assert current is not None and (3, b'{"id":"a"}') == (current.version, current.body)
    assert 1 == count(store, "token_index")


def test_every_kind_of_index_row(store: SqlStore) -> None:
    """Each goes into the table of its value type, in the order of its columns, and an update takes all of them away."""
    entries: IndexEntries = {
        "token": [("code", 0, "urn:x", "1"), ("code", 1, "", "100%?")],
        "string": [("family", 0, "muller", "M\u00fcller")],
        "reference": [("subject", 0, "Patient", "1", "", ""), ("subject", 0, "", "", "", "urn:uuid:1")],
        "uri": [("url", 0, "http://x")],
        "date": [("birthdate", 0, -62_135_596_800_000_000, 253_402_300_800_000_000)],
        "number": [("probability", 0, 0.5, 1e300)],
        "quantity": [("value", 2, "http://unitsofmeasure.org", "mg", "mg", 4.5, 5.5)],
    }
    written = store.write("t", lambda it: it.put(patient("a"), entries, expected=None))

    with store.read("t") as reader:
        stored = {
            kind: sorted(row[3:] for row in reader.rows(f"SELECT * FROM {kind}_index WHERE rid = ?", (written.rid,)))
            for kind in entries
        }
    assert {kind: sorted(rows) for kind, rows in entries.items()} == stored

    store.write("t", lambda it: it.put(patient("a", 2), {}, expected=1))

    assert [0] * 7 == [count(store, f"{kind}_index") for kind in entries]


def test_rows_takes_the_signs_of_sql(store: SqlStore) -> None:
    """'?' marks a parameter and '%' is itself, on every database."""
    put(store, patient("100"))

    with store.read("t") as reader:
        assert [("100", 10)] == reader.rows(
            "SELECT id, 110 % 100 FROM resource WHERE id LIKE '1%' AND id = ?", ("100",)
        )


def test_of_many_creators_one_wins(opened: Callable[[], SqlStore]) -> None:
    """Sixteen threads over two stores begin the same id: one does, the others hear of a Conflict and leave no row."""
    stores, start = (opened(), opened()), threading.Barrier(16)

    def work(number: int) -> bool:
        start.wait()
        try:
            put(stores[number % 2], patient("a"))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(work, range(16)))

    assert 1 == sum(won)
    assert [1, 1, 1] == [count(stores[0], table) for table in ("resource", "resource_version", "token_index")]


def test_an_update_that_creates(opened: Callable[[], SqlStore]) -> None:
    """Eight threads put to an id that is not there, each deciding by what it locks: eight versions, one resource."""
    stores, start = (opened(), opened()), threading.Barrier(8)

    def work(number: int) -> int:
        def step(transaction: Transaction) -> int:
            known = transaction.lock("Patient", "a")
            number = 1 if known is None else known.version + 1
            return transaction.put(patient("a", number), ENTRIES, expected=None if number == 1 else number - 1).version

        start.wait()
        return stores[number % 2].write("t", step)

    with ThreadPoolExecutor(8) as threads:
        numbers = sorted(threads.map(work, range(8)))

    assert list(range(1, 9)) == numbers
    assert [1, 8, 1] == [count(stores[0], table) for table in ("resource", "resource_version", "token_index")]


def test_one_resource_is_locked_and_not_its_neighbours(opened: Callable[[], SqlStore]) -> None:
    """Who locks sees what the one before had committed, however long it waited."""
    stores = opened(), opened()
    put(stores[0], patient("a"))
    inside, order = threading.Event(), []

    def first(transaction: Transaction) -> None:
        transaction.lock("Patient", "a")
        inside.set()
        threading.Event().wait(0.2)
        transaction.put(patient("a", 2), ENTRIES, expected=1)
        order.append(2)

    def second(transaction: Transaction) -> None:
        found = transaction.lock("Patient", "a")
        order.append(found.version if found else 0)

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(stores[0].write, "t", first)
        inside.wait(10)
        two = threads.submit(stores[1].write, "t", second)
        one.result(), two.result()

    assert [2, 2] == order


def test_what_a_work_raises_comes_out(store: SqlStore) -> None:
    """Its own failure, as it is, and none of its rows, blobs or tasks."""

    def work(transaction: Transaction) -> None:
        transaction.put(patient("a"), ENTRIES, expected=None)
        transaction.refer("Patient", "a", 1, ["x"])
        transaction.enqueue(Task("erase", "{}"))
        raise Gone("It was deleted.")

    with pytest.raises(Gone, match="It was deleted"):
        store.write("t", work)

    tables = ("resource", "resource_version", "token_index", "blob_reference", "outbox")
    assert [0] * 5 == [count(store, table) for table in tables]


def test_pages_of_history_under_since_and_at(store: SqlStore) -> None:
    """Pages have no gap and no double while rows are written; what came before `since` or after `at` is out."""
    for number in range(1, 8):
        put(store, patient("a", number, at=number * 10), number - 1 or None)

    def pages(**given: object) -> list[int]:
        found: list[Version] = []
        with store.read("t") as reader:
            while page := reader.history(
                "Patient",
                None,
                before_seq=found[-1].seq if found else None,
                count=2,
                **given,  # type: ignore[arg-type]
            ).versions:
                put(store, patient(f"meanwhile{len(found)}{given}", at=0))
                found += page
        return [each.version for each in found if each.id == "a"]

    assert [7, 6, 5, 4, 3] == pages(since=30)
    assert [4, 3, 2] == pages(at=(25, 41))
    assert [2] == pages(at=(20, 30))
    assert [] == pages(at=(0, 10))
    assert [5, 4, 3] == pages(since=30, at=(30, 51))


def test_purged_versions(store: SqlStore) -> None:
    """What is purged is in no history any more; the current version is never purged, nor what another tenant has."""
    for tenant in ("t", "u"):
        put(store, patient("a"), tenant=tenant)
        put(store, patient("a", 2), 1, tenant=tenant)
        put(store, patient("a", 3), 2, tenant=tenant)

    purged = store.write("t", lambda transaction: transaction.purge("Patient", "a", [1, 2, 3, 9]))

    with store.read("t") as reader, store.read("u") as other:
        assert (2, [3]) == (purged, [each.version for each in reader.history("Patient", "a", count=9).versions])
        assert (3, None) == (getattr(reader.current("Patient", "a"), "version", 0), reader.version("Patient", "a", 2))
        assert 3 == other.history("Patient", "a", count=9).total


def test_versions_that_name_a_text(store: SqlStore) -> None:
    """Found in versions whether current or not, in those that came since too; byte for byte, of one tenant."""
    put(store, Version("Task", "a", 1, 1, "POST", b'{"of":"Patient/\xc3\xa9%1"}'))
    put(store, Version("Task", "a", 2, 1, "PUT", b'{"of":"Patient/\xc3\xa9%12"}'), 1)
    put(store, Version("Task", "b", 1, 1, "POST", b'{"of":"Patient/\xc3\xa9x1"}'))
    put(store, Version("Task", "b", 2, 1, "DELETE", b""), 1)
    put(store, Version("Binary", "c", 1, 1, "POST", b'{"of":"Patient/\xc3\xa9%1"}'))
    put(store, Version("Binary", "c", 1, 1, "POST", b'{"of":"Patient/\xc3\xa9%1"}'), tenant="u")

    with store.read("t") as reader:
        found = reader.naming("Patient/é%1", after=0)
        rest = reader.naming("Patient/é%1", after=5)
        position = reader.position()
    put(store, Version("Task", "d", 1, 1, "POST", b'{"of":"Patient/\xc3\xa9%1/_history/1"}'))
    with store.read("t") as reader:
        since = reader.naming_since("Patient/é%1", position)

    assert ((("Task", "a", 1), ("Binary", "c", 1)), None) == found
    assert (((), None), (("Task", "d", 1),)) == (rest, since)


def test_binaries_of_a_security_context(store: SqlStore) -> None:
    """Those that name something else than a Patient, with their bodies."""
    of_encounter = b'{"securityContext":{"reference":"Encounter/1"}}'
    put(store, Version("Binary", "a", 1, 1, "POST", of_encounter))
    put(store, Version("Binary", "b", 1, 1, "POST", b'{"securityContext":{"reference":"Patient/1"}}'))
    put(store, Version("Task", "c", 1, 1, "POST", of_encounter))
    put(store, Version("Binary", "d", 1, 1, "POST", of_encounter), tenant="u")

    with store.read("t") as reader:
        found = reader.secured(after=0)

    assert ((("a", of_encounter),), None) == found
