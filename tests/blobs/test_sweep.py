"""The sweep takes what nobody will ever ask for, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import requests

from fhir_blob.store import Blob, Transaction
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import BUCKET, HOUR, SECOND, TENANT, World
from tests.services.s3 import S3

BODY = b"swept or not"
LONG = 60 * HOUR
UNKNOWN, UNKNOWN_UPLOAD = f"objects/{'0' * 32}", f"pending/{'0' * 32}"
SECOND_BUCKET = "life-second"


def _put(world: World, key: str, bucket: str = BUCKET) -> None:
    world.objects.put(bucket, key, (b"x",), size=1, content_type="text/plain")


def _begin_parts(server: S3, key: str) -> None:
    """What a writer leaves that dies in the midst of a large object."""
    client = server.client()
    begun = client.create_multipart_upload(Bucket=BUCKET, Key=key)
    client.upload_part(Bucket=BUCKET, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 100)


def _open(world: World, key: str) -> Iterator[bytes]:
    download = world.objects.open(BUCKET, key)
    assert download is not None
    with closing(download):
        yield from download.chunks()


def _parts(server: S3) -> list[str]:
    return [each["Key"] for each in server.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


def _refer(world: World, blob: Blob) -> None:
    world.store.write(TENANT, lambda transaction: transaction.refer("DocumentReference", "d", 1, (blob.binary_id,)))


def test_dry_run(make_world: MakeWorld) -> None:
    """Without being told to erase it says what it would, and changes nothing: it completes no upload either."""
    world = make_world()
    never, arrived = world.offer(), world.uploaded(BODY)
    _put(world, UNKNOWN)
    before = world.keys(), world.rows()

    report = world.sweep(dry_run=True, ahead=LONG)

    assert ((never.id,), (f"default/life/{UNKNOWN}",), False) == (report.uploads, report.objects, report.erased)
    assert before == (world.keys(), world.rows())
    assert "pending" == world.row(arrived).state


def test_erase(make_world: MakeWorld) -> None:
    """Told to erase, it takes uploads that never came and objects that no row knows, and completes what did come."""
    world = make_world()
    never, arrived, kept = world.offer(), world.uploaded(BODY), world.completed(BODY)
    for key in (UNKNOWN_UPLOAD, UNKNOWN):
        _put(world, key)
    world.clock.move(LONG)

    report = world.sweep()

    world.work()
    assert ((never.id,), (f"default/life/{UNKNOWN_UPLOAD}", f"default/life/{UNKNOWN}"), True) == (
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
    _put(world, UNKNOWN)

    report = world.sweep(ahead=world.settings.upload_seconds)

    assert ((), (), {UNKNOWN}) == (report.uploads, report.objects, world.keys())


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


def test_parts(world: World, s3: S3) -> None:
    """What a writer that died had sent of a large object is found, and given up when told so; not what is young."""
    key = world.completed(BODY).object_key
    _begin_parts(s3, key)
    expected = f"default/life/{key}"

    young, dry = world.sweep(), world.sweep(dry_run=True, ahead=LONG)
    before = _parts(s3)
    done = world.sweep(ahead=LONG)

    assert ((), (expected,), (expected,)) == (young.parts, dry.parts, done.parts)
    assert ([key], [], BODY) == (before, _parts(s3), b"".join(_open(world, key)))


def test_parts_of_others(world: World, s3: S3) -> None:
    """An upload in parts whose key is not one of the server's own is left."""
    _begin_parts(s3, "objects/scan.dcm")

    report = world.sweep(ahead=LONG)

    left = _parts(s3)
    for upload in world.objects.multipart_uploads(BUCKET, "objects/"):
        world.objects.abort(BUCKET, upload)
    assert ((), ["objects/scan.dcm"], []) == (report.parts, left, _parts(s3))


def test_every_bucket(world: World, s3: S3) -> None:
    """A bucket that only a row names is looked into too; what others keep there is left, whatever its age."""
    with closing(s3.store(SECOND_BUCKET)) as second:
        second.ensure_bucket(())
    kept = world.completed(BODY, account="clinic", bucket=SECOND_BUCKET)
    world.work()
    others = ("objects/photo.jpg", "pending/list", "0" * 32)
    for key in (UNKNOWN, *others):
        _put(world, key, SECOND_BUCKET)

    report = world.sweep(ahead=LONG)

    left = {each.key for each in world.objects.list(SECOND_BUCKET, "")}
    for key in left:
        world.objects.delete(SECOND_BUCKET, key)
    assert (f"default/{SECOND_BUCKET}/{UNKNOWN}",) == report.objects
    assert {kept.object_key, *others} == left


def test_two_accounts_one_bucket(make_world: MakeWorld) -> None:
    """Of a bucket that two accounts lead to, nothing is unknown that a row of either knows."""
    world = make_world()
    ours, theirs = world.completed(BODY), world.completed(BODY, account="clinic")
    world.work()
    _put(world, UNKNOWN)

    report = world.sweep(ahead=LONG)

    assert (f"default/life/{UNKNOWN}",) == report.objects
    assert {ours.object_key, theirs.object_key} == world.keys()


def test_out_of_reach(make_world: MakeWorld) -> None:
    """An account that is away, or a bucket that is not there, is told and keeps the sweep from nothing else."""
    world = make_world()
    lost, never = world.offer(account="lost", bucket="any"), world.offer()
    world.offer(account="clinic", bucket="never-made")
    _put(world, UNKNOWN)

    report = world.sweep(dry_run=True, ahead=LONG)

    assert (f"default/life/{UNKNOWN}",) == report.objects
    assert (never.id in report.uploads, lost.id in report.uploads) == (True, False)
    assert (
        "lost/any: AwsAccount/lost is not known.",
        "default/never-made: The S3 account 'default' answers NoSuchBucket.",
    ) == report.unseen


def test_text(make_world: MakeWorld) -> None:
    """What is printed names each upload and object."""
    world = make_world()
    blob = world.offer()

    text = world.sweep(dry_run=True, ahead=LONG).text()

    counts = "uploads never completed: 1, objects unknown: 0, uploads in parts not finished: 0"
    expected = f"{counts}: found, nothing erased (--erase does)"
    assert f"{expected}\n  upload {blob.id}" == text
