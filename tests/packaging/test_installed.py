"""The server as pip installs it, by the steps of the Dockerfile and far from the checkout."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.client import Client, extension
from tests.packaging import containers
from tests.packaging.containers import DOCKERFILE
from tests.services.server import ROOT, start

CANONICAL = "https://fhir-blob.org/StructureDefinition/uploadState"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script, once the RUNs of the image's first stage have run on what its COPYs copy."""
    source, home = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("home") / "fhir-blob"
    for name, text in containers.instructions(DOCKERFILE, 0):
        if name == "COPY":
            copy(text.split(), source)
        elif name == "RUN":
            command = shlex.split(text.replace("/opt/fhir-blob", str(home)))
            command[0] = sys.executable if command[0] == "python" else command[0]
            subprocess.run(command, cwd=source, stdout=subprocess.DEVNULL, check=True, timeout=280)
    return home / "bin" / containers.arguments(DOCKERFILE, "ENTRYPOINT")[0]


def copy(names: list[str], folder: Path) -> None:
    """As COPY does: files into a folder, and of a folder what is in it."""
    *sources, target = names
    for name in sources:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / target)


def test_it_serves(program: Path, tmp_path: Path) -> None:
    """It starts without a warning, takes and gives bytes, knows R4 and its profiles, and has its other commands."""
    server = start(tmp_path / "data", program=program, workers=1)
    try:
        client = Client(server.base)
        id = client.uploaded(b"installed", "text/plain")
        binary = client.fhir(f"Binary/{id}?_attachments=extension")
        got = requests.get(extension(binary["_data"], "presignedGetUrl"), timeout=60)
        refused = client("POST", "Patient", json={"resourceType": "Patient", "gender": "installed"})
        profile = client.fhir(f"StructureDefinition?url={CANONICAL}")["entry"][0]["resource"]
    finally:
        server.kill()
    told, hashed = run(program, "--help"), run(program, "hash", given="a password\n")

    assert (b"installed", False) == (got.content, '"warning"' in server.log)
    assert (422, CANONICAL) == (refused.status_code, profile["url"])
    assert "index-worker" in told
    assert hashed.startswith("$argon2")


def run(program: Path, *arguments: str, given: str = "") -> str:
    """What a command prints, away from the checkout."""
    done = subprocess.run(
        [program, *arguments], input=given, cwd=program.parent, env={}, capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
