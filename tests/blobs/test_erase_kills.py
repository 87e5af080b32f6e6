"""`$erase` and death between any two of its steps: nothing of the patient is left, in no row and no object."""

from __future__ import annotations

import base64
import itertools
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fhir_blob.access import Principal
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.errors import Gone, NotFound, Unavailable
from fhir_blob.fhir import codec
from fhir_blob.fhir.attachments import Link
from fhir_blob.interactions import Context, Services
from fhir_blob.interactions.create import create
from fhir_blob.interactions.delete import delete
from fhir_blob.interactions.drafts import binary_draft
from fhir_blob.interactions.update import update
from fhir_blob.operations import removing
from fhir_blob.operations.erase import erase, run_due
from fhir_blob.search.sql.index import SqlIndex
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


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One version a transaction, so that there is an end between any two."""
    monkeypatch.setattr(removing, "CHUNK", 1)
    monkeypatch.setattr(removing, "_SECONDS", 0.0)


def resume(world: World, life: Lifecycle | None = None) -> None:
    """What a server does when it runs again."""
    told: list[str] = []
    while run_due(context_of(world, life or world.life).services, lambda text, **more: told.append(text)):
        pass
    assert [] == told


@pytest.mark.usefixtures("small_steps")
def test_killed_after_each_call(make_world: MakeWorld) -> None:
    """Wherever it dies the patient is whole, or all is gone once a server runs again, though nobody asks again."""
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
        resume(world)
        world.work()
        ends = left(world), bodies(world)
        is_whole = bool(ends[0]) and bodies(world) == before
        if ends != ([], {OTHER}) and not (is_whole and calls < 3):
            broken[f"{calls}: after {fate.made[-1]}"] = ends
        if not fate.is_dead:
            break

    assert {} == broken
    assert calls > 20


def during(world: World, at: int, act: Callable[[], object]) -> Lifecycle:
    """A server during whose write number `at` somebody else acts."""
    writes = itertools.count(1)

    def before(name: str) -> None:
        if name == "write" and next(writes) == at:
            act()

    return world.lifecycle(before)


@pytest.mark.usefixtures("small_steps")
def test_others_write_meanwhile(make_world: MakeWorld) -> None:
    """What comes into the compartment, changes there or leaves it between any two steps is gone in the end too."""
    world, found = make_world(), dict[int, list[str]]()
    context = context_of(world, world.life)
    other = made(context, {"resourceType": "Patient", "name": [{"family": "Ulrica"}]})
    for at in itertools.count(2):
        id = made(context, {"resourceType": "Patient", "name": [{"family": "Zenobia"}]})
        moved, changed, deleted = (made(context, observation(id, "gout")) for _ in range(3))

        def act(id: str = id, ids: tuple[str, ...] = (moved, changed, deleted)) -> None:
            made(context, observation(id, "gout, again"))
            update(context, "Observation", ids[0], {**observation(other, "Ulrica's"), "id": ids[0]})
            update(context, "Observation", ids[1], {**observation(id, "gout, worse"), "id": ids[1]})
            delete(context, "Observation", ids[2])

        acted: list[int] = []
        erase(context_of(world, during(world, at, lambda act=act, acted=acted: acted.append(1) or act())), id)
        found[at] = left(world)
        if not acted:
            break

    assert {at: [] for at in found} == found
    assert len(found) > 4


def test_a_patient_with_many_versions(make_world: MakeWorld) -> None:
    """They go in parts, which let others write in between."""
    world = make_world()
    context = context_of(world, world.life)
    patient = {"resourceType": "Patient", "name": [{"family": "Zenobia"}]}
    id = made(context, patient)
    for number in range(2 * removing.CHUNK + 1):
        update(context, "Patient", id, {**patient, "id": id, "multipleBirthInteger": number})
    made(context, {"resourceType": "Patient", "name": [{"family": "Ulrica"}]})
    steps: list[str] = []
    life = world.lifecycle(steps.append)

    erase(context_of(world, life), id)

    with world.store.read(TENANT) as reader:
        versions = [each.version for each in reader.history("Patient", id, count=9).versions]
    assert ([], [2 * removing.CHUNK + 3]) == (left(world), versions)
    assert 4 == steps.count("write")


def secured(context: Context, by: str) -> str:
    resource = {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": by}}
    return made(context, resource)


def test_security_contexts(make_world: MakeWorld) -> None:
    """A Binary that is secured for the patient's Encounter goes with it; one for somebody else stays and is told."""
    world = make_world()
    context = context_of(world, world.life)
    id, other = (made(context, {"resourceType": "Patient"}) for _ in range(2))
    act = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    encounter = {"resourceType": "Encounter", "status": "finished", "class": act}
    visit = made(context, {**encounter, "subject": {"reference": f"Patient/{id}"}})
    over = made(context, {**encounter, "subject": {"reference": f"Patient/{id}"}})
    going = [
        secured(context, f"Encounter/{visit}"),
        secured(context, f"Encounter/{over}"),
        secured(context, f"Patient/{id}"),
    ]
    staying = secured(context, f"Patient/{other}")
    delete(context, "Encounter", over)
    linked = [{"attachment": {"url": f"Binary/{each}"}} for each in (*going, staying)]
    made(context, document(id, LETTER) | {"content": linked})

    told = codec.parse(erase(context, id).body)["parameter"]

    with world.store.read(TENANT) as reader:
        there = [each for each in (*going, staying) if not reader.current("Binary", each).deleted]  # type: ignore[union-attr]
    kept = [each["part"][0]["valueReference"]["reference"] for each in told if each["name"] == "kept"]
    assert ([staying], [f"Binary/{staying}"]) == (there, kept)


def test_what_was_the_patients_and_then_nobodys(make_world: MakeWorld) -> None:
    """Of a resource that was deleted all goes, though a later version names nobody; and what was only begun."""
    world = make_world()
    context = context_of(world, world.life)
    id = made(context, {"resourceType": "Patient"})
    made(context, {"resourceType": "Patient", "name": [{"family": "Ulrica"}]})
    nobodys = made(context, observation(id, "gout"))
    unnamed = {name: value for name, value in observation(id, "zenobia").items() if name != "subject"}
    update(context, "Observation", nobodys, {**unnamed, "id": nobodys})
    delete(context, "Observation", nobodys)
    begun = world.life.offer(
        binary_id="begun", version=None, content_type="text/plain", creator="t", owner=f"Patient/{id}", pending_key=""
    )
    with suppress(Killed):
        fate = Fate(2)
        world.lifecycle(fate.before, fate.after).write(TENANT, begun, (PHOTO,), len(PHOTO))

    erase(context, id)
    world.clock.move(6 * HOUR)
    world.work()

    assert ([], [], set()) == (left(world), [row for row in world.rows() if row.binary_id == "begun"], bodies(world))


def test_an_object_that_is_not_erased_is_told(make_world: MakeWorld) -> None:
    """S3 refuses: the task waits to be tried again, and whoever asks again hears of it."""
    world = make_world()
    context = context_of(world, world.life)
    id = made(context, {"resourceType": "Patient", "photo": [attached(PHOTO)]})
    away = world.lifecycle(_refusing)

    erase(context, id)
    world.work(away)
    told = codec.parse(erase(context, id).body)["parameter"]

    assert [{"name": "waiting", "valueInteger": 1}] == [each for each in told if each["name"] == "waiting"]


def _refusing(name: str) -> None:
    if name == "delete":
        raise Unavailable("The S3 takes no deletes.")


def test_parts_of_an_upload(make_world: MakeWorld) -> None:
    """What a writer that died had sent in parts is not left in S3 either."""
    world = make_world()
    context = context_of(world, world.life)
    id = made(context, {"resourceType": "Patient"})
    begun = world.life.offer(
        binary_id="begun", version=None, content_type="text/plain", creator="t", owner=f"Patient/{id}", pending_key=""
    ).with_(object_key="objects/" + uuid.uuid4().hex)
    world.store.write(TENANT, lambda transaction: transaction.put_blob(begun))
    client = world.objects._client
    upload = client.create_multipart_upload(Bucket="life", Key=begun.object_key)["UploadId"]
    client.upload_part(Bucket="life", Key=begun.object_key, UploadId=upload, PartNumber=1, Body=LETTER)

    erase(context, id)
    world.work()

    assert [] == list(world.objects.multipart_uploads("life", begun.object_key))


def test_the_files_of_the_database(make_world: MakeWorld, tmp_path: Path) -> None:
    """No file has the patient's name any more, in what was changed and deleted before either, nor the log."""
    world = make_world()
    context = context_of(world, world.life)
    id = records(world)
    for number in range(40):
        made(context, {**observation(id, "gout"), "note": [{"text": "Zenobia, " * 20 * number + "."}]})
    changed = made(context, observation(id, "gout of Zenobia"))
    update(context, "Observation", changed, {**observation(id, "healthy"), "id": changed})

    def told() -> dict[str, bool]:
        return {each.name: b"zenobia" in each.read_bytes().lower() for each in sorted(tmp_path.glob("0.sqlite*"))}

    before = told()
    erase(context, id)
    after = told()

    assert (True, True) == (before["0.sqlite-wal"], before["0.sqlite"])
    assert dict.fromkeys(before, False) == after


def test_a_reader_that_needs_the_log(make_world: MakeWorld, tmp_path: Path) -> None:
    """While one reads what was, the answer says that something waits; a server sees to it afterwards."""
    world = make_world()
    context, id = context_of(world, world.life), records(world)
    reading = sqlite3.connect(tmp_path / "0.sqlite")
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM resource").fetchone()

    told = codec.parse(erase(context, id).body)["parameter"]
    tasks = told[-1]["valueInteger"]
    reading.close()
    resume(world)
    world.work()

    again = codec.parse(erase(context, id).body)["parameter"]
    log = (tmp_path / "0.sqlite-wal").read_bytes().lower()
    assert (True, 0, False) == (tasks > again[-1]["valueInteger"], again[-1]["valueInteger"], b"zenobia" in log)


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
