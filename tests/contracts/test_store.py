"""One suite for the ResourceStore, on SQLite and PostgreSQL: what fhir_blob.store promises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fhir_blob.errors import Conflict
from fhir_blob.store import Account, Blob, Task, Transaction, Version
from fhir_blob.store.sql import SqlStore, migrate, open_store

ENTRIES = {
    "token": [("identifier", 0, "urn:x", "1")],
    "string": [("family", 0, "smith", "Smith")],
    "date": [("birthdate", 0, 1, 2)],
    "reference": [("organization", 0, "Organization", "1", "", "")],
}
PENDING = Blob("b1", "bin", 1, "pending", "default", "bucket", "pending/1", 10, 20)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    return str(request.getfixturevalue("fresh_postgresql_url"))


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], SqlStore]]:
    """Opens stores on one migrated database, as several servers do."""
    migrate(url)
    stores: list[SqlStore] = []

    def begin() -> SqlStore:
        stores.append(open_store(url, statement_timeout=20))
        return stores[-1]

    yield begin
    for each in stores:
        each.close()
        each.close()  # closing twice does nothing


@pytest.fixture
def store(opened: Callable[[], SqlStore]) -> SqlStore:
    return opened()


def patient(id: str, number: int = 1, *, at: int = 1000, method: str = "PUT") -> Version:
    body = b"" if method == "DELETE" else b'{"id":"%s"}' % id.encode()
    return Version("Patient", id, number, at, method, body)  # type: ignore[arg-type]


def put(store: SqlStore, version: Version, expected: int | None = None, tenant: str = "t") -> Version:
    return store.write(
        tenant,
        lambda transaction: transaction.put(version, {} if version.deleted else ENTRIES, expected=expected),
    )


def count(store: SqlStore, table: str) -> int:
    with store.read("t") as reader:
        return int(reader.rows(f"SELECT count(*) FROM {table}", ())[0][0])


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
    """Newest first; since, at, pages by seq; the total does not depend on the page."""
    for number, at in enumerate((1000, 2000, 3000), 1):
        put(store, patient("a", number, at=at), number - 1 or None)
    put(store, patient("b", at=1500))

    with store.read("t") as reader:
        everything = reader.history(None, None, count=9)
        first = reader.history("Patient", None, count=2)
        second = reader.history("Patient", None, before_seq=first.versions[-1].seq, count=2)
        since = reader.history("Patient", "a", since=2000, count=9)
        at = reader.history("Patient", "a", at=(2500, 2501), count=9)

    assert (4, ["b", "a", "a", "a"]) == (everything.total, [each.id for each in everything.versions])
    assert (4, 4) == (first.total, second.total)
    assert [each.seq for each in everything.versions] == [each.seq for each in (*first.versions, *second.versions)]
    assert [3, 2] == [each.version for each in since.versions]
    assert [2] == [each.version for each in at.versions]


def test_the_bytes_of_a_version(store: SqlStore) -> None:
    """The highest blob version at or below it; what is being deleted does not count."""
    rows = [
        PENDING.with_(state="available", size=3),
        PENDING.with_(id="b3", version=3, pending_key="pending/3", state="available"),
        PENDING.with_(id="b4", version=4, pending_key="pending/4", state="deleting"),
        PENDING.with_(id="b5", version=None, pending_key="pending/5"),
        PENDING.with_(id="b6", version=None, pending_key=""),
    ]
    store.write("t", lambda transaction: [transaction.put_blob(each) for each in rows])

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
    stores[0].write("t", lambda transaction: [transaction.enqueue(Task("erase", str(n), n)) for n in range(40)])

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
        store.write(tenant, lambda transaction, row=row: transaction.put_blob(row))

    found = store.blobs_in_state("pending", before=50, limit=9)

    assert [("one", "a"), ("two", "b")] == [(tenant, each.id) for tenant, each in found]
    assert [("two", "b")] == [
        (t, each.id) for t, each in store.blobs_in_state("pending", before=50, limit=9, after="a")
    ]


def test_accounts(store: SqlStore) -> None:
    """Put, replace, list and delete; an account with bytes in it is in use."""
    for version in (1, 2):
        row = Account("mine", version, 0, "{}", b"secret")
        store.write("t", lambda transaction, row=row: transaction.put_account(row))
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
