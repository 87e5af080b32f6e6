"""Death between any two steps: after each call to the database or S3 in turn, and then recovery."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.store import Blob
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import HOUR, TENANT, Fate, Killed, World, replay

BODY, OTHER = b"the bytes of a document", b"what came in place of them"


@dataclass(frozen=True, slots=True)
class Story:
    """What was there, what the server then does until it dies, and how each row may end."""

    before: Callable[[World], list[Blob]]
    act: Callable[[World, Lifecycle, list[Blob]], object]
    ends: tuple[tuple[str, ...], ...]
    calls: tuple[str, ...]


def _write(world: World, life: Lifecycle, blobs: list[Blob]) -> None:
    world.write(BODY, life)


def _delete(world: World, life: Lifecycle, blobs: list[Blob]) -> None:
    world.delete(blobs[0], life)


def _large(world: World, life: Lifecycle, blobs: list[Blob]) -> None:
    life.complete(TENANT, blobs[0].id, at_once_limit=1)
    world.work(life)


def _replayed(world: World, life: Lifecycle, blobs: list[Blob]) -> None:
    world.complete(blobs[0], life)
    replay(world.life.signed_put(TENANT, blobs[0]).url, OTHER)
    world.work(life)


def _sweep(world: World, life: Lifecycle, blobs: list[Blob]) -> None:
    world.sweep(life)
    world.work(life)


def _deleted(world: World) -> list[Blob]:
    blobs = [world.completed(BODY), world.completed(OTHER)]
    world.delete(blobs[0])
    world.clock.move(30 * HOUR)
    return blobs


def _given_up(world: World) -> list[Blob]:
    """Never uploaded; uploaded and never completed; completed; and two objects that no row knows."""
    blobs = [world.offer(), world.uploaded(BODY), world.completed(OTHER)]
    for key in (f"pending/{'0' * 32}", f"objects/{'0' * 32}"):
        world.objects.put("life", key, (b"x",), size=1, content_type="text/plain")
    world.clock.move(60 * HOUR)
    return blobs


def _next_version(world: World) -> list[Blob]:
    first = world.completed(BODY)
    return [first, world.uploaded(OTHER, binary_id=first.binary_id, version=None)]


COMPLETE = ("read", "head", "write", "open", "copy", "write")
STORIES = {
    "complete": Story(
        lambda world: [world.uploaded(BODY)],
        lambda world, life, blobs: world.complete(blobs[0], life),
        (("available",),),
        COMPLETE,
    ),
    "complete a next version": Story(
        _next_version,
        lambda world, life, blobs: world.complete(blobs[1], life),
        (("available",), ("available",)),
        COMPLETE,
    ),
    "reject": Story(
        lambda world: [world.uploaded(BODY, declared_size=1)],
        lambda world, life, blobs: world.complete(blobs[0], life),
        (("rejected",),),
        ("read", "head", "write", "open", "write"),
    ),
    "complete by the worker": Story(
        lambda world: [world.uploaded(BODY)],
        _large,
        (("available",),),
        ("read", "head", "write", "claim", *COMPLETE, "finish", "claim", "read", "delete", "finish", "claim"),
    ),
    "complete, replayed, and erase": Story(
        lambda world: [world.uploaded(BODY)],
        _replayed,
        (("available",),),
        (*COMPLETE, "claim", "read", "delete", "finish", "claim"),
    ),
    "write through the server": Story(
        lambda world: [],
        _write,
        (("available", "deleted"),),
        ("write", "put", "write"),
    ),
    "delete": Story(
        lambda world: [world.completed(BODY), world.completed(OTHER)],
        _delete,
        (("available", "deleted"), ("available",)),
        ("write",),
    ),
    "erase what was deleted": Story(
        _deleted,
        lambda world, life, blobs: world.work(life),
        (("deleted",), ("available",)),
        (),
    ),
    "sweep": Story(
        _given_up,
        _sweep,
        (("deleted",), ("available",), ("available",)),
        (),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_killed_after_each_call(make_world: MakeWorld, story: str) -> None:
    """Wherever it dies: what was recorded is true, nothing available is lost, nothing unreferenced stays."""
    told = STORIES[story]
    broken: dict[str, list[str]] = {}

    for calls in itertools.count(1):
        world = make_world()
        before, fate = told.before(world), Fate(calls)
        with suppress(Killed):
            told.act(world, world.lifecycle(fate.before, fate.after), before)
        _recover(world)
        problems = world.wrong() + _ends(world, before, told.ends)
        if problems:
            broken[f"{calls}: after {fate.made[-1]}"] = problems
        if not fate.is_dead:
            break

    assert {} == broken
    assert told.calls == () or list(told.calls) == fate.made[1:]
    assert len(fate.made) == calls


def _recover(world: World) -> None:
    """Somebody asks again when the leases have ended; the worker and the sweep do the rest."""
    world.clock.move(HOUR)
    for row in world.rows():
        if row.state == "pending":
            world.complete(row)
    world.settle()


def _ends(world: World, before: list[Blob], ends: tuple[tuple[str, ...], ...]) -> list[str]:
    rows = [world.row(blob) for blob in before] or world.rows()
    return [
        f"{row.state}, not {' or '.join(allowed)}"
        for row, allowed in zip(rows, ends, strict=False)
        if row.state not in allowed
    ]


def test_acknowledged_is_kept(make_world: MakeWorld) -> None:
    """A completion that was answered survives a server that dies right after."""
    world = make_world()
    blob = world.uploaded(BODY)
    fate = Fate(len(COMPLETE))
    life = world.lifecycle(fate.before)
    done = world.complete(blob, life)

    world.settle()

    assert (done, BODY) == (world.row(blob), world.body(blob))
