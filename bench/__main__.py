"""`python -m bench [--quick] [--postgresql URL]`: prints the table of bench/README.md."""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import requests

from bench.load import CLIENTS, ratio, request, throughput
from tests.services.server import Server, free_port, start

DOCUMENTS, PATIENTS = 10_000, 500
# As many as one process lets transfer at a time.
RAW_CLIENTS = 2
TARGETS = {
    "read DocumentReference (1 URL signed)": 0.50,
    "read Patient without attachments": 0.60,
    "create DocumentReference, durable, indexed": 0.20,
    "POST Binary metadata -> presigned PUT": 0.25,
    "search 20 of 10,000 by patient, 20 URLs signed": 0.25,
    "search patient + category + date": 0.25,
    "raw 1 MB Binary in": 0.05,
    "raw 1 MB Binary out": 0.08,
    "reads during 32 slow uploads / without": 0.60,
}
ENTRIES = 100
TRANSACTION = f"entries of a transaction of {ENTRIES} DocumentReferences"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--quick", action="store_true", help="a run of a minute or two")
    parser.add_argument(
        "--postgresql", default="", metavar="URL", help="an empty database to measure instead of SQLite"
    )
    given = parser.parse_args()
    seconds, rounds, documents = (1.5, 1, 2_000) if given.quick else (4.0, 3, DOCUMENTS)
    with tempfile.TemporaryDirectory() as folder, bare() as bare_port:
        database = {"database": given.postgresql} if given.postgresql else {}
        began = time.perf_counter()
        server = start(Path(folder) / "data", wait=False, workers=1, **database)
        _until(lambda: requests.get(f"{server.url}/health", timeout=5).status_code == 200)
        first_answer = time.perf_counter() - began
        try:
            _until(lambda: requests.get(f"{server.url}/health/ready", timeout=5).status_code == 200)
            idle = memory(server)
            print("| case | throughput / bare Flask | target |\n|---|---|---|")
            for name, found in measured(server, bare_port, seconds, rounds, documents):
                print(f"| {name} | {found:.3f} | {TARGETS.get(name, '')} |", flush=True)
        finally:
            server.kill()
    print(f"\nfirst answer after {first_answer:.1f} s, idle memory: {idle}")


def measured(
    server: Server, bare_port: int, seconds: float, rounds: int, documents: int
) -> Iterator[tuple[str, float]]:
    """Each case as a ratio to the bare application."""
    port = int(server.url.rpartition(":")[2])
    made = filled(server, port, documents)
    bare_request = request(bare_port, "GET", "/fhir/Patient/p1")

    def reference() -> float:
        return throughput(bare_port, [bare_request], seconds / 2)

    for name, asked in cases(port, made).items():
        clients = RAW_CLIENTS if name.startswith("raw") or name == TRANSACTION else CLIENTS
        found = ratio(reference, partial(throughput, port, asked, seconds, clients), rounds)
        yield name, found * ENTRIES if name == TRANSACTION else found
    asked = cases(port, made)["read Patient without attachments"]
    alone = throughput(port, asked, seconds)
    with slow_uploads(port, 32):
        yield "reads during 32 slow uploads / without", throughput(port, asked, seconds) / alone


def cases(port: int, made: dict[str, Any]) -> dict[str, list[bytes]]:
    """The requests of each case, in the order of the table."""
    day = "date=ge2024-01-01&date=lt2025-01-01"
    patients = [f"p{number}" for number in range(1, PATIENTS)]
    category = "category=http://x.example/category|c1"
    new = json.dumps(document(1, made["binary"])).encode()
    fresh = itertools.count(DOCUMENTS)
    return {
        "read DocumentReference (1 URL signed)": [
            request(port, "GET", f"/fhir/DocumentReference/{id}") for id in made["documents"]
        ],
        "read Patient without attachments": [request(port, "GET", f"/fhir/Patient/{id}") for id in patients],
        "create DocumentReference, durable, indexed": [request(port, "POST", "/fhir/DocumentReference", new)],
        "POST Binary metadata -> presigned PUT": [
            request(port, "POST", "/fhir/Binary", b'{"resourceType":"Binary","contentType":"image/png"}')
        ],
        "search 20 of 10,000 by patient, 20 URLs signed": [
            request(port, "GET", f"/fhir/DocumentReference?patient={id}") for id in patients
        ],
        "search patient + category + date": [
            request(port, "GET", f"/fhir/DocumentReference?patient={id}&{category}&{day}") for id in patients
        ],
        TRANSACTION: [request(port, "POST", "/fhir", transaction(fresh, made["binary"])) for _ in range(20)],
        "conditional create, one is there": [_if_none_exist(port, number, made) for number in range(2, PATIENTS)],
        "conditional create, nothing is there": [_if_none_exist(port, next(fresh), made) for _ in range(4_000)],
        "JSON Patch": [
            request(port, "PATCH", f"/fhir/DocumentReference/{id}", _patch(number), "application/json-patch+json")
            for number in range(8)
            for id in made["documents"]
        ],
        "raw 1 MB Binary in": [request(port, "POST", "/fhir/Binary", os.urandom(1_000_000), "application/pdf")],
        "raw 1 MB Binary out": [request(port, "GET", f"/fhir/Binary/{made['megabyte']}")],
    }  # fmt: skip


def transaction(numbers: Iterator[int], binary: str) -> bytes:
    """A Bundle of new documents."""
    made = [document(number, binary) for number in itertools.islice(numbers, ENTRIES)]
    asked = {"method": "POST", "url": "DocumentReference"}
    entry = [{"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": each, "request": asked} for each in made]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode()


def _if_none_exist(port: int, number: int, made: dict[str, Any]) -> bytes:
    body = json.dumps(document(number, made["binary"])).encode()
    return request(port, "POST", "/fhir/DocumentReference", body, If_None_Exist=f"identifier=urn:x:document|d{number}")


def _patch(number: int) -> bytes:
    return json.dumps([{"op": "replace", "path": "/description", "value": f"Version {number}"}]).encode()


def document(number: int, binary: str) -> dict[str, Any]:
    """A clinical document of about 1.6 kB, with some fifteen search values."""
    coding = [{"system": "http://x.example/category", "code": f"c{number % 5}", "display": "a category"}]
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "identifier": [{"system": "urn:x:document", "value": f"d{number}"}],
        "type": {"coding": [{"system": "http://loinc.org", "code": "34133-9", "display": "Summary of episode note"}]},
        "category": [{"coding": coding}],
        "subject": {"reference": f"Patient/p{number % PATIENTS}"},
        "date": f"{2020 + number % 6}-0{1 + number % 9}-15T10:00:00Z",
        "author": [{"display": "Dr. X"}],
        "description": "A document of the benchmark. " * 25,
        "content": [
            {"attachment": {"contentType": "application/pdf", "url": f"Binary/{binary}", "title": "a document"}}
        ],
    }


def filled(server: Server, port: int, documents: int) -> dict[str, Any]:
    """Patients, documents and Binaries in the server."""
    fhir = requests.Session()
    raw = {"Content-Type": "application/pdf"}
    small = fhir.post(f"{server.base}/Binary", data=os.urandom(2000), headers=raw, timeout=60).json()["id"]
    large = fhir.post(f"{server.base}/Binary", data=os.urandom(1_000_000), headers=raw, timeout=60).json()["id"]
    for number in range(PATIENTS):
        patient = {
            "resourceType": "Patient",
            "id": f"p{number}",
            "name": [{"family": f"Family{number}", "given": ["A"]}],
        }
        fhir.put(f"{server.base}/Patient/p{number}", json={**patient, "language": "en"}, timeout=60).raise_for_status()
    bodies = [json.dumps(document(number, small)).encode() for number in range(documents)]
    with multiprocessing.Pool(4) as pool:
        ids = pool.starmap(_post, [(server.base, body) for body in bodies], chunksize=200)
    return {"binary": small, "megabyte": large, "documents": ids[:500]}


def _post(base: str, body: bytes) -> str:
    global _session
    _session = globals().get("_session") or requests.Session()
    posted = _session.post(
        f"{base}/DocumentReference", data=body, headers={"Content-Type": "application/fhir+json"}, timeout=60
    )
    posted.raise_for_status()
    return str(posted.json()["id"])


@contextmanager
def slow_uploads(port: int, count: int) -> Iterator[None]:
    """So many clients that upload a few bytes a second; those that are refused try again."""
    stop = threading.Event()

    def upload() -> None:
        while not stop.is_set():
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                connection.sendall(
                    request(port, "POST", "/fhir/Binary", b"", Content_Type="image/png", Content_Length="100000")
                )
                connection.settimeout(0.5)
                try:
                    while not stop.wait(0.2):
                        connection.sendall(b"x" * 10)
                        connection.setblocking(False)
                        if connection.recv(100):
                            break
                except BlockingIOError:
                    continue
                except OSError:
                    stop.wait(1)

    threads = [threading.Thread(target=upload, daemon=True) for _ in range(count)]
    for each in threads:
        each.start()
    time.sleep(1)
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join(5)


@contextmanager
def bare() -> Iterator[int]:
    """A Flask application that answers 1.6 kB of JSON, under granian as the server is."""
    port = free_port()
    options = ["--interface", "wsgi", "--workers", "1", "--blocking-threads", "3", "--http", "1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", *options, "--log-level", "warning", "bench.bare:app"],
        cwd=Path(__file__).parents[1],
    )
    try:
        _until(lambda: requests.get(f"http://127.0.0.1:{port}/fhir/Patient/1", timeout=5).status_code == 200)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def memory(server: Server) -> str:
    """Proportional set sizes by process, in MB."""
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
    return ", ".join(f"{each.name()} {each.memory_full_info().pss // 1_000_000} MB" for each in processes)


def _until(holds: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except requests.RequestException:
            pass
        time.sleep(0.02)
    raise TimeoutError("it did not start")


if __name__ == "__main__":
    main()
