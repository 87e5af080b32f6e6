"""What writers hold against each other, and who refers to what, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from fhir_blob.search.sql.referrers import referrers
from fhir_blob.store import Transaction
from fhir_blob.store.sql import SqlStore
from tests.contracts.stores import patient, put


def test_who_holds_a_name_is_alone(store: SqlStore) -> None:
    """Of many that look and then write under one name, each sees what those before it wrote."""

    def make(number: int) -> None:
        def work(transaction: Transaction) -> None:
            transaction.hold("Patient?")
            known = transaction.history("Patient", None, count=0).total
            transaction.put(patient(f"p{known}"), {}, expected=None)

        store.write("t", work)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(16)))

    with store.read("t") as reader:
        assert all(reader.current("Patient", f"p{number}") for number in range(16))


def test_share_tells_what_is_there(store: SqlStore) -> None:
    """(type, id) to version, without what was deleted, is of another tenant or never was; any number of them."""
    put(store, patient("a"))
    put(store, patient("a", 2), 1)
    put(store, patient("b"))
    put(store, patient("b", 2, method="DELETE"), 1)
    put(store, patient("c"), tenant="other")
    named = [("Patient", each) for each in "abc"] + [("Group", "a")] + [("Patient", f"n{each}") for each in range(250)]

    there = store.write("t", lambda transaction: transaction.share(named))

    assert {("Patient", "a"): 2} == there
    assert {} == store.write("t", lambda transaction: transaction.share(()))


def test_what_is_shared_is_not_deleted_meanwhile(store: SqlStore) -> None:
    """A deletion waits for the transaction that shares, and not the other way round."""
    put(store, patient("a"))
    order: list[str] = []
    shared, go_on = threading.Event(), threading.Event()

    def share(transaction: Transaction) -> None:
        transaction.share([("Patient", "a")])
        shared.set()
        go_on.wait(0.5)
        order.append("shared")

    def delete(transaction: Transaction) -> None:
        transaction.lock("Patient", "a")
        order.append("deleted")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(store.write, "t", share)
        shared.wait(10)
        second = threads.submit(store.write, "t", delete)
        first.result(), second.result()

    assert ["shared", "deleted"] == order


def test_referrers(store: SqlStore) -> None:
    """Those whose current version refers to it by a reference parameter, each once, in order, as many as wanted."""
    put(store, patient("b"))
    put(store, patient("a"))
    put(store, patient("c"))
    put(store, patient("c", 2, method="DELETE"), 1)
    put(store, patient("d"), tenant="other")

    with store.read("t") as reader:
        found = [referrers(reader, "Organization", id, limit=limit) for id, limit in (("1", 9), ("1", 1), ("2", 9))]

    assert [("Patient/a", "Patient/b"), ("Patient/a",), ()] == found
