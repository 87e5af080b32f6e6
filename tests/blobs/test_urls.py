"""The URLs that clients get: what they do, how long they are good for, and that they stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.settings import Settings
from fhir_blob.store import Blob
from fhir_blob.store.sql import SqlStore, open_store
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import HOUR, SECOND, TENANT, OneAccount, World, replay

BODY, OTHER = b"the bytes of a photo", b"quite other bytes"


def test_presigned_download(world: World) -> None:
    """The GET URL gives the bytes, what could run a script as an attachment by its name; a browser may keep it."""
    page = world.completed(b"<script>", content_type="text/html", filename="ä page.html")
    photo = world.completed(BODY, content_type="image/png")

    answers = [requests.get(world.life.signed_get(TENANT, each).url, timeout=10) for each in (page, photo)]

    assert [b"<script>", BODY] == [answer.content for answer in answers]
    assert ["text/html", "image/png"] == [answer.headers["Content-Type"] for answer in answers]
    assert "attachment; filename*=UTF-8''%C3%A4%20page.html" == answers[0].headers["Content-Disposition"]
    assert "Content-Disposition" not in answers[1].headers
    assert ["private, max-age=900"] * 2 == [answer.headers["Cache-Control"] for answer in answers]


def test_bound_content_type(world: World) -> None:
    """A bound upload tells the header to send, and takes no other type."""
    signed = world.life.signed_put(TENANT, world.offer(content_type="image/png"), bind_content_type=True)

    statuses = [
        requests.put(signed.url, data=BODY, headers={"Content-Type": each}, timeout=10).status_code
        for each in ("text/html", "image/png")
    ]

    assert ([403, 200], (("Content-Type", "image/png"),)) == (statuses, signed.headers)


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
