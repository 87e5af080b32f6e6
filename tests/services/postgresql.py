"""A real PostgreSQL: one server for the run, an empty database for each test that asks."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.services import postgresql_program
from tests.services.server import free_port

_NUMBERS = itertools.count(1)


class Postgresql:
    """A cluster in a folder, which can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if self._user:
            shutil.chown(folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://tests@127.0.0.1:{self._port}"

    def make(self) -> None:
        """The cluster's files. It sorts as people do, not by code points."""
        locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
        subprocess.run(
            [postgresql_program("initdb"), "-D", self._folder / "data", "-U", "tests", "-A", "trust", *locale],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
        )

    def start(self) -> None:
        sockets = f"unix_socket_directories={self._folder}"
        options = ["-p", str(self._port), "-c", "listen_addresses=127.0.0.1", "-c", sockets]
        command = [str(postgresql_program("postgres")), "-D", str(self._folder / "data"), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self._folder)
        _wait(self.url)

    def stop(self) -> None:
        """Fast: whoever is connected is cut off."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Without a checkpoint: it recovers when it starts again."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@contextmanager
def running() -> Iterator[Postgresql]:
    """A new cluster that runs, and is gone afterwards."""
    postgresql_program("postgres")  # skips the test where it is not installed
    folder = Path(tempfile.mkdtemp(prefix="fhir-blob-postgresql-"))
    server = Postgresql(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a running server, without a database."""
    with running() as server:
        yield server.url


@pytest.fixture
def own_postgresql() -> Iterator[Postgresql]:
    """A server of the test's own, that it may stop."""
    with running() as server:
        yield server


@pytest.fixture
def fresh_postgresql_url(postgresql_url: str) -> str:
    """The URL of an empty database."""
    return fresh_database(postgresql_url)


def fresh_database(url: str) -> str:
    name = f"test{next(_NUMBERS)}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url}/{name}"


def _wait(url: str) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
