"""Clients and servers that come in each other's way, on real S3 servers: two at once, replays, lost leases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fhir_blob.errors import Conflict
from fhir_blob.store import Blob
from tests.blobs.world import HOUR, TENANT, Fate, Killed, World, once, replay, try_

BODY, OTHER = b"the bytes of a photo", b"quite other bytes"


def test_replay_after_complete(world: World) -> None:
    """A URL that is used again changes nothing that was completed, and its bytes go."""
    blob = world.offer()
    url = world.upload(blob, BODY)
    done = world.complete(blob)
    world.work()

    replay(url, OTHER)

    assert done == world.complete(blob) == world.row(blob)
    assert BODY == world.body(blob)
    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blob))


def test_replay_before_the_outbox(world: World) -> None:
    """Also where the pending object has not been erased yet."""
    blob = world.offer()
    url = world.upload(blob, BODY)
    world.complete(blob)

    replay(url, OTHER)

    assert BODY == world.body(blob)
    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blob))


def test_replay_after_delete(world: World) -> None:
    """A URL that is used after its Binary was deleted brings nothing back, and its bytes go."""
    blob = world.offer()
    url = world.upload(blob, BODY)
    world.complete(blob)
    world.delete(blob)
    world.work()

    replay(url, OTHER)

    assert "deleting" == world.complete(blob).state
    world.settle()
    assert ("deleted", set()) == (world.row(blob).state, world.keys())


def test_two_completers(world: World) -> None:
    """Of two that complete at once one does it, the other sees that; one object comes of it."""
    for _ in range(5):
        blob = world.uploaded(BODY)
        barrier, states = threading.Barrier(2), list[str]()

        def complete(blob: Blob = blob, barrier: threading.Barrier = barrier, states: list[str] = states) -> None:
            barrier.wait()
            states.append(world.complete(blob).state)

        threads = [threading.Thread(target=complete) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(states) <= {"available", "verifying"} and "available" in states
        assert BODY == world.body(blob)

    world.settle()
    assert ([], 5) == (world.wrong(), len(world.keys()))


@pytest.mark.parametrize("at", ["head", "write"])
def test_completed_meanwhile(world: World, at: str) -> None:
    """Whoever finds that another has completed it answers what it is now, not what it was."""
    blob = world.uploaded(BODY)

    def other() -> None:
        world.complete(blob)
        world.work()

    seen = world.complete(blob, world.lifecycle(before=once(at, other)))

    assert world.row(blob) == seen
    assert "available" == seen.state


def test_lost_lease(world: World) -> None:
    """Who comes back after its lease has ended gives its copy up, and what is available stays."""
    blob = world.uploaded(BODY)

    def other() -> None:
        world.clock.move(HOUR)
        world.complete(blob)

    seen = world.complete(blob, world.lifecycle(before=once("copy", other)))

    assert ("available", world.row(blob)) == (seen.state, seen)
    world.work()
    assert {seen.object_key} == world.keys()
    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blob))


def test_lease_lost_to_one_at_work(world: World) -> None:
    """Also where the other is not done yet: the outcome is his who has the lease."""
    blob = world.uploaded(BODY)

    def other() -> None:
        world.clock.move(HOUR)
        fate = Fate(3)
        with suppress(Killed):
            world.complete(blob, world.lifecycle(fate.before, fate.after))

    seen = world.complete(blob, world.lifecycle(before=once("copy", other)))

    assert ("pending", world.row(blob)) == (seen.state, seen)
    world.clock.move(HOUR)
    assert "available" == world.complete(blob).state
    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blob))


def test_copy_of_the_dead(world: World) -> None:
    """The copy of a server that died before it could record it is erased by the outbox, without a sweep."""
    blob = world.uploaded(BODY)
    fate = Fate(5)
    with suppress(Killed):
        world.complete(blob, world.lifecycle(fate.before, fate.after))
    world.clock.move(HOUR)
    done = world.complete(blob)

    world.clock.move(HOUR)
    world.work()

    assert ("copy", {done.object_key}) == (fate.made[-1], world.keys())


def test_changed_there_and_back(world: World) -> None:
    """Bytes that are replaced for the moment in which they are read do not give their hash to the others."""
    blob = world.offer()
    url = world.upload(blob, BODY)
    acts = {"open": OTHER, "copy": BODY}

    def before(name: str) -> None:
        if name in acts:
            replay(url, acts.pop(name))

    try_(lambda: world.complete(blob, world.lifecycle(before=before)))

    world.complete(blob)
    world.settle()
    assert [] == world.wrong()


@pytest.mark.parametrize("at", ["open", "copy"])
def test_changed_while_completing(world: World, at: str) -> None:
    """An upload that is replaced while it is being completed is a Conflict, then completed as what it is."""
    blob = world.offer()
    url = world.upload(blob, BODY)
    life = world.lifecycle(before=once(at, lambda: replay(url, OTHER)))

    with pytest.raises(Conflict):
        world.complete(blob, life)

    assert ("pending", 0) == (world.row(blob).state, world.row(blob).lease_until)
    assert "available" == world.complete(blob).state
    world.settle()
    assert ([], OTHER) == (world.wrong(), world.body(blob))


@pytest.mark.parametrize("at", ["open", "copy", "write"])
def test_deleted_while_completing(world: World, at: str) -> None:
    """A Binary that is deleted while its upload is being completed stays deleted, and no bytes stay."""
    blob = world.uploaded(BODY)

    seen = world.complete(blob, world.lifecycle(before=once(at, lambda: world.delete(blob))))

    assert "deleting" == seen.state
    world.settle()
    assert ("deleted", set()) == (world.row(blob).state, world.keys())


def test_deleted_before_promotion(world: World) -> None:
    """An upload for a next version of what is gone does not become it."""
    blob = world.uploaded(BODY, version=None)
    world.gone.add(blob.binary_id)

    done = world.complete(blob)

    world.work()
    assert ("deleted", set()) == (done.state, world.keys())


def test_revived_while_written(world: World) -> None:
    """Bytes that are on their way while their Binary is deleted, and are kept after all, are not erased later."""
    blobs: list[Blob] = []

    def chunks() -> Iterator[bytes]:
        yield BODY
        world.delete(world.rows()[0])

    offered = world.life.offer(binary_id="raw", version=None, content_type="a/b", creator="tests", pending_key="")
    blobs.append(world.life.write(TENANT, offered, chunks(), len(BODY)))

    world.put(blobs[0].with_(version=3))

    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blobs[0]))


def test_file_name_again(world: World) -> None:
    """A name that is uploaded to again keeps its new bytes: the first upload's erasing does not take them."""
    first = world.uploaded(BODY, pending_key="scan.pdf")
    world.complete(first)
    second = world.offer(pending_key="scan.pdf")
    world.work()
    world.upload(second, OTHER)
    world.clock.move(30 * HOUR)

    world.work()

    assert "available" == world.complete(second).state
    world.settle()
    assert ([], BODY, OTHER) == (world.wrong(), world.body(first), world.body(second))
