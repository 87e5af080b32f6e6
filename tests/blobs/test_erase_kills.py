"""`$erase` and death between any two of its steps: nothing of the patient is left, in no row and no object."""

from __future__ import annotations

import base64
import itertools
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fhir_blob.access import Principal
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.errors import Gone, NotFound
from fhir_blob.fhir import codec
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Context, Services
from fhir_blob.interactions.create import create
from fhir_blob.interactions.delete import delete
from fhir_blob.interactions.incoming import binary_draft
from fhir_blob.interactions.update import update
from fhir_blob.operations.erase import erase
from fhir_blob.search.sql import SqlIndex
from fhir_blob.store.tables import metadata
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import HOUR, TENANT, Fate, Killed, World, replay

PHOTO, LETTER, OTHER = b"the photo of Zenobia", b"a letter of Zenobia's", b"the letter of somebody else"
# Words that stand only in what is the patient's; and one that is another's.
WORDS = ("zenobia", "gout", base64.b64encode(PHOTO).decode())
ANOTHERS = "ulrica"


def context_of(world: World, life: Lifecycle) -> Context:
    store, accounts = life._store, life._accounts
    rows, gate = SqlIndex(b"secret"), None
    services = Services(
        world.settings,
        store,
        rows,
        rows,
        accounts,
        life,
        gate,
        world.clock,
        lambda: uuid.uuid4().hex,  # type: ignore[arg-type]
    )
    return Context(services, Principal("tests", TENANT), "http://example.org/fhir")


def attached(content: bytes) -> dict[str, Any]:
    return {"contentType": "text/plain", "data": base64.b64encode(content).decode()}


def document(patient: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": attached(content)}],
        **more,
    }


def observation(patient: str, text: str) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "status": "final", "code": {"text": text}, "subject": subject}


def made(context: Context, resource: dict[str, Any]) -> str:
    version = create(context, resource["resourceType"], codec.parse(codec.dump(resource))).version
    assert version is not None
    return version.id


def records(world: World) -> str:
    """A patient with a photo, a document in two versions, what was deleted, what was moved: its id. And another."""
    context = context_of(world, world.life)
    patient = {"resourceType": "Patient", "name": [{"family": "Zenobia"}], "photo": [attached(PHOTO)]}
    id = made(context, patient)
    other = made(context, {"resourceType": "Patient", "name": [{"family": "Ulrica"}]})
    letter = document(id, LETTER, description="Zenobia's letter")
    letter_id = made(context, letter)
    second = document(id, LETTER + b"!", description="Zenobia's letter", id=letter_id)
    update(context, "DocumentReference", letter_id, second)
    gone = made(context, observation(id, "gout"))
    delete(context, "Observation", gone)
    moved = made(context, observation(id, "gout"))
    update(context, "Observation", moved, {**observation(other, "Ulrica's"), "id": moved})
    made(context, document(other, OTHER, description="Ulrica's letter"))
    return id


def left(world: World) -> list[str]:
    """The tables in which any of the words stands."""
    with world.store.read(TENANT) as reader:
        told = {
            table.name: repr(reader.rows(f"SELECT * FROM {table.name}", ())).lower()
            for table in metadata.tables.values()
        }
    assert ANOTHERS in told["resource_version"]
    return [name for name, text in told.items() if any(word.lower() in text for word in WORDS)]


def bodies(world: World) -> set[bytes]:
    found = set()
    for key in sorted(world.keys()):
        download = world.objects.open("life", key)
        assert download is not None
        found.add(b"".join(download.chunks()))
        download.close()
    return found


def test_killed_after_each_call(make_world: MakeWorld) -> None:
    """Wherever it dies the patient is whole or gone; once it runs again and was asked again, all is gone."""
    broken: dict[str, Any] = {}
    for calls in itertools.count(1):
        world = make_world()
        id, fate = records(world), Fate(calls)
        before = bodies(world)
        life = world.lifecycle(fate.before, fate.after)
        with suppress(Killed):
            erase(context_of(world, life), id)
            world.work(life)
        world.clock.move(HOUR)
        world.work()
        is_whole = bool(left(world))
        halfway = bodies(world) if not is_whole else {OTHER}
        if is_whole and bodies(world) != before:
            broken[f"{calls}: half of it went"] = bodies(world)
        erase(context_of(world, world.life), id)
        world.settle()
        ends = left(world), bodies(world), halfway
        if ends != ([], {OTHER}, {OTHER}):
            broken[f"{calls}: after {fate.made[-1]}"] = ends
        if not fate.is_dead:
            break

    assert {} == broken
    assert calls > 10


def test_uploads_under_way(make_world: MakeWorld) -> None:
    """What is uploaded, completed or streamed while the patient is erased leaves no byte."""
    world = make_world()
    context = context_of(world, world.life)
    id = made(context, {"resourceType": "Patient", "name": [{"family": "Zenobia"}]})
    blobs = [world.offer(), world.uploaded(LETTER)]
    for blob in blobs:
        resource = {"resourceType": "Binary", "contentType": "text/plain", "id": blob.binary_id}
        world.store.write(TENANT, _binary(context, resource, blob.binary_id))
    leased, is_ours = world.life._lease(TENANT, blobs[1])
    linked = [{"attachment": {"url": f"Binary/{each.binary_id}"}} for each in blobs]
    made(context, document(id, PHOTO) | {"content": linked})
    url = world.life.signed_put(TENANT, blobs[0]).url

    erase(context, id)
    world.work()
    replay(url, LETTER)
    world.objects.put("life", leased.object_key, (LETTER,), size=len(LETTER), content_type="text/plain")
    late = world.life._commit(TENANT, leased, leased.with_(state="available"))
    world.clock.move(60 * HOUR)
    world.work()

    assert (True, "deleted") == (is_ours, late.state)
    assert ([], set(), []) == (world.rows(), world.keys(), world.wrong())


def _binary(context: Context, resource: dict[str, Any], id: str) -> Callable[[Any], Any]:
    drafted = binary_draft(context, resource, id, Link(id, 1))
    return lambda transaction: transaction.put(drafted.version(1, 1, "POST"), drafted.entries, expected=None)


def test_unknown(make_world: MakeWorld) -> None:
    """A patient that never was cannot be erased; one that was erased is told to be deleted."""
    world = make_world()
    context = context_of(world, world.life)
    id = records(world)
    erase(context, id)

    with world.store.read(TENANT) as reader:
        found = reader.current("Patient", id)

    assert found is not None and (True, b"") == (found.deleted, found.body)
    with pytest.raises((NotFound, Gone)):
        erase(context, "nobody")
