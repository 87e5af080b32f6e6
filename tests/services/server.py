"""The server itself as its users start it: a process of its own with an embedded database and S3."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` has no /fhir, `base` has."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    @property
    def base(self) -> str:
        return f"{self.url}/fhir"

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self.data / "log").read_text()

    def stop(self) -> int:
        """Ctrl-C; its exit status. What is left of it after STOP_SECONDS is killed."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """kill -9, of its workers too; the embedded S3 ends with them."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for every test that only needs some server."""
    started = start(tmp_path_factory.mktemp("server"))
    yield started
    started.kill()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """`start_server(**settings)` starts a server of the test's own, on the same folder unless `data` is given."""
    started: list[Server] = []

    def begin(**settings: Any) -> Server:
        server = start(Path(settings.pop("data", tmp_path / "data")), **settings)
        started.append(server)
        return server

    yield begin
    for server in started:
        server.kill()


def start(data: Path, *, wait: bool = True, program: Path | None = None, **settings: Any) -> Server:
    """Start a server and wait until every part of it is ready; settings are those of fhir_blob.settings.

    `program` is another fhir-blob than that of this checkout.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = settings.pop("port", None) or free_port()
    given = {"data": data, "port": port, "s3_embedded_port": free_port(), **settings}
    with (data / "log").open("ab") as log:
        process = subprocess.Popen(
            [program, "serve"] if program else [sys.executable, "-m", "fhir_blob", "serve"],
            cwd=data,
            env=_environment(given) | ({"PYTHONPATH": ""} if program else {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", data, process)
    if wait:
        try:
            _wait(server)
        except BaseException:
            server.kill()
            raise
    return server


def command(data: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """`fhir-blob arguments` beside a server of that folder and those settings."""
    given = {"data": data, **settings}
    run = [sys.executable, "-m", "fhir_blob", *arguments]
    return subprocess.run(run, cwd=data, env=_environment(given), capture_output=True, text=True, timeout=240)


def free_port() -> int:
    """A port that is free, below those that the system hands out to clients."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _environment(settings: dict[str, Any]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FHIR_BLOB_", "AWS_"))}
    given = {f"FHIR_BLOB_{name.upper()}": str(value) for name, value in settings.items()}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return kept | given | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _wait(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}:\n{server.log}")
        if _is_ready(server.url):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the server is not ready after {START_SECONDS} s:\n{server.log}")


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/ready", timeout=5).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False
