"""The life of a Binary's bytes, on real S3 servers: the ways through it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.errors import BodyTruncated, NotFound, Unprocessable
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import BUCKET, HOUR, TENANT, OneAccount, World, replay, try_

BODY, OTHER = b"the bytes of a photo", b"quite other bytes"


def _sha1(body: bytes) -> str:
    return base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()


def test_upload_and_complete(world: World) -> None:
    """What a client put by the URL is available with its size, hashes and type, and reads back."""
    blob = world.uploaded(BODY, content_type="image/png")

    done = world.complete(blob)

    assert ("available", len(BODY), _sha1(BODY)) == (done.state, done.size, done.sha1)
    assert hashlib.sha256(BODY).hexdigest() == done.sha256
    assert done == world.row(blob)
    assert BODY == world.body(blob)
    assert "image/png" == getattr(world.objects.head(BUCKET, done.object_key), "content_type", "")


def test_pending_object_goes(world: World) -> None:
    """After completion the object under the key that URLs name goes; the completed one is all there is."""
    done = world.completed(BODY)

    world.work()

    assert {done.object_key} == world.keys()


def test_nothing_uploaded(world: World) -> None:
    """Completing what is not there yet leaves it pending."""
    blob = world.offer()

    assert blob == world.complete(blob)


def test_unknown_upload(world: World) -> None:
    """An upload that was never offered is NotFound."""
    with pytest.raises(NotFound):
        world.life.complete(TENANT, "never-offered", at_once_limit=None)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"declared_size": 3}, f"3 bytes were declared, {len(BODY)} came."),
        (
            {"declared_sha1": _sha1(OTHER)},
            f"The hash {_sha1(OTHER)!r} was declared, that of what came is {_sha1(BODY)!r}.",
        ),
    ],
    ids=["size", "hash"],
)
def test_rejected(world: World, declared: dict[str, object], reason: str) -> None:
    """What is not what had been declared is rejected, says why, and does not stay."""
    blob = world.uploaded(BODY, **declared)

    done = world.complete(blob)

    world.work()
    assert ("rejected", reason) == (done.state, done.reason)
    assert set() == world.keys()


def test_declared_truly(world: World) -> None:
    """What is what had been declared is available."""
    blob = world.uploaded(BODY, declared_size=len(BODY), declared_sha1=_sha1(BODY))

    assert "available" == world.complete(blob).state


def test_large_is_left_to_the_worker(world: World) -> None:
    """Above the limit a look schedules the upload once; the worker completes it."""
    blob = world.uploaded(BODY)

    looks = [world.life.complete(TENANT, blob.id, at_once_limit=len(BODY) - 1).state for _ in range(2)]

    assert ["verifying", "verifying"] == looks
    assert 1 == world.life.run_due(50)
    assert ("available", BODY) == (world.row(blob).state, world.body(blob))


def test_vanished(make_world: MakeWorld) -> None:
    """Bytes that are gone before they were verified are waited for as long as a URL may bring them; then it ends."""
    world = make_world()
    blobs = [world.uploaded(BODY) for _ in range(3)]
    for blob in blobs:
        world.life.complete(TENANT, blob.id, at_once_limit=1)
        world.objects.delete(BUCKET, blob.pending_key)
    last = blobs[2].with_(state="verifying", object_key="objects/of-an-attempt-that-died")
    world.put(last)
    url = world.life.signed_put(TENANT, blobs[1]).url
    world.work()
    waiting = [world.row(blob).state for blob in blobs]

    replay(url, OTHER)
    world.clock.move(3 * HOUR)
    world.work()

    rows = [world.row(blob) for blob in blobs]
    gone = ("rejected", "The uploaded bytes were gone from S3 before they were verified.")
    assert ["verifying"] * 3 == waiting
    assert [gone, ("available", ""), gone] == [(row.state, row.reason) for row in rows]
    world.settle()
    assert (0, []) == (world.life.run_due(50), world.wrong())


def test_next_version(world: World) -> None:
    """An upload that is offered for a next version becomes it; the bytes before stay."""
    first = world.completed(BODY)
    second = world.completed(OTHER, binary_id=first.binary_id, version=None)

    world.settle()

    assert (1, 2) == (world.row(first).version, world.row(second).version)
    assert (BODY, OTHER) == (world.body(first), world.body(second))
    assert [] == world.wrong()


def test_delete_of_pending(world: World) -> None:
    """An upload that was never completed goes at once; one that comes later goes with the last URL."""
    blob = world.offer()
    url = world.upload(blob, BODY)

    world.delete(blob)

    world.work()
    assert ("deleted", set()) == (world.row(blob).state, world.keys())
    replay(url, OTHER)
    world.settle()
    assert set() == world.keys()


def test_restore_window(world: World) -> None:
    """Deleted bytes stay for the restore window, and not longer."""
    blob = world.completed(BODY)
    world.delete(blob)

    world.clock.move(world.settings.restore_seconds - 60)
    world.work()
    before = world.keys()
    world.clock.move(120)
    world.work()

    assert ({blob.object_key}, set()) == (before, world.keys())
    assert "deleted" == world.row(blob).state


def test_write_through_the_server(world: World) -> None:
    """Bytes that came through the server are hashed on their way, and known before they are there."""
    rows: list[str] = []

    def chunks() -> Iterator[bytes]:
        rows.extend(row.state for row in world.rows())
        yield BODY[:7]
        yield BODY[7:]

    offered = world.life.offer(binary_id="raw", version=1, content_type="text/plain", creator="tests", pending_key="")

    written = world.life.write(TENANT, offered, chunks(), len(BODY))

    world.put(written)
    assert ["pending"] == rows
    assert ("available", _sha1(BODY), BODY) == (written.state, written.sha1, world.body(written))


def test_write_that_fails(world: World) -> None:
    """Bytes that end early, or are not what was declared, leave nothing."""
    offered = [
        world.life.offer(binary_id="raw", version=1, content_type="a/b", creator="tests", pending_key="", **declared)
        for declared in ({}, {"declared_size": 1}, {"declared_sha1": _sha1(OTHER)})
    ]

    for each, size in zip(offered, (99, len(BODY), len(BODY)), strict=True):
        with pytest.raises((BodyTruncated, Unprocessable)):
            world.life.write(TENANT, each, (BODY,), size)

    world.work()
    assert (["deleted"] * 3, set()) == ([row.state for row in world.rows()], world.keys())


def test_missing_bytes(world: World) -> None:
    """Bytes that somebody took out of the bucket are NotFound."""
    done = world.completed(BODY)
    world.objects.delete(BUCKET, done.object_key)

    with pytest.raises(NotFound):
        world.body(done)


def test_s3_away_while_erasing(world: World) -> None:
    """What cannot be erased now comes again."""
    blob = world.completed(BODY)
    away = S3BlobStore(
        "default",
        endpoint="http://127.0.0.1:9",
        public_endpoint="",
        region="us-east-1",
        bucket=BUCKET,
        credentials=None,
        path_style=True,
        timeout=0.2,
    )
    accounts = OneAccount(away)
    life = Lifecycle(world.store, accounts, world.settings, world.clock, lambda: "", world._promote)  # type: ignore[arg-type]

    with closing(away):
        tried = life.run_due(50)

    assert (1, 0, 2) == (tried, world.life.run_due(50), len(world.keys()))
    world.clock.move(60)
    world.work()
    assert {blob.object_key} == world.keys()


def test_nothing_is_left_to_try(make_world: MakeWorld) -> None:
    """A task for what is not known any more ends."""
    world = make_world()
    blob = world.uploaded(BODY)
    world.life.complete(TENANT, blob.id, at_once_limit=1)
    try_(lambda: world.delete(blob))

    world.settle()

    assert (0, []) == (world.life.run_due(50), world.wrong())
