"""`fhir-blob` as an operator runs it: what it shows, and what it says of settings that cannot be used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_blob import cli, serve
from fhir_blob.settings import Settings, SettingsError, load
from tests.services.server import ROOT, StartServer, free_port

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA"


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, with nothing but those variables."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_BLOB_")}
    return subprocess.run(
        [sys.executable, "-m", "fhir_blob", *arguments],
        env=known | {"PYTHONPATH": str(ROOT), "FHIR_BLOB_DATA": str(folder / "data")} | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"PORT": "abc"}, "FHIR_BLOB_PORT cannot be 'abc': it takes a whole number."),
        ({"PORT": "99999"}, "FHIR_BLOB_PORT cannot be '99999': it takes 1 or more, and 65535 at most."),
        ({"WORKERS": "0"}, "FHIR_BLOB_WORKERS cannot be '0': it takes 1 or more."),
        ({"S3_TIMEOUT": "nan"}, "FHIR_BLOB_S3_TIMEOUT cannot be 'nan': it takes 0.001 or more."),
        ({"RESTORE_SECONDS": "-1"}, "FHIR_BLOB_RESTORE_SECONDS cannot be '-1': it takes 0 or more."),
        ({"INTEGRITY": "on"}, "FHIR_BLOB_INTEGRITY cannot be 'on': it takes one of off, warn, enforce."),
        ({"S3_BUKET": "x"}, "FHIR_BLOB_S3_BUKET is no setting: is FHIR_BLOB_S3_BUCKET meant?"),
        ({"COLOUR": "red"}, "FHIR_BLOB_COLOUR is no setting."),
        ({"PUBLIC_URL": "https://[::1"}, "FHIR_BLOB_PUBLIC_URL takes a URL: http:// or https://, and a host."),
        ({"S3_ENDPOINT": "127.0.0.1:9000"}, "FHIR_BLOB_S3_ENDPOINT takes a URL: http:// or https://, and a host."),
        (
            {"ELASTICSEARCH": "http://one:9200,me:hunter2@two"},
            "FHIR_BLOB_ELASTICSEARCH takes a URL: http:// or https://, and a host.",
        ),
        ({"SETTINGS": "/absent.toml"}, "The settings file '/absent.toml' cannot be read: No such file or directory."),
    ],
)
def test_what_is_no_setting(given: dict[str, str], told: str) -> None:
    """What cannot be meant is refused in one sentence, without what may be a password."""
    with pytest.raises(SettingsError) as refused:
        load({f"FHIR_BLOB_{name}": value for name, value in given.items()})

    assert told == str(refused.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("prot = 80", "has 'prot', which is no setting: is port meant?"),
        ('users = ["ada=hunter2"]', "FHIR_BLOB_USERS cannot be what it is: it takes text."),
        ('cors_origins = ["https://ehr.example"]', "cannot be ['https://ehr.example']: it takes text."),
    ],
)
def test_what_is_no_line_of_the_file(line: str, told: str, tmp_path: Path) -> None:
    """Nor does a file's line silently count for nothing, or for something else."""
    (tmp_path / "settings.toml").write_text(line)

    with pytest.raises(SettingsError) as refused:
        load({"FHIR_BLOB_SETTINGS": str(tmp_path / "settings.toml")})

    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_variables_of_kubernetes() -> None:
    """A service named fhir-blob puts variables of its own into every pod beside it."""
    told = {"FHIR_BLOB_SERVICE_HOST": "10.0.0.1", "FHIR_BLOB_SERVICE_PORT_HTTP": "80"}

    assert load({}) == load(told | {"FHIR_BLOB_PORT_80_TCP_ADDR": "10.0.0.1"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"AUTH": "required"}, "neither FHIR_BLOB_USERS nor FHIR_BLOB_TOKENS is set."),
        ({"AUTH": "required", "USERS": f"ada={HASH} hunter2"}, "FHIR_BLOB_USERS takes name=hash"),
        ({"TOKENS": "app=hunter2"}, "FHIR_BLOB_TOKENS takes name=hash"),
        ({"DATA": "/proc/fhir"}, "FHIR_BLOB_DATA is '/proc/fhir', where nothing can be written: No such file"),
        ({"DATA": "/sys/fs"}, "FHIR_BLOB_DATA is '/sys/fs', where nothing can be written: "),
        ({"DATABASE": "postgresql://me:hunter2@127.0.0.1:1/x"}, "The metadata store is out of reach. connection"),
        ({"S3_BUCKET": "x", "S3_ENDPOINT": "http://127.0.0.1:1"}, "out of reach. Could not connect to the endpoint"),
        ({"DATABASE": "mysql://me:hunter2@127.0.0.1:1/x"}, "it takes postgresql:// or sqlite:///."),
    ],
)
def test_refusals(
    given: dict[str, str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`init` ends with status 2 and one line, which has the reason and no secret."""
    known = {"DATA": str(tmp_path / "data"), "S3_ACCESS_KEY_ID": "key", "S3_SECRET_ACCESS_KEY": "hunter2"}
    for name, value in (known | given).items():
        monkeypatch.setenv(f"FHIR_BLOB_{name}", value)

    with pytest.raises(SystemExit) as ended:
        cli.main(["init"])

    printed = capsys.readouterr()
    assert (2, "", 1) == (ended.value.code, printed.out, printed.err.count("\n")), printed.err
    assert printed.err.startswith("fhir-blob: ")
    assert told in printed.err
    assert "hunter2" not in printed.err


def test_port_taken(tmp_path: Path) -> None:
    """Two servers never share a port, though the workers of one do."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = str(other.getsockname()[1])

        done = run(tmp_path, "serve", FHIR_BLOB_PORT=port)

    told = f"fhir-blob: FHIR_BLOB_HOST '127.0.0.1' and FHIR_BLOB_PORT {port} cannot be listened on: "
    assert (2, f"{told}Address already in use.\n") == (done.returncode, done.stderr)
    assert not (tmp_path / "data" / "s3").exists()


def test_host_by_name(start_server: StartServer) -> None:
    """A name is listened on as its address."""
    server = start_server(host="localhost", wait=False)

    assert up(server.url.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize(
    ("given", "base", "is_noted"),
    [
        ({"host": "::1", "port": 81}, "http://[::1]:81/fhir", False),
        ({"public_url": "https://fhir.example/"}, "https://fhir.example/fhir", True),
        ({"host": "10.0.0.1"}, "http://10.0.0.1:8000/fhir", True),
        ({"host": "10.0.0.1", "s3_public_endpoint": "https://s3.example"}, "http://10.0.0.1:8000/fhir", False),
    ],
)
def test_told_at_the_start(
    given: dict[str, Any], base: str, is_noted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base as a URL; and who serves others, but leaves presigned URLs to loopback, is told."""
    serve.tell(Settings(**({"s3_endpoint": "http://127.0.0.1:8333"} | given)))

    told = capsys.readouterr().out
    assert f"FHIR base    {base}\n" in told
    assert is_noted == ("which other machines cannot reach: set FHIR_BLOB_S3_PUBLIC_ENDPOINT." in told)


def up(url: str, seconds: float = 40) -> bool:
    """Whether a server answers there in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(requests.ConnectionError):
            return requests.get(f"{url}/health", timeout=10).ok
        time.sleep(0.1)
    return False


def test_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`fhir-blob settings` shows each as it is now with its meaning, and of secrets that they are set."""
    given: dict[str, Any] = {"PORT": "8010", "S3_SECRET_ACCESS_KEY": "hunter2", "ELASTICSEARCH": "http://me:hunter2@es"}
    for name, value in given.items():
        monkeypatch.setenv(f"FHIR_BLOB_{name}", value)

    cli.main(["settings"])

    shown = capsys.readouterr().out
    assert "FHIR_BLOB_PORT=8010\n    Port to listen on.\n" in shown
    assert "FHIR_BLOB_S3_SECRET_ACCESS_KEY=…\n" in shown
    assert "FHIR_BLOB_ELASTICSEARCH=http://…@es\n" in shown
    assert "hunter2" not in shown
