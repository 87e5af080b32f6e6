"""One suite for the ResourceStore, on SQLite and PostgreSQL: blobs, references, the outbox and accounts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fhir_blob.store import Account, Blob, Task, Transaction
from fhir_blob.store.sql import SqlStore
from tests.contracts.stores import count

PENDING = Blob("b1", "bin", 1, "pending", "default", "bucket", "pending/1", 10, 20)


def put_blobs(store: SqlStore, rows: list[Blob], tenant: str = "t") -> None:
    def work(transaction: Transaction) -> None:
        for each in rows:
            transaction.put_blob(each)

    store.write(tenant, work)


def put_account(account: Account, transaction: Transaction) -> None:
    transaction.put_account(account)


def enqueue(task: Task, transaction: Transaction) -> None:
    transaction.enqueue(task)


def test_the_bytes_of_a_version(store: SqlStore) -> None:
    """The highest blob version at or below it; what is being deleted does not count."""
    rows = [
        PENDING.with_(state="available", size=3),
        PENDING.with_(id="b3", version=3, pending_key="pending/3", state="available"),
        PENDING.with_(id="b4", version=4, pending_key="pending/4", state="deleting"),
        PENDING.with_(id="b5", version=None, pending_key="pending/5"),
        PENDING.with_(id="b6", version=None, pending_key=""),
    ]
    put_blobs(store, rows)

    with store.read("t") as reader:
        found = {number: getattr(reader.blob("bin", number), "id", None) for number in (0, 1, 2, 3, 9)}
        many = reader.blobs([("bin", 2), ("bin", None), ("none", 1)])
        assert {0: None, 1: "b1", 2: "b1", 3: "b3", 9: "b3"} == found
        assert {("bin", 2): "b1", ("bin", None): "b3"} == {key: each.id for key, each in many.items()}
        assert "b5" == getattr(reader.offered("bin"), "id", None)
        assert rows[0] == reader.blob_by_id("b1")
        assert "b3" == getattr(reader.blob_by_pending_key("default", "bucket", "pending/3"), "id", None)
        assert reader.blob_by_pending_key("default", "bucket", "pending/4") is None
        assert {"b1", "b3", "b4", "b5", "b6"} == {each.id for each in reader.blobs_of("bin")}
    assert store.knows_object("default", "bucket", "pending/4")
    assert not store.knows_object("default", "other", "pending/4")


def test_places(store: SqlStore) -> None:
    """Every bucket of every tenant is told once, those of deleted rows too."""
    put_blobs(store, [PENDING, PENDING.with_(id="b2", state="deleted", bucket="another"), PENDING.with_(id="b3")], "u")
    put_blobs(store, [PENDING.with_(account="clinic")])

    places = store.blob_places()

    assert (("t", "clinic", "bucket"), ("u", "default", "another"), ("u", "default", "bucket")) == places


def test_references(store: SqlStore) -> None:
    """A resource refers to what its current version does."""
    store.write("t", lambda transaction: transaction.refer("Patient", "a", 1, ["x", "y"]))
    store.write("t", lambda transaction: transaction.refer("Patient", "a", 2, ["y"]))

    with store.read("t") as reader:
        assert ((), ("Patient/a",)) == (reader.referrers("x"), reader.referrers("y"))


def test_a_binary_is_locked_against_its_own_deletion(opened: Callable[[], SqlStore]) -> None:
    """lock_binary serialises writers of references and deletion, also before any row is there."""
    stores, order = (opened(), opened()), []
    inside = threading.Event()

    def first(transaction: Transaction) -> None:
        transaction.lock_binary("bin")
        inside.set()
        threading.Event().wait(0.3)
        order.append("first")

    def second(transaction: Transaction) -> None:
        transaction.lock_binary("bin")
        order.append("second")

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(stores[0].write, "t", first)
        inside.wait(10)
        two = threads.submit(stores[1].write, "t", second)
        one.result(), two.result()

    assert ["first", "second"] == order


def test_tasks_are_done_at_least_once(opened: Callable[[], SqlStore]) -> None:
    """A claimed task is leased: nobody else gets it until the lease ends; finished ones are gone."""
    stores = opened(), opened()
    for number in range(40):
        stores[0].write("t", partial(enqueue, Task("erase", str(number), number)))

    def claim(number: int) -> list[str]:
        return [task.payload for task in stores[number % 2].claim(("erase",), now=19, lease=10, limit=5)]

    with ThreadPoolExecutor(8) as threads:
        claimed = [payload for part in threads.map(claim, range(8)) for payload in part]

    assert sorted(map(str, range(20))) == sorted(claimed)
    assert () == stores[0].claim(("erase",), now=19, lease=10, limit=99)
    assert () == stores[0].claim(("verify",), now=99, lease=10, limit=99)
    again = stores[0].claim(("erase",), now=29, lease=10, limit=99)
    assert {2} == {task.attempts for task in again if int(task.payload) < 20}
    for task in again:
        stores[0].finish(task) if int(task.payload) % 2 else stores[0].postpone(task, not_before=99, error="later")
    assert 15 + 5 == len(stores[1].claim(("erase",), now=99, lease=10, limit=99)) - 5


def test_rows_by_state(store: SqlStore) -> None:
    """Of all tenants, older than a time, in the order of their ids."""
    for tenant, id in (("one", "a"), ("two", "b"), ("two", "c")):
        row = PENDING.with_(id=id, created=100 if id == "c" else 10)
        put_blobs(store, [row], tenant)

    found = store.blobs_in_state("pending", before=50, limit=9)

    assert [("one", "a"), ("two", "b")] == [(tenant, each.id) for tenant, each in found]
    assert [("two", "b")] == [
        (t, each.id) for t, each in store.blobs_in_state("pending", before=50, limit=9, after="a")
    ]


def test_accounts(store: SqlStore) -> None:
    """Put, replace, list and delete; an account with bytes in it is in use."""
    for version in (1, 2):
        row = Account("mine", version, 0, "{}", b"secret")
        store.write("t", partial(put_account, row))
    store.write("t", lambda transaction: transaction.put_blob(PENDING.with_(account="mine")))

    with store.read("t") as reader:
        assert Account("mine", 2, 0, "{}", b"secret") == reader.account("mine")
        assert (("mine",), True, False) == (
            reader.account_ids(),
            reader.account_in_use("mine"),
            reader.account_in_use("other"),
        )
    assert store.write("t", lambda transaction: transaction.delete_account("mine"))
    assert not store.write("t", lambda transaction: transaction.delete_account("mine"))


def test_a_blob_is_replaced_whole(store: SqlStore) -> None:
    """Every field comes back as it was put last, and the row of the same id of another tenant stays."""
    whole = Blob(
        id="b1",
        binary_id="bin",
        version=2,
        state="available",
        account="mine",
        bucket="else",
        pending_key="",
        created=11,
        upload_until=21,
        object_key="objects/1",
        object_version="v1",
        content_type="image/png",
        filename="M\u00fcller.png",
        size=5_000_000_000,
        sha1="c2hhMQ==",
        sha256="ab",
        etag='"e"',
        declared_size=5_000_000_000,
        declared_sha1="c2hhMQ==",
        creator="alice",
        owner="Patient/a",
        reason="none",
        completed=12,
        lease_until=13,
    )
    for tenant in ("t", "other"):
        store.write(tenant, lambda it: it.put_blob(PENDING))

    store.write("t", lambda it: it.put_blob(whole))

    with store.read("t") as reader:
        assert (whole,) == reader.blobs_of("bin")
    with store.read("other") as reader:
        assert (PENDING,) == reader.blobs_of("bin")


def test_blobs_are_found_by_their_keys_and_owner(store: SqlStore) -> None:
    """An object belongs to one row; who owns what leaves out nothing."""
    final = PENDING.with_(state="available", pending_key="", object_key="objects/1", owner="Patient/a")
    rows = [final, final.with_(id="b2", state="deleting", object_key="objects/2")]
    put_blobs(store, rows)

    with store.read("t") as reader:
        keys = [("default", "objects/1"), ("other", "objects/1"), ("default", "objects/2")]
        found = [reader.blob_by_object_key(account, "bucket", key) for account, key in keys]
        owned = reader.blobs_owned_by("Patient/a")
    assert [final, None, None] == found
    assert ["b1", "b2"] == sorted(each.id for each in owned)
    assert [True, True, False] == [store.knows_object("default", "bucket", f"objects/{n}") for n in (1, 2, 3)]


def test_the_newest_offer_counts(store: SqlStore) -> None:
    """Of two offers for a next version the later one; none once it was rejected; a transaction sees its own."""
    offers = [PENDING.with_(id=f"o{n}", version=None, created=n, pending_key=f"pending/o{n}") for n in (1, 2)]

    def work(transaction: Transaction) -> tuple[str | None, str | None]:
        for each in offers:
            transaction.put_blob(each)
        first = transaction.offered("bin")
        transaction.put_blob(offers[1].with_(state="rejected"))
        second = transaction.offered("bin")
        return getattr(first, "id", None), getattr(second, "id", None)

    assert ("o2", "o1") == store.write("t", work)
    with store.read("other") as reader:
        assert reader.offered("bin") is None


def test_a_resource_may_refer_twice(store: SqlStore) -> None:
    """To the same Binary from two slots; one that refers to nothing any more leaves no row."""
    store.write("t", lambda it: it.refer("DocumentReference", "d", 1, ["x", "y", "x"]))
    store.write("t", lambda it: it.refer("Patient", "d", 1, ["x"]))
    with store.read("t") as reader:
        assert ("DocumentReference/d", "Patient/d") == reader.referrers("x")

    store.write("t", lambda it: it.refer("DocumentReference", "d", 2, []))

    with store.read("t") as reader:
        assert (("Patient/d",), ()) == (reader.referrers("x"), reader.referrers("y"))
    assert 1 == count(store, "blob_reference")


def test_a_postponed_task_keeps_its_count(store: SqlStore) -> None:
    """It is due again at its new time, though its lease would have lasted longer; tenant and payload stay."""
    store.write("mine", lambda it: it.enqueue(Task("erase", '{"key": 1}', not_before=5)))
    assert () == store.claim(("erase",), now=4, lease=1000, limit=9)
    [task] = store.claim(("other", "erase"), now=5, lease=1000, limit=9)

    store.postpone(task, not_before=50, error="x" * 10_000)

    assert () == store.claim(("erase",), now=49, lease=10, limit=9)
    [again] = store.claim(("erase",), now=50, lease=10, limit=9)
    assert Task("erase", '{"key": 1}', 50, task.task, 2, "mine") == again
    store.finish(again)
    assert 0 == count(store, "outbox")


def test_accounts_belong_to_their_tenant(store: SqlStore) -> None:
    """Another one neither sees nor deletes them, and its bytes do not hold them."""
    store.write("one", lambda it: it.put_account(Account("mine", 1, 0, "{}", b"secret")))
    store.write("two", lambda it: it.put_blob(PENDING.with_(account="mine")))

    with store.read("two") as reader:
        assert (None, ()) == (reader.account("mine"), reader.account_ids())
    assert not store.write("two", lambda it: it.delete_account("mine"))
    with store.read("one") as reader:
        assert (("mine",), False) == (reader.account_ids(), reader.account_in_use("mine"))


def test_a_dropped_blob(store: SqlStore) -> None:
    """The row of that tenant is gone; its account is in use while an object of it is yet to be erased."""
    row = PENDING.with_(account="mine")
    put_blobs(store, [row])
    put_blobs(store, [row], "u")
    store.write("t", partial(put_account, Account("mine", 1, 0, "{}", b"")))
    task = Task("erase", '{"account": "mine", "bucket": "b", "key": "pending/1"}', 10)

    store.write("t", lambda transaction: (transaction.drop_blob("b1"), transaction.enqueue(task)))

    with store.read("t") as reader, store.read("u") as other:
        assert ((), (row,)) == (reader.blobs_of("bin"), other.blobs_of("bin"))
        assert (True, False) == (reader.account_in_use("mine"), reader.account_in_use("min"))
        assert (0, 1) == (reader.waiting("erase", now=9), reader.waiting("erase", now=10))
    for each in store.claim(("erase",), now=10, lease=10, limit=9):
        store.finish(each)
    with store.read("t") as reader:
        assert (False, 0) == (reader.account_in_use("mine"), reader.waiting("erase", now=10))
