"""The embedded S3: what it remembers, how it ends, and what it keeps through a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fhir_blob.blobs.seaweedfs import EmbeddedS3
from fhir_blob.settings import SettingsError
from tests.services.s3 import S3, ready
from tests.services.server import free_port

ROOT = Path(__file__).parents[2]
# A process that starts it as `serve` does, tells where it is, and waits to be killed.
PARENT = """
import json, sys, time
from pathlib import Path
from fhir_blob.blobs.seaweedfs import EmbeddedS3
embedded = EmbeddedS3(Path(sys.argv[1]), int(sys.argv[2]))
embedded.start()
print(json.dumps([embedded.pid, embedded.endpoint, embedded.access_key, embedded.secret_key]), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Lives:
    """What was seen of two lives on one folder, the first ended by kill -9 on its parent."""

    folder: Path
    first: S3
    child_ended: float
    connections: set[str]
    kept: dict[str, bytes]
    second: S3
    stopped: float
    is_alive: bool


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    folder = tmp_path_factory.mktemp("embedded") / "s3"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), str(free_port())], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid, *told = json.loads(parent.stdout.readline())
    child = psutil.Process(pid)
    try:
        first = ready(S3("first", *told))
        connections = {each.laddr.ip for each in child.net_connections() if each.status == "LISTEN"}
        bodies = {f"acknowledged-{number}": os.urandom(4_096) for number in range(50)}
        with closing(first.store("ready")) as store:
            for key, body in bodies.items():
                store.put("ready", key, (body,), size=len(body), content_type="text/plain")
        child_ended = _kill(parent, child)
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()

    embedded = EmbeddedS3(folder, free_port())
    embedded.start()
    try:
        second = ready(S3("second", embedded.endpoint, embedded.access_key, embedded.secret_key))
        with closing(second.store("ready")) as store:
            kept = {key: _read(store.open("ready", key)) for key in bodies}
        assert bodies.keys() == kept.keys()
        lost = [key for key, body in bodies.items() if kept[key] != body]
        began = time.monotonic()
    finally:
        embedded.stop()
    stopped = time.monotonic() - began
    yield Lives(
        folder, first, child_ended, connections, {key: kept[key] for key in lost}, second, stopped, embedded.alive()
    )


def _kill(parent: subprocess.Popen[bytes], child: psutil.Process) -> float:
    """kill -9 on the parent: seconds until the child has ended too."""
    began = time.monotonic()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() - began < 10:
        time.sleep(0.01)
    return time.monotonic() - began


def _read(download: object) -> bytes:
    if download is None:
        return b""
    with closing(download):  # type: ignore[type-var]
        return b"".join(download.chunks())  # type: ignore[attr-defined]


def test_ends_with_its_parent(lives: Lives) -> None:
    """A server that is killed leaves no SeaweedFS behind."""
    assert lives.child_ended < 2


def test_keeps_what_was_acknowledged(lives: Lives) -> None:
    """Every object that was acknowledged before kill -9 is there, and whole."""
    assert {} == lives.kept


def test_remembers(lives: Lives) -> None:
    """The next start has the same port and the same keys, so that URLs that are out stay good."""
    first, second = lives.first, lives.second

    assert (first.endpoint, first.access_key, first.secret_key) == (
        second.endpoint,
        second.access_key,
        second.secret_key,
    )


def test_stops_within_a_second(lives: Lives) -> None:
    """It is asked to stop, and made to."""
    assert not lives.is_alive
    assert lives.stopped < 1


def test_listens_on_loopback_alone(lives: Lives) -> None:
    """No port of it can be reached from elsewhere."""
    assert {"127.0.0.1"} == lives.connections


def test_files_are_private(lives: Lives) -> None:
    """Its folder and the files with its keys are its owner's alone."""
    modes = {name: stat.S_IMODE((lives.folder / name).stat().st_mode) for name in (".", "identity.json", "s3.json")}

    assert {".": 0o700, "identity.json": 0o600, "s3.json": 0o600} == modes


def test_a_bucket_takes_one_volume(lives: Lives) -> None:
    """Only so many volumes have room on a disk: a new bucket does not take those of other buckets."""
    volumes = [path.name.partition("_")[0] for path in (lives.folder / "data").glob("ready_*.dat")]

    assert ["ready"] == volumes


def test_keys_are_its_own(lives: Lives, seaweedfs: S3) -> None:
    """Two installations have different keys, long enough not to be guessed."""
    assert lives.first.secret_key != seaweedfs.secret_key
    assert re.fullmatch(r"[A-Za-z0-9_-]{40}", lives.first.secret_key)


def test_taken_port(lives: Lives) -> None:
    """Where somebody else has its port meanwhile it takes others, and keeps its keys."""
    port = int(lives.first.endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        identity = EmbeddedS3(lives.folder, port)._remembered()

    assert lives.first.access_key == identity.access_key
    assert port not in identity.ports
    assert 8 == len(set(identity.ports))


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second process on the same folder uses the one that is there, and does not end it."""
    embedded = [EmbeddedS3(tmp_path, free_port()) for _ in range(2)]
    embedded[0].start()
    try:
        embedded[1].start()
        embedded[1].stop()

        assert embedded[0].endpoint == embedded[1].endpoint
        assert embedded[0].secret_key == embedded[1].secret_key
        assert (True, 0) == (embedded[0].alive(), embedded[1].pid)
    finally:
        embedded[0].stop()


def test_not_started(tmp_path: Path) -> None:
    """Before it is started it has no endpoint."""
    embedded = EmbeddedS3(tmp_path, 8333)

    with pytest.raises(SettingsError):
        assert embedded.endpoint
    embedded.stop()
    assert not embedded.alive()
