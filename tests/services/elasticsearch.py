"""A real Elasticsearch: one node for the run, and one of its own for a test that stops it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests import services
from tests.services.server import free_port

_START_SECONDS = 180
_HEAP = "384m"


class Elasticsearch:
    """A node whose data stay in a folder: it can be stopped and started again on the same port."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self._installed, self._folder = installed, folder
        self._port, self._transport = free_port(), free_port()
        self._user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def make(self) -> None:
        for name in ("config", "data", "logs", "tmp"):
            (self._folder / name).mkdir()
        home, config = self._installed / "home", self._folder / "config"
        shutil.copy(home / "config" / "log4j2.properties", config)
        options = (home / "config" / "jvm.options").read_text().splitlines(keepends=True)
        kept = (line for line in options if not line.startswith("-Xlog:gc") and "HeapDumpOnOutOfMemory" not in line)
        (config / "jvm.options").write_text("".join(kept))
        (config / "elasticsearch.yml").write_text(
            f"cluster.name: tests\nnode.name: one\npath.data: {self._folder / 'data'}\n"
            f"path.logs: {self._folder / 'logs'}\n"
            f"network.host: 127.0.0.1\nhttp.port: {self._port}\ntransport.port: {self._transport}\n"
            "discovery.type: single-node\ncluster.routing.allocation.disk.threshold_enabled: false\n"
            "xpack.security.enabled: false\naction.auto_create_index: false\ncluster.max_shards_per_node: 5000\n"
        )
        if self._user:
            for path in (self._folder, *self._folder.rglob("*")):
                shutil.chown(path, self._user)

    def start(self) -> None:
        """Return once it answers and has recovered its indices."""
        home, config = self._installed / "home", self._folder / "config"
        is_new = (home / "lib" / "tools" / "server-launcher").exists()  # 9.x
        java = (services.jdk() if is_new else self._installed / "jre") / "bin" / "java"
        environ = {
            "ES_JAVA_OPTS": f"-Xms{_HEAP} -Xmx{_HEAP} -XX:TieredStopAtLevel=1",
            "ES_TMPDIR": str(self._folder / "tmp"),
            "HOSTNAME": "localhost",
            "PATH": os.environ["PATH"],
        }
        environ |= {"ES_HOME": str(home), "ES_PATH_CONF": str(config), "ES_DISTRIBUTION_TYPE": "zip"}
        environ |= {"JAVA": str(java), "JAVA_TYPE": "ES_JAVA_HOME"}
        launcher = _new_launcher(home) if is_new else _old_launcher(home, config)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(java), "-Xms4m", "-Xmx64m", "-XX:+UseSerialGC", *launcher],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=home,
                env=environ,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the launcher and of the node."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            self._process.wait(60)
            self._process = None
            _until(lambda: not self._answers("/"), 30)

    def _wait(self) -> None:
        healthy = "/_cluster/health?wait_for_status=yellow&timeout=1s"
        assert self._process is not None
        process = self._process
        _until(lambda: process.poll() is not None or self._answers(healthy), _START_SECONDS)
        assert process.poll() is None, (self._folder / "log").read_text()[-2000:]

    def _answers(self, path: str) -> bool:
        try:
            return requests.get(self.url + path, timeout=3).ok
        except requests.RequestException:
            return False


def _old_launcher(home: Path, config: Path) -> list[str]:
    """What bin/elasticsearch of 8.x has Java run."""
    settings = {"cli.name": "server", "cli.script": "bin/elasticsearch", "cli.libs": "lib/tools/server-cli"}
    settings |= {"es.path.home": str(home), "es.path.conf": str(config)}
    settings |= {"es.distribution.type": "zip", "es.java.type": "bundled"}
    given = [f"-D{name}={value}" for name, value in settings.items()]
    return [*given, "-cp", f"{home}/lib/*:{home}/lib/cli-launcher/*", "org.elasticsearch.launcher.CliToolLauncher"]


def _new_launcher(home: Path) -> list[str]:
    """What that of 9.x has it run, which reads its environment."""
    return ["-cp", f"{home}/lib/tools/server-launcher/*", "org.elasticsearch.server.launcher.ServerLauncher"]


def _until(is_so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "Elasticsearch took too long"
        time.sleep(0.1)


@contextmanager
def running() -> Iterator[Elasticsearch]:
    """A new node that runs, and is gone afterwards."""
    installed = services.elasticsearch_folder()  # skips the test where it is not installed
    folder = Path(tempfile.mkdtemp(prefix="fhir-blob-elasticsearch-"))
    node = Elasticsearch(installed, folder)
    try:
        node.make()
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def elasticsearch_url() -> Iterator[str]:
    """The URL of a running node; each test takes an index prefix of its own."""
    with running() as node:
        yield node.url


@pytest.fixture
def own_elasticsearch() -> Iterator[Elasticsearch]:
    """A node of the test's own, that it may stop."""
    with running() as node:
        yield node
