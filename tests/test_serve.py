"""`fhir-blob serve` as a process: it starts, stops and starts again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.services.server import ROOT, Server, StartServer

PATIENT = {"resourceType": "Patient", "id": "kept", "name": [{"family": "Kept"}]}


def test_tells(start_server: StartServer) -> None:
    """It prints the FHIR base, the S3 endpoint and where data lies."""
    server = start_server()

    printed = dict(line.split(maxsplit=2)[::2] for line in server.log.splitlines() if line.startswith(("FHIR", "S3")))

    assert server.base == printed["FHIR"]
    assert printed["S3"].startswith("http://127.0.0.1:")
    assert f"Data         {server.data.resolve()}\n" in server.log


def test_stop(start_server: StartServer) -> None:
    """Ctrl-C ends it and all that it started within 3 seconds, with status 0."""
    server = start_server()
    children = psutil.Process(server.process.pid).children(recursive=True)
    began = time.monotonic()

    status = server.stop()

    assert 0 == status
    assert time.monotonic() - began < 3
    assert len(children) >= 2
    assert [] == [child.name() for child in children if child.is_running() and child.status() != "zombie"]


def test_second_start(start_server: StartServer) -> None:
    """What one run stored, bytes too, the next one finds."""
    server = start_server()
    requests.put(f"{server.base}/Patient/kept", json=PATIENT, timeout=30).raise_for_status()
    requests.put(
        f"{server.base}/Binary/kept", b"kept", headers={"Content-Type": "text/plain"}, timeout=30
    ).raise_for_status()
    server.stop()

    server = start_server()

    patient = requests.get(f"{server.base}/Patient/kept", timeout=30).json()
    assert PATIENT == {name: value for name, value in patient.items() if name != "meta"}
    assert b"kept" == requests.get(f"{server.base}/Binary/kept", headers={"Accept": "text/plain"}, timeout=30).content


def test_refuses_the_world(tmp_path: Path) -> None:
    """Without a lock it binds loopback only, and says what to set."""
    done = subprocess.run(
        [sys.executable, "-m", "fhir_blob", "serve"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "FHIR_BLOB_DATA": str(tmp_path), "FHIR_BLOB_HOST": "0.0.0.0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (2, True) == (done.returncode, "Set FHIR_BLOB_AUTH=required" in done.stderr)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 megabytes, which only root can make."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this root may not mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_full_disk(small_disk: Path, start_server: StartServer) -> None:
    """With no room for data, log or metrics it reads on, refuses writes, ends nobody, and writes when there is room."""
    server = start_server(data=small_disk, rate_limit=1000)
    requests.put(f"{server.base}/Patient/kept", json=PATIENT, timeout=30).raise_for_status()
    before = workers(server)
    fill(small_disk / "fill")

    read = [requests.get(f"{server.base}/{path}", timeout=30).status_code for path in ("Patient/kept", "metadata")]
    refused = {requests.post(f"{server.base}/Patient", json=PATIENT, timeout=30).status_code for _ in range(20)}
    scraped = requests.get(f"{server.url}/metrics", timeout=30).status_code
    (small_disk / "fill").unlink()
    written = requests.post(f"{server.base}/Patient", json=PATIENT, timeout=30).status_code

    assert ([200, 200], 200, 201) == (read, scraped, written)
    assert refused <= {201, 507} and 507 in refused
    assert before == workers(server)


def fill(path: Path) -> None:
    """A file that takes what room there is."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 1024)


def workers(server: Server) -> set[int]:
    return {each.pid for each in psutil.Process(server.process.pid).children() if each.name() != "weed"}
