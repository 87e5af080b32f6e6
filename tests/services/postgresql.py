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
from pathlib import Path

import psycopg
import pytest

from tests.services import postgresql_program
from tests.services.server import free_port

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a running server, without a database. It sorts as people do, not by code points."""
    folder = Path(tempfile.mkdtemp(prefix="fhir-blob-postgresql-"))
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    port = free_port()
    locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
    subprocess.run(
        [postgresql_program("initdb"), "-D", folder / "data", "-U", "tests", "-A", "trust", *locale],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    with (folder / "log").open("wb") as log:
        command = [str(postgresql_program("postgres")), "-D", str(folder / "data"), *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
    url = f"postgresql://tests@127.0.0.1:{port}"
    try:
        _wait(url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


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
