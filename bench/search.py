"""`python -m bench.search [--documents N] [--index NAME ...]`: how fast searches are, on each index.

Documents are generated from a seed and stored straight through the store, then asked for over HTTP by
one client, one search after the other; a bare Flask request and, for Elasticsearch, the raw query of
the same are asked in between.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import psycopg
import requests

from bench.__main__ import bare
from fhir_blob.operations.indexing import documents_of
from fhir_blob.operations.reindexing import Reindexing, scanned
from fhir_blob.search.elasticsearch import mapping
from fhir_blob.search.elasticsearch.index import ElasticsearchIndex
from fhir_blob.search.elasticsearch.mapping import source
from fhir_blob.search.elasticsearch.sorting import sort
from fhir_blob.search.extraction import extract
from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.settings import Settings
from fhir_blob.store import Transaction, Version
from fhir_blob.store.sql import SqlStore, migrate, open_store
from tests.services import elasticsearch, postgresql
from tests.services.server import start

TENANT = "default"
DOCUMENTS_EACH = 20
_BATCH = 200
# Documents of a type that are sent by hand too, and how many at once.
_MOST_RAW = 50_000
_BULK = 500
_TYPES = ("Patient", "DocumentReference")
_ROUNDS = int(__import__("os").environ.get("R", "150"))
_NOW = 1_700_000_000_000_000
Pairs = list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.search")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--index", action="append", choices=("sqlite", "postgresql", "elasticsearch"))
    given = parser.parse_args()
    with bare() as port:
        for name in given.index or ("sqlite", "postgresql", "elasticsearch"):
            _measure(name, given.documents, f"http://127.0.0.1:{port}/fhir/Patient/1")


def _measure(name: str, documents: int, bare_url: str) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings: dict[str, Any] = {"workers": 1}
        url = f"sqlite:///{folder / 'metadata.sqlite'}"
        if name == "postgresql":
            server = stack.enter_context(postgresql.running())
            url = postgresql.fresh_database(server.url)
            settings["database"] = url
        if name == "elasticsearch":
            settings["elasticsearch"] = stack.enter_context(elasticsearch.running()).url
        began = time.perf_counter()
        stored = _filled(url, documents)
        took = time.perf_counter() - began
        print(f"\n{name}: {documents} documents stored and indexed at {documents / took:.0f}/s", flush=True)
        index = None
        if name == "elasticsearch":
            index = _indexed(settings["elasticsearch"], stored)
        started = start(folder, **settings)
        stack.callback(started.kill)
        _table(started.base, documents, bare_url, index)


def resource(number: int, patients: int) -> dict[str, Any]:
    """A clinical document, the same for the same number."""
    chance = random.Random(number)
    day = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(50_000))
    patient = number % patients
    period = {"start": day.isoformat(), "end": (day + timedelta(hours=2)).isoformat()}
    return {
        "resourceType": "DocumentReference",
        "id": f"d{number}",
        "status": "current",
        "identifier": [{"system": "urn:x:document", "value": f"n{number}"}],
        "type": {"coding": [{"system": "http://loinc.org", "code": f"34133-{chance.randrange(20)}"}]},
        "category": [{"coding": [{"system": "urn:x:category", "code": f"c{chance.randrange(8)}"}]}],
        "subject": {"reference": f"Patient/p{patient}"},
        "date": day.isoformat(),
        "author": [{"reference": f"Practitioner/a{chance.randrange(100)}"}],
        "description": f"Letter {number} of the benchmark",
        "content": [{"attachment": {"contentType": "application/pdf", "url": f"https://x.example/{number}.pdf"}}],
        "context": {"period": period},
    }


def _patient(number: int) -> dict[str, Any]:
    name = [{"family": f"Family{number}", "given": ["A"]}]
    identifier = [{"system": "urn:x:patient", "value": f"m{number}"}]
    return {"resourceType": "Patient", "id": f"p{number}", "identifier": identifier, "name": name}


def _filled(url: str, documents: int) -> tuple[SqlStore, int]:
    """Everything in the store, some at a time."""
    migrate(url)
    store, patients = open_store(url, statement_timeout=300), _patients(documents)
    made = [_patient(number) for number in range(patients)]
    for first in range(0, patients, _BATCH):
        _put(store, made[first : first + _BATCH])
    for first in range(0, documents, _BATCH):
        _put(store, [resource(number, patients) for number in range(first, min(first + _BATCH, documents))])
    if not url.startswith("sqlite"):  # as PostgreSQL itself does within a minute
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE")
    return store, documents


def _patients(documents: int) -> int:
    return documents // DOCUMENTS_EACH


def _put(store: SqlStore, resources: Sequence[dict[str, Any]]) -> None:
    rows = [(each, extract(each, base="")) for each in resources]

    def work(transaction: Transaction) -> None:
        for each, entries in rows:
            transaction.put(_version(each), entries, expected=None)

    store.write(TENANT, work)


def _version(resource: dict[str, Any]) -> Version:
    meta = {"versionId": "1", "lastUpdated": "2023-11-14T22:13:20.000Z"}
    body = orjson.dumps({**resource, "meta": meta})
    return Version(resource["resourceType"], resource["id"], 1, _NOW, "PUT", body)


def _indexed(url: str, stored: tuple[SqlStore, int]) -> ElasticsearchIndex:
    """As `fhir-blob reindex` does it; bare bulk requests of the same bodies before and after it."""
    index = ElasticsearchIndex(Settings(elasticsearch=url, elasticsearch_timeout=120), b"secret")
    store, _ = stored
    _raw_rate(url, store)  # a Java machine gets faster for a while
    before = _raw_rate(url, store)
    began = time.perf_counter()
    count = Reindexing(store, index, "").run(_TYPES, lambda type, count: None)
    rate = count / (time.perf_counter() - began)
    raw = (before + _raw_rate(url, store)) / 2
    print(f"elasticsearch: {rate:.0f} documents/s, {rate / raw:.2f} of the rate of the raw bulk requests", flush=True)
    return index


def _raw_rate(url: str, store: SqlStore) -> float:
    """Documents a second, sent by hand into an index of the same mapping: the first ones where they are many."""
    seconds, sent = 0.0, 0
    for type in _TYPES:
        name = f"{url}/raw-{type.lower()}"
        body = {"mappings": mapping.mapping(type), "settings": mapping.settings(1, 0)}
        requests.put(name, json=body, timeout=60).raise_for_status()
        for states in itertools.islice(scanned(store.index_tasks, type), _MOST_RAW // _BULK):
            lines = (line for each in documents_of(states) for line in ({"index": {"_id": each.id}}, source(each)))
            text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
            headers = {"Content-Type": "application/x-ndjson"}
            began = time.perf_counter()
            requests.post(f"{name}/_bulk", data=text, headers=headers, timeout=120).raise_for_status()
            seconds += time.perf_counter() - began
            sent += len(states)
        requests.delete(name, timeout=60).raise_for_status()
    return sent / seconds


def _queries(documents: int) -> dict[str, Callable[[int], str]]:
    patients = _patients(documents)
    loinc, category = "type=http://loinc.org|34133-7", "category=urn:x:category|c3"
    return {
        "patient": lambda n: f"DocumentReference?patient=p{n % patients}",
        "patient + category + date": lambda n: f"DocumentReference?patient=p{n % patients}&{category}&date=ge2022",
        "identifier": lambda n: f"DocumentReference?identifier=urn:x:document|n{n % documents}",
        "type + period": lambda n: f"DocumentReference?{loinc}&period=ge2023-0{1 + n % 9}&period=lt2023-1{n % 3}",
        "patient, newest first": lambda n: f"DocumentReference?patient=p{n % patients}&_sort=-date",
        "_include=DocumentReference:subject": lambda n: (
            f"DocumentReference?patient=p{n % patients}&_include=DocumentReference:subject"
        ),
        "patient.identifier (chained)": lambda n: f"DocumentReference?patient.identifier=urn:x:patient|m{n % patients}",
        "_has on Patient": lambda n: f"Patient?_has:DocumentReference:patient:identifier=n{n % documents}",
        "type, 20 of many, _total=none": lambda n: f"DocumentReference?{loinc}&_total=none",
    }


def _table(base: str, documents: int, bare_url: str, index: ElasticsearchIndex | None) -> None:
    session, number = requests.Session(), 0
    print("| search | p50 / bare Flask | p99 / bare p50 | p50 / raw Elasticsearch |\n|---|---|---|---|")
    for name, query in _queries(documents).items():
        ours, bare_times, raw = [], [], []
        for _ in range(_ROUNDS):
            number += 7919
            url = f"{base}/{query(number)}"
            ours.append(_timed(lambda url=url: session.get(url, timeout=60).raise_for_status()))  # type: ignore[misc]
            bare_times.append(_timed(lambda: session.get(bare_url, timeout=60)))
            if index is not None:
                raw.append(_timed(_raw(index, url.removeprefix(f"{base}/"))))
        p50, p99 = _percentiles(ours)
        bare_p50 = _percentiles(bare_times)[0]
        told = f"{p50 / _percentiles(raw)[0]:.2f}" if raw else ""
        print(f"| {name} | {p50 / bare_p50:.1f} | {p99 / bare_p50:.1f} | {told} |", flush=True)
    pages = list(_pages(session, f"{base}/DocumentReference?_count=10&_total=none", 1000))
    cost = statistics.median(pages[-9:]) / statistics.median(pages[1:10])
    print(f"a page about the {len(pages)}th costs {cost:.2f} of what one after the first does", flush=True)


def _raw(index: ElasticsearchIndex, query: str) -> Callable[[], object]:
    """The compiled query sent by the client itself; a chain's two queries count as its first."""
    type, _, text = query.partition("?")
    asked = parse_query(type, parse_qsl(text), base="", strict=False, default_count=20, max_count=1000)
    compiled = index._asked(TENANT, asked.types, asked.criteria)
    body = {"query": compiled, "sort": sort(asked.sort), "size": 21, "_source": False, "docvalue_fields": ["id"]}
    return lambda: index._client.search(index=f"fhir-blob-{type.lower()}", **body)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _percentiles(times: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


def _pages(session: requests.Session, url: str | None, most: int) -> Iterator[float]:
    """Seconds of each page, the median of three."""
    for _ in range(most):
        if url is None:
            return
        times = []
        for _ in range(3):
            began = time.perf_counter()
            answer = session.get(url, timeout=60)
            times.append(time.perf_counter() - began)
        yield sorted(times)[1]
        url = next((each["url"] for each in answer.json()["link"] if each["relation"] == "next"), None)


if __name__ == "__main__":
    sys.exit(main())
