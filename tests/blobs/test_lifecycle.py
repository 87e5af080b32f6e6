"""The life of a Binary's bytes, on real S3 servers: the ways through it, and the races in it."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.errors import Conflict, NotFound, Unprocessable
from fhir_blob.settings import Settings
from fhir_blob.store import Blob
from fhir_blob.store.sql import SqlStore, open_store
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import BUCKET, HOUR, SECOND, TENANT, Fate, Killed, OneAccount, World, once, replay, try_

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


def test_next_version(world: World) -> None:
    """An upload that is offered for a next version becomes it; the bytes before stay."""
    first = world.completed(BODY)
    second = world.completed(OTHER, binary_id=first.binary_id, version=None)

    world.settle()

    assert (1, 2) == (world.row(first).version, world.row(second).version)
    assert (BODY, OTHER) == (world.body(first), world.body(second))
    assert [] == world.wrong()


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
        with pytest.raises(Exception) as raised:
            world.life.write(TENANT, each, (BODY,), size)
        assert raised.type is Unprocessable or raised.typename == "BodyTruncated"

    world.work()
    assert (["deleted"] * 3, set()) == ([row.state for row in world.rows()], world.keys())


def test_missing_bytes(world: World) -> None:
    """Bytes that somebody took out of the bucket are NotFound."""
    done = world.completed(BODY)
    world.objects.delete(BUCKET, done.object_key)

    with pytest.raises(NotFound):
        world.body(done)


def test_presigned_download(world: World) -> None:
    """The GET URL gives the bytes; what could run a script is answered as an attachment, by its name."""
    page = world.completed(b"<script>", content_type="text/html", filename="ä page.html")
    photo = world.completed(BODY, content_type="image/png")

    answers = [requests.get(world.life.signed_get(TENANT, each).url, timeout=10) for each in (page, photo)]

    assert [b"<script>", BODY] == [answer.content for answer in answers]
    assert ["text/html", "image/png"] == [answer.headers["Content-Type"] for answer in answers]
    assert "attachment; filename*=UTF-8''%C3%A4%20page.html" == answers[0].headers["Content-Disposition"]
    assert "Content-Disposition" not in answers[1].headers


def test_bound_content_type(world: World) -> None:
    """A bound upload tells the header to send, and takes no other type."""
    signed = world.life.signed_put(TENANT, world.offer(content_type="image/png"), bind_content_type=True)

    statuses = [
        requests.put(signed.url, data=BODY, headers={"Content-Type": each}, timeout=10).status_code
        for each in ("text/html", "image/png")
    ]

    assert ([403, 200], (("Content-Type", "image/png"),)) == (statuses, signed.headers)


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


def _signer(store: SqlStore, objects: S3BlobStore, now: int, **settings: int) -> tuple[Lifecycle, Blob]:
    """A life cycle at a fixed time, and a row whose upload may come for ever."""
    life = Lifecycle(store, OneAccount(objects), Settings(**settings), lambda: now, lambda: "id", lambda *_: _[2])  # type: ignore[arg-type]
    blob = life.offer(binary_id="b", version=1, content_type="image/png", creator="tests")
    return life, blob.with_(pending_key="pending/1", object_key="objects/1", upload_until=2**62)


_TIMES = st.integers(1_700_000_000 * SECOND, 1_800_000_000 * SECOND)


@given(now=_TIMES, later=st.integers(0, 2_000 * SECOND), window=st.integers(1, 1_800), promised=st.integers(1, 7_200))
def test_stable_urls(
    signing_store: SqlStore, life_bucket: S3BlobStore, now: int, later: int, window: int, promised: int
) -> None:
    """Inside a window a URL stays the same, beyond it there is another; never less is left than promised."""
    given = {"url_window_seconds": window, "get_url_seconds": promised, "put_url_seconds": promised}
    urls = []
    for at in (now, now + later):
        life, blob = _signer(signing_store, life_bucket, at, **given)
        for signed in (life.signed_get(TENANT, blob), life.signed_put(TENANT, blob)):
            assert promised * SECOND <= signed.expires - at <= (promised + window) * SECOND
            urls.append(signed.url)

    is_one_window = now // SECOND // window == (now + later) // SECOND // window

    assert is_one_window == (urls[:2] == urls[2:])


@pytest.fixture(scope="module")
def signing_store(empty_database: object) -> Iterator[SqlStore]:
    """A database that signing never has to ask."""
    with closing(open_store(f"sqlite:///{empty_database}", statement_timeout=5)) as store:
        yield store


def test_asked_seconds(make_world: MakeWorld) -> None:
    """Whoever asks for so many seconds gets just those from now on, and the sweep knows of it."""
    world = make_world()
    blob = world.offer()
    before = world.clock()

    signed = world.life.signed_put(TENANT, blob, seconds=7 * 24 * HOUR)

    assert "X-Amz-Expires=604800" in signed.url
    assert abs(signed.expires - before - 604_800 * SECOND) < 5 * SECOND
    assert world.row(blob).upload_until >= signed.expires


def test_first_url_writes_nothing(make_world: MakeWorld) -> None:
    """The URLs of a fresh offer are within what the row knows already."""
    world = make_world()
    blob = world.offer()

    world.life.signed_put(TENANT, blob)

    assert blob == world.row(blob)


def test_long_url_is_outlived(make_world: MakeWorld) -> None:
    """A URL that was asked for a week is replayed at its end, and its bytes go all the same."""
    world = make_world()
    blob = world.offer()
    url = world.life.signed_put(TENANT, blob, seconds=7 * 24 * HOUR).url
    replay(url, BODY)
    world.complete(blob)
    world.clock.move(6 * 24 * HOUR)
    world.work()

    replay(url, OTHER)

    world.clock.move(2 * 24 * HOUR)
    world.settle()
    assert ([], BODY) == (world.wrong(), world.body(blob))


def test_nothing_is_left_to_try(make_world: MakeWorld) -> None:
    """A task for what is not known any more ends."""
    world = make_world()
    blob = world.uploaded(BODY)
    world.life.complete(TENANT, blob.id, at_once_limit=1)
    try_(lambda: world.delete(blob))

    world.settle()

    assert (0, []) == (world.life.run_due(50), world.wrong())
