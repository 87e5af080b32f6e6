"""The index outside the database: what was written gets there, whatever is stopped, killed or refused."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from fhir_blob.errors import Conflict
from fhir_blob.operations.reindexing import Reindexing
from fhir_blob.search import Document, Refused
from fhir_blob.search.elasticsearch import bulk, mapping
from fhir_blob.search.elasticsearch.index import ElasticsearchIndex
from fhir_blob.settings import Settings
from fhir_blob.store.sql import open_store
from tests.client import Client
from tests.services.elasticsearch import Elasticsearch
from tests.services.server import Server, StartServer, command, start

NUMBERS = itertools.count(1)
NICKNAME = {
    "resourceType": "SearchParameter",
    "url": "https://example.org/SearchParameter/nickname",
    "name": "nickname",
    "status": "active",
    "description": "The names that friends use",
    "code": "nickname",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.where(use = 'nickname').given.first()",
}


@pytest.fixture
def elastic(elasticsearch_url: str) -> dict[str, Any]:
    """Settings of a server with indices of its own."""
    return {"elasticsearch": elasticsearch_url, "index_prefix": f"test{next(NUMBERS)}-"}


def patient(family: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family}], **elements}


def total(fhir: Client, query: str) -> int:
    return int(fhir.fhir(query)["total"])


def until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def waiting(server: Server) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/health/ready", timeout=20).json()["parts"]["elasticsearch"])


def test_what_was_answered_is_found(start_server: StartServer, elastic: dict[str, Any]) -> None:
    """A search finds what was written a moment before, by any worker, changed and deleted too."""
    fhir = Client(start_server(**elastic).base)

    for number in range(20):
        made = fhir.create(patient(f"Fresh{number}"))
        assert 1 == total(fhir, f"Patient?family=Fresh{number}")
        fhir.update({**made, "name": [{"family": f"Stale{number}"}]})
        assert (0, 1) == (total(fhir, f"Patient?family=Fresh{number}"), total(fhir, f"Patient?family=Stale{number}"))
        fhir("DELETE", f"Patient/{made['id']}")
        assert 0 == total(fhir, f"Patient?family=Stale{number}")


def test_a_search_that_cannot_wait_says_so(start_server: StartServer, own_elasticsearch: Elasticsearch) -> None:
    """Past its time limit a search answers what the index has, with a Warning; writes never wait."""
    given = {"elasticsearch": own_elasticsearch.url, "index_wait_seconds": 1, "index_worker": False}
    server = start_server(**given)
    fhir = Client(server.base)
    fhir.create(patient("Behind"))

    answered = fhir.get("Patient?family=Behind")
    outcome = answered.json()["entry"][-1]["resource"]["issue"][0]
    own_elasticsearch.stop()
    began = time.monotonic()
    fhir.create(patient("Later"))
    took = time.monotonic() - began
    away = fhir.get("Patient?family=Behind")

    assert (200, 0, "incomplete") == (answered.status_code, answered.json()["total"], outcome["code"])
    assert outcome["diagnostics"] in answered.headers["Warning"]
    assert (503, "out of reach" in away.text) == (away.status_code, True)
    assert took < 1
    assert ("up", "down") == (
        requests.get(f"{server.url}/health/ready", timeout=20).json()["status"],
        waiting(server)["status"],
    )
    told = f"fhir_blob_index_waiting {waiting(server)['waiting']}\n"
    assert told in requests.get(f"{server.url}/metrics", timeout=20).text


@pytest.mark.parametrize("index", ["database", "elasticsearch"])
def test_an_added_search_parameter(index: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It is unknown until its type was reindexed; then it finds what was there before and what comes after."""
    settings = {} if index == "database" else request.getfixturevalue("elastic")
    server = start(tmp_path / "data", **settings)
    fhir = Client(server.base)
    try:
        fhir.create(patient("Before", name=[{"use": "nickname", "given": ["Bobby"]}]))
        fhir.create(NICKNAME)
        before = fhir.get("Patient?nickname=bob", Prefer="handling=strict").status_code

        done = command(server.data, "reindex", "--type", "Patient", **settings)
        until(lambda: fhir.get("Patient?nickname=bob", Prefer="handling=strict").status_code == 200)
        fhir.create(patient("After", name=[{"use": "nickname", "given": ["Bobbie"]}]))

        assert (400, 0, "") == (before, done.returncode, done.stderr)
        assert 2 == total(fhir, "Patient?nickname=bob")
        assert 0 == command(server.data, "verify-index", "--type", "Patient", **settings).returncode
    finally:
        server.kill()


def test_a_search_parameter_that_is_no_fhirpath(start_server: StartServer) -> None:
    """It is refused where it is written."""
    refused = Client(start_server().base)("POST", "SearchParameter", json={**NICKNAME, "expression": "Patient.name.("})

    assert (422, "leaves a bracket open" in refused.text) == (refused.status_code, True)


def test_from_the_database_to_elasticsearch(start_server: StartServer, elastic: dict[str, Any], tmp_path: Path) -> None:
    """A running installation is switched by a setting and a reindex."""
    server = start_server()
    Client(server.base).create(patient("Moved"))
    server.stop()
    fhir = Client(start_server(**elastic).base)

    before = total(fhir, "Patient?family=Moved")
    done = command(server.data, "reindex", **elastic)

    assert (0, 0, 1) == (before, done.returncode, total(fhir, "Patient?family=Moved"))
    assert 0 == command(server.data, "verify-index", **elastic).returncode


def test_rows_that_are_wrong(start_server: StartServer) -> None:
    """In the database verify-index names the resource whose rows are not what they should be, and mends them."""
    server = start_server()
    fhir = Client(server.base)
    made = fhir.create(patient("Mended"))
    with sqlite3.connect(server.data / "metadata.sqlite") as database:
        database.execute("DELETE FROM string_index WHERE param = 'family'")
    database.close()

    found = command(server.data, "verify-index", "--type", "Patient", "--repair")

    assert (1, f"Patient/{made['id']} has other rows") == (found.returncode, found.stdout.split(" in the")[0])
    assert 0 == command(server.data, "verify-index", "--type", "Patient").returncode
    assert 1 == total(fhir, "Patient?family=Mended")


def test_what_the_index_refuses(start_server: StartServer, elastic: dict[str, Any]) -> None:
    """A poison document is set aside and told of; the others pass it; a reindex takes it in."""
    url, prefix = elastic["elasticsearch"], elastic["index_prefix"]
    index = f"{url}/{prefix}patient-1"
    wrong, aliases = mapping.mapping("Patient"), {f"{prefix}patient": {}, f"{prefix}all": {}}
    wrong["properties"]["string_family"] = {"properties": {"value": {"type": "integer"}}}
    body = {"mappings": wrong, "aliases": aliases, "settings": mapping.settings(1, 0)}
    assert requests.put(index, json=body, timeout=60).ok
    server = start_server(**elastic)
    fhir = Client(server.base)
    poison = fhir.create(patient("Refused"))
    fhir.create({"resourceType": "Patient", "active": True})

    until(lambda: waiting(server)["waiting"] == 0)
    told, differing = waiting(server), command(server.data, "verify-index", "--type", "Patient", **elastic)
    reindexed = command(server.data, "reindex", "--type", "Patient", **elastic)

    assert 1 == told["set_aside"]
    assert (1, f"Patient/{poison['id']} is missing") == (differing.returncode, differing.stdout.split(" from the")[0])
    assert (0, 1) == (reindexed.returncode, total(fhir, "Patient?family=Refused"))
    assert 0 == command(server.data, "verify-index", "--type", "Patient", **elastic).returncode


class Writers:
    """Clients that create, change and delete patients until they are told to stop; every refusal is kept."""

    def __init__(self, base: str) -> None:
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(base, number)) for number in range(3)]

    def __enter__(self) -> Writers:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _write(self, base: str, number: int) -> None:
        fhir, count = Client(base), itertools.count()
        while not self._stop.is_set():
            try:
                self._once(fhir, f"Chaos{number}x{next(count)}")
            except (AssertionError, requests.RequestException) as error:
                self.refused.append(str(error))
                time.sleep(0.1)

    def _once(self, fhir: Client, name: str) -> None:
        made = fhir.create(patient(name))
        fhir.update({**made, "active": True})
        if name.endswith("7"):
            assert 204 == fhir("DELETE", f"Patient/{made['id']}").status_code


@pytest.fixture
def chaos(own_elasticsearch: Elasticsearch, tmp_path: Path) -> Iterator[tuple[Server, Elasticsearch, dict[str, Any]]]:
    settings = {"elasticsearch": own_elasticsearch.url, "elasticsearch_timeout": 5}
    server = start(tmp_path / "data", **settings)
    yield server, own_elasticsearch, settings
    server.kill()


def test_elasticsearch_killed_under_writes(chaos: tuple[Server, Elasticsearch, dict[str, Any]]) -> None:
    """Stopped, killed in the midst of bulk requests and during a reindex: no write is refused, nothing differs."""
    server, node, settings = chaos
    with Writers(server.base) as writers:
        time.sleep(1.5)
        node.kill()
        time.sleep(1)
        node.start()
        time.sleep(2)
        reindex = threading.Thread(target=command, args=(server.data, "reindex", "--type", "Patient"), kwargs=settings)
        reindex.start()
        time.sleep(1.2)
        node.kill()
        node.start()
        reindex.join()
        assert 0 == command(server.data, "reindex", "--type", "Patient", **settings).returncode

    until(lambda: waiting(server).get("waiting") == 0, 90)
    found = command(server.data, "verify-index", "--type", "Patient", **settings)
    fhir = Client(server.base)

    assert ([], "0 differences.\n") == (writers.refused, found.stdout)
    assert total(fhir, "Patient?active=true&_count=0") == total(fhir, "Patient?_count=0") > 50


def test_indexers_killed(chaos: tuple[Server, Elasticsearch, dict[str, Any]]) -> None:
    """Workers die with their indexers again and again: others take over what they had claimed."""
    server, _, settings = chaos
    with Writers(server.base):
        for _ in range(3):
            time.sleep(4)  # a server whose workers die within 3.5 s of their start gives up
            for worker in psutil.Process(server.process.pid).children():
                if "weed" not in worker.name():
                    worker.kill()
                    break

    until(lambda: waiting(server).get("waiting") == 0, 120)
    verified = command(server.data, "verify-index", "--type", "Patient", **settings)

    assert "0 differences.\n" == verified.stdout


@pytest.mark.parametrize("index", ["database", "elasticsearch"])
def test_a_reindex_over_http(index: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """$reindex is a job: 202 with the URL of its state, which ends at an OperationOutcome, after kill -9 too."""
    settings = {} if index == "database" else request.getfixturevalue("elastic")
    server = start(tmp_path / "data", **settings)
    fhir = Client(server.base)
    fhir.create(patient("Job"))

    started = fhir("POST", "$reindex?type=Patient,SearchParameter")
    server.kill()
    server = start(tmp_path / "data", **settings)
    path = started.headers["Content-Location"].partition("/fhir/")[2]
    fhir = Client(server.base)
    until(lambda: fhir.get(path).status_code == 200, 60)
    ended, unknown, strange = fhir.get(path), fhir.get(f"{path}x"), fhir("POST", "$reindex?type=Nothing")
    found = total(fhir, "Patient?family=Job")
    server.kill()

    assert (202, 404, 400, 1) == (started.status_code, unknown.status_code, strange.status_code, found)
    assert "Reindexed: 2 of 2 types" in ended.text


def test_two_rebuild_the_same_type(elastic: dict[str, Any]) -> None:
    """The one that began last goes on; the other takes nothing away and ends with a sentence."""
    index = ElasticsearchIndex(Settings(**elastic), b"secret")
    index.write([Document("default", "Basic", "old", 1, 1, 1, {})])
    built = [Document("default", "Basic", f"b{number}", 1, number, 1, {}) for number in (1, 2)]

    first = index.begin("Basic")
    index.fill(built[:1])
    second = index.begin("Basic")
    index.fill(built)
    with pytest.raises(Conflict, match="Another reindexing of Basic"):
        index.swap("Basic", first)
    index.swap("Basic", second)
    with pytest.raises(Conflict, match="Another reindexing of Basic"):
        index.fill(built)

    held = index.held("Basic", after_rid=0, limit=10)
    assert ["b1", "b2"] == [each.id for each in held]


def test_more_than_one_request_carries(elastic: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch goes in several, and what is refused is told by name in whichever it went."""
    monkeypatch.setattr(bulk, "_MOST_BYTES", 200)
    index = ElasticsearchIndex(Settings(**elastic), b"secret")
    strange = {"token": [("nobody-asks-for-this", 0, "", "x")]}
    documents = [
        Document("default", "Basic", f"s{number}", 1, number, 1, strange if number == 3 else {})
        for number in range(1, 6)
    ]

    refused = index.write(documents)
    index.refresh(["Basic"])
    held = index.held("Basic", after_rid=0, limit=10)

    assert (Refused("default", "Basic", "s3", "strict_dynamic_mapping_exception"),) == refused
    assert ["s1", "s2", "s4", "s5"] == [each.id for each in held]


class Refusing(ElasticsearchIndex):
    """It takes nothing into the index that is being built."""

    def fill(self, documents: Iterable[Document]) -> tuple[Refused, ...]:
        return tuple(Refused(each.tenant, each.type, each.id, "strict_dynamic_mapping_exception") for each in documents)


def test_what_is_refused_during_a_rebuild_is_told(start_server: StartServer, elastic: dict[str, Any]) -> None:
    """It waits as a task, which the indexer does again or sets aside by name."""
    server = start_server(**elastic, index_worker=False)
    made = Client(server.base).create(patient("Refused"))
    store = open_store(f"sqlite:///{server.data / 'metadata.sqlite'}", statement_timeout=20)
    now = time.time_ns() // 1000
    store.index_tasks.finish(store.index_tasks.claim(now=now, lease=1).tasks)

    Reindexing(store, Refusing(Settings(**elastic), b"secret"), server.base).run(["Patient"], lambda type, count: None)

    assert {("default", made["id"])} == store.index_tasks.pending("Patient")
