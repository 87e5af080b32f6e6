"""A real nginx before the server, set up by the lines that the README gives."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.services import absent
from tests.services.server import ROOT

_START_SECONDS = 20
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Nginx:
    """One that runs."""

    folder: Path
    certificate: Path

    @property
    def log(self) -> str:
        """What it has complained of so far."""
        return (self.folder / "error.log").read_text()


def snippet() -> str:
    """The lines of the README."""
    (found,) = re.findall(r"^```nginx\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def running(folder: Path, servers: str, ports: tuple[int, ...]) -> Iterator[Nginx]:
    """nginx with those servers, which name `certificate.pem` and `key.pem`. Its gzip is on, as a site may have it."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx") or absent("nginx")
    made = Nginx(folder, _certified(folder))
    (folder / "nginx.conf").write_text(_configuration(folder, servers))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], stdout=log, stderr=log
        )
    try:
        _wait(process, ports, folder)
        yield made
    finally:
        process.terminate()
        process.wait(20)


def _configuration(folder: Path, servers: str) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {kind}_temp_path {folder / kind};\n" for kind in kinds)
    # Its workers would be nobody, who does not see this folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return (
        f"daemon off;\nworker_processes 1;\n{user}pid {folder / 'pid'};\nerror_log {folder / 'error.log'} warn;\n"
        f"events {{}}\nhttp {{\n    access_log off;\n{paths}"
        f"    gzip on;\n    gzip_types *;\n    gzip_proxied any;\n    gzip_min_length 1;\n{servers}}}\n"
    )


def _certified(folder: Path) -> Path:
    """A certificate for localhost and 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _DAY, now + _DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*private))
    return folder / "certificate.pem"


def _wait(process: subprocess.Popen[bytes], ports: tuple[int, ...], folder: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while not all(map(_listens, ports)):
        assert process.poll() is None, (folder / "log").read_text() + (folder / "error.log").read_text()
        assert time.monotonic() < until, "nginx took too long"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
