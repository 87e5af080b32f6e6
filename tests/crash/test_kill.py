"""kill -9 of everything at random moments, under load: what was acknowledged is there, readable and found."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.client import Client, extension
from tests.services.server import Server, start

ROUNDS = 20
WRITERS = 4


@dataclass
class Ledger:
    """What the server has acknowledged: versions of patients, None where deleted; hashes of Binaries.

    While a request is under way nothing is certain of what it is about.
    """

    patients: dict[str, int | None] = field(default_factory=dict)
    binaries: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_patient(self, chance: random.Random) -> tuple[str, int] | None:
        with self.lock:
            known = [(id, version) for id, version in list(self.patients.items()) if version is not None]
            if not known:
                return None
            id, version = chance.choice(known)
            del self.patients[id]
            return id, version


@pytest.fixture
def databases(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Settings of a server on SQLite, and on PostgreSQL where that is installed."""
    try:
        return {"sqlite": {}, "postgresql": {"database": request.getfixturevalue("fresh_postgresql_url")}}
    except pytest.skip.Exception:
        return {"sqlite": {}}


@pytest.mark.timeout(600)
def test_what_was_acknowledged_is_there(databases: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Twenty rounds of four writers; at each restart everything of the round before, at the end everything.

    Side by side, since most of a round is waiting for S3 to take writes.
    """
    with ThreadPoolExecutor() as threads:
        running = {name: threads.submit(_killed, tmp_path / name, given) for name, given in databases.items()}

    assert {} == {name: wrong for name, each in running.items() if (wrong := each.result())}


def _killed(folder: Path, settings: dict[str, Any]) -> list[str]:
    """What of the acknowledged is not there."""
    ledger, chance, before = Ledger(), random.Random(3), Ledger()
    for _ in range(ROUNDS):
        server = start(folder, log_level="error", **settings)
        wrong = _wrong(Client(server.base), _since(before, ledger))
        before = Ledger(dict(ledger.patients), dict(ledger.binaries))
        _under_load(server, ledger, chance.uniform(0.2, 1.2))
        if wrong:
            return wrong

    server = start(folder, log_level="error", **settings)
    wrong = _wrong(Client(server.base), ledger)
    server.kill()
    assert len(ledger.patients) > 5 * ROUNDS and len(ledger.binaries) > ROUNDS // 2
    return wrong


def _since(before: Ledger, now: Ledger) -> Ledger:
    """What was acknowledged after `before`."""
    return Ledger(
        {id: version for id, version in now.patients.items() if before.patients.get(id, 0) != version},
        {id: digest for id, digest in now.binaries.items() if id not in before.binaries},
    )


def _under_load(server: Server, ledger: Ledger, seconds: float) -> None:
    """Writers write until everything is killed in the middle of it."""
    threads = [threading.Thread(target=_write, args=(server.base, ledger, number)) for number in range(WRITERS)]
    for each in threads:
        each.start()
    time.sleep(seconds)
    server.kill()
    for each in threads:
        each.join()


def _write(base: str, ledger: Ledger, number: int) -> None:
    fhir, chance = Client(base), random.Random(time.time_ns() + number)
    steps = [_create, _create, _update, _delete, _raw, _upload]
    try:
        while True:
            chance.choice(steps)(fhir, ledger, chance)
    except requests.RequestException:
        return


def _patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "active": True, **more}


def _create(fhir: Client, ledger: Ledger, chance: random.Random) -> None:
    name = f"n{chance.randrange(10**12)}"
    made = fhir("POST", "Patient", json=_patient(identifier=[{"system": "urn:crash", "value": name}]))
    if made.status_code == 201:
        ledger.patients[made.json()["id"]] = 1


def _update(fhir: Client, ledger: Ledger, chance: random.Random) -> None:
    taken = ledger.take_patient(chance)
    if taken is not None:
        id, version = taken
        done = fhir("PUT", f"Patient/{id}", json=_patient(id=id), headers={"If-Match": f'W/"{version}"'})
        if done.status_code == 200:
            ledger.patients[id] = version + 1


def _delete(fhir: Client, ledger: Ledger, chance: random.Random) -> None:
    taken = ledger.take_patient(chance)
    if taken is not None and fhir("DELETE", f"Patient/{taken[0]}").status_code == 204:
        ledger.patients[taken[0]] = None


def _raw(fhir: Client, ledger: Ledger, chance: random.Random) -> None:
    content = os.urandom(chance.randrange(1, 20_000))
    made = fhir("POST", "Binary", data=content, headers={"Content-Type": "image/png"})
    if made.status_code == 201:
        ledger.binaries[made.json()["id"]] = hashlib.sha256(content).hexdigest()


def _upload(fhir: Client, ledger: Ledger, chance: random.Random) -> None:
    content = os.urandom(chance.randrange(1, 20_000))
    made = fhir("POST", "Binary", json={"resourceType": "Binary", "contentType": "image/png"})
    if made.status_code == 201:
        requests.put(extension(made.json()["_data"], "presignedPutUrl"), data=content, timeout=60)
        if fhir("POST", f"Binary/{made.json()['id']}/$complete").status_code == 200:
            ledger.binaries[made.json()["id"]] = hashlib.sha256(content).hexdigest()


def _wrong(fhir: Client, ledger: Ledger) -> list[str]:
    """What of the ledger is not so."""
    return [
        *(f"Patient/{id}" for id, version in ledger.patients.items() if not _is_patient(fhir, id, version)),
        *(f"Binary/{id}" for id, digest in ledger.binaries.items() if not _is_binary(fhir, id, digest)),
    ]


def _is_patient(fhir: Client, id: str, version: int | None) -> bool:
    read, found = fhir.get(f"Patient/{id}"), fhir.fhir(f"Patient?_id={id}&active=true")["total"]
    if version is None:
        return (read.status_code, found) == (410, 0)
    return read.status_code == 200 and (read.json()["meta"]["versionId"], found) == (str(version), 1)


def _is_binary(fhir: Client, id: str, digest: str) -> bool:
    got = fhir.get(f"Binary/{id}", Accept="image/png")
    return got.status_code == 200 and hashlib.sha256(got.content).hexdigest() == digest
