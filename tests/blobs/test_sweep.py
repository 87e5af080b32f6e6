"""The sweep takes what nobody will ever ask for, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import requests

from fhir_blob.store import Blob, Transaction
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import BUCKET, HOUR, SECOND, TENANT, World

BODY = b"swept or not"
LONG = 60 * HOUR


def _refer(world: World, blob: Blob) -> None:
    world.store.write(TENANT, lambda transaction: transaction.refer("DocumentReference", "d", 1, (blob.binary_id,)))


def test_dry_run(make_world: MakeWorld) -> None:
    """Without being told to erase it says what it would, and changes nothing: it completes no upload either."""
    world = make_world()
    never, arrived = world.offer(), world.uploaded(BODY)
    world.objects.put(BUCKET, "objects/unknown", (b"x",), size=1, content_type="text/plain")
    before = world.keys(), world.rows()

    report = world.sweep(dry_run=True, ahead=LONG)

    assert ((never.id,), ("objects/unknown",), False) == (report.uploads, report.objects, report.erased)
    assert before == (world.keys(), world.rows())
    assert "pending" == world.row(arrived).state


def test_erase(make_world: MakeWorld) -> None:
    """Told to erase, it takes uploads that never came and objects that no row knows, and completes what did come."""
    world = make_world()
    never, arrived, kept = world.offer(), world.uploaded(BODY), world.completed(BODY)
    for key in ("pending/unknown", "objects/unknown"):
        world.objects.put(BUCKET, key, (b"x",), size=1, content_type="text/plain")
    world.clock.move(LONG)

    report = world.sweep()

    world.work()
    assert ((never.id,), ("pending/unknown", "objects/unknown"), True) == (
        report.uploads,
        report.objects,
        report.erased,
    )
    assert ["deleted", "available", "available"] == [world.row(each).state for each in (never, arrived, kept)]
    assert {world.row(arrived).object_key, kept.object_key} == world.keys()


def test_young_is_left(make_world: MakeWorld) -> None:
    """What may still be arriving is not looked at: neither rows nor objects."""
    world = make_world()
    world.offer()
    world.objects.put(BUCKET, "objects/unknown", (b"x",), size=1, content_type="text/plain")

    report = world.sweep(ahead=world.settings.upload_seconds)

    assert ((), (), {"objects/unknown"}) == (report.uploads, report.objects, world.keys())


def test_referred_is_left(make_world: MakeWorld) -> None:
    """An upload that a resource refers to is waited for, however long."""
    world = make_world()
    blob = world.offer()
    _refer(world, blob)

    report = world.sweep(ahead=LONG)

    assert ((), "pending") == (report.uploads, world.row(blob).state)


def test_referred_meanwhile(make_world: MakeWorld) -> None:
    """A reference that is written between the look and the erasing is seen."""
    world = make_world()
    blob = world.offer()
    looks: list[str] = []

    def before(name: str) -> None:
        if name == "write":
            looks.append(name)
            _refer(world, blob)

    report = world.sweep(world.lifecycle(before=before), ahead=LONG)

    assert (["write"], (), "pending") == (looks, report.uploads, world.row(blob).state)


def test_renewed_is_left(make_world: MakeWorld) -> None:
    """An old upload whose URL was renewed just now may still come."""
    world = make_world()
    old = world.clock() - LONG * SECOND
    blob = world.offer().with_(created=old, upload_until=old + HOUR * SECOND)
    world.put(blob)
    url = world.life.signed_put(TENANT, world.row(blob)).url

    report = world.sweep(ahead=world.settings.put_url_seconds)

    assert ((), 200) == (report.uploads, requests.put(url, data=BODY, timeout=10).status_code)
    assert "available" == world.complete(blob).state


def test_slow_upload(make_world: MakeWorld) -> None:
    """An upload that was begun while its URL was good and goes on after its end is waited for."""
    world = make_world()
    blob = world.offer()
    url = world.life.signed_put(TENANT, blob).url
    begun, go_on, statuses = threading.Event(), threading.Event(), list[int]()

    def slowly() -> Iterator[bytes]:
        yield BODY[:3]
        begun.set()
        assert go_on.wait(30)
        yield BODY[3:]

    def upload() -> None:
        headers = {"Content-Length": str(len(BODY))}
        request = requests.Request("PUT", url, data=slowly(), headers=headers).prepare()
        del request.headers["Transfer-Encoding"]
        with requests.Session() as session:
            statuses.append(session.send(request, timeout=30).status_code)

    thread = threading.Thread(target=upload)
    thread.start()
    assert begun.wait(30)
    report = world.sweep(ahead=world.settings.put_url_seconds + world.settings.upload_seconds)
    go_on.set()
    thread.join()

    assert ((), [200]) == (report.uploads, statuses)
    assert ("available", BODY) == (world.complete(blob).state, world.body(blob))


def test_many(make_world: MakeWorld) -> None:
    """It goes on past one batch of rows."""
    world = make_world()
    blobs = [world.life.offer(binary_id=str(n), version=1, content_type="a/b", creator="tests") for n in range(1_001)]

    def work(transaction: Transaction) -> None:
        for blob in blobs:
            transaction.put_blob(blob)

    world.store.write(TENANT, work)

    report = world.sweep(dry_run=True, ahead=LONG)

    assert sorted(blob.id for blob in blobs) == list(report.uploads)


def test_text(make_world: MakeWorld) -> None:
    """What is printed names each upload and object."""
    world = make_world()
    blob = world.offer()

    text = world.sweep(dry_run=True, ahead=LONG).text()

    expected = "uploads never completed: 1, objects unknown: 0: found, nothing erased (--erase does)"
    assert f"{expected}\n  upload {blob.id}" == text
