"""HAPI's instance validator, started once for all that it is asked about: it starts slowly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.client import Client
from tests.services import java_libraries
from tests.services.server import ROOT, Server
from tests.validator.answers import answers
from tests.validator.cases import CASES
from tests.validator.conformance import RESOURCES

PROGRAM = Path(__file__).parent / "Validate.java"
PROFILES = ROOT / "profiles"
# File, place and sentence of each error.
Errors = list[tuple[str, str, str]]


@pytest.fixture(scope="session")
def found(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """What HAPI says of the server's answers, of the files of profiles/, and of the cases."""
    java_libraries()
    profiles, folder = tmp_path_factory.mktemp("profiles"), tmp_path_factory.mktemp("answers")
    for name, response in answers(Client(server.base)).items():
        if response.content:
            (folder / name).write_bytes(response.content)
    for file in PROFILES.glob("*-*.json"):
        (folder / f"profile-{file.name}").write_bytes(file.read_bytes())
        (profiles / file.name).write_bytes(file.read_bytes())
    for each in RESOURCES:
        (profiles / f"{each['resourceType']}-{each['id']}.json").write_text(json.dumps(each))
    for name, (resource, _) in CASES.items():
        (folder / f"case-{name}.json").write_text(json.dumps(resource))
    (folder / "broken.json").write_text('{"resourceType": "Patient", "gendre": "female"}')
    return errors(profiles, folder)


def errors(profiles: Path, folder: Path) -> Errors:
    """Those that HAPI has with the files of a folder, by these profiles."""
    options = ["-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(java_libraries() / "*")]
    command = ["java", *options, str(PROGRAM), str(profiles), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    lines = done.stdout.splitlines()
    assert ["done"] == lines[-1:], done.stderr[-2000:]
    return [(file, place, said) for file, place, said in (line.split("\t") for line in lines[:-1])]
