"""A transaction whose bytes go to S3 several at a time: failing, or dying between any two calls, it leaves nothing."""

from __future__ import annotations

import base64
import itertools
from contextlib import suppress
from typing import Any

import pytest

from fhir_blob.errors import NotFound, Unprocessable
from fhir_blob.interactions import Context
from fhir_blob.interactions.entries import Action
from fhir_blob.interactions.transaction import transaction
from tests.blobs.conftest import MakeWorld
from tests.blobs.test_erase_kills import context_of
from tests.blobs.world import HOUR, TENANT, Fate, Killed, World

LINK = "urn:uuid:6b9a4a53-0000-4000-8000-000000000001"


def attachment(content: bytes, **more: Any) -> dict[str, Any]:
    return {"contentType": "text/plain", "data": base64.b64encode(content).decode(), **more}


def entries(*, documents: int = 2, binaries: int = 2, **more: Any) -> list[Action]:
    """Binaries with data, documents with data, the last with `more`, and one that links the first Binary."""
    made: list[dict[str, Any]] = [
        {"resourceType": "Binary", **attachment(b"binary %d" % number)} for number in range(binaries)
    ]
    attached = [attachment(b"letter %d" % number) for number in range(documents)]
    attached[-1] |= more
    attached.append({"contentType": "text/plain", "url": LINK})
    made += (
        {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": each}]}
        for each in attached
    )
    return [
        Action(number, "create", each["resourceType"], full_url="" if number else LINK, resource=each)
        for number, each in enumerate(made)
    ]


def stored(world: World) -> int:
    with world.store.read(TENANT) as reader:
        return int(reader.rows("SELECT count(*) FROM resource", ())[0][0])


def test_killed_after_each_call(make_world: MakeWorld) -> None:
    """Wherever it dies all is stored with its bytes, or nothing is, and no object stays that no row knows."""
    broken: dict[str, Any] = {}

    for calls in itertools.count(1):
        world = make_world()
        fate = Fate(calls)
        with suppress(Killed):
            transaction(context_of(world, world.lifecycle(fate.before, fate.after)), entries)
        world.clock.move(HOUR)
        world.settle()
        available = sum(row.state == "available" for row in world.rows())
        problems = world.wrong()
        if problems or (stored(world), available) not in ((0, 0), (7, 4)):
            broken[f"{calls}: after {fate.made[-1]}"] = (stored(world), available, problems)
        if not fate.is_dead:
            break

    assert {} == broken
    assert 4 == fate.made.count("put")


@pytest.mark.parametrize("fault", ["a size that is not that of the bytes", "nothing where it reads"])
def test_a_failure_gives_all_bytes_up(make_world: MakeWorld, fault: str) -> None:
    """Those that are in S3 by then, and those under way."""
    world = make_world()
    context: Context = context_of(world, world.life)
    if fault == "nothing where it reads":
        reading = Action(99, "read", "Patient", "nobody", context=context)
        with pytest.raises(NotFound):
            transaction(context, lambda: [*entries(documents=20, binaries=20), reading])
    else:
        with pytest.raises(Unprocessable, match="Attachment.size is '7', but that of the bytes is '9'"):
            transaction(context, lambda: entries(documents=20, binaries=20, size=7))
    world.work()

    assert (0, set()) == (stored(world), world.keys())
    assert {"deleted"} == {row.state for row in world.rows()}
