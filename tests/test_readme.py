"""The README says what is so: its walk is walked, its table of settings is complete."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import documented
from tests.services.server import ROOT, Server

README = (ROOT / "README.md").read_text()
URL = "http://127.0.0.1:8000"
MARK = "--8<--"


def test_walk(server: Server, tmp_path: Path) -> None:
    """Each command of the walk answers as it is printed there; `…` stands for any text."""
    told = [(command.replace(URL, server.url), answer.replace(URL, server.url)) for command, answer in walk()]

    printed = run([command for command, _ in told], tmp_path)

    assert [] == [
        (command, got)
        for (command, answer), got in zip(told, printed, strict=True)
        if not re.fullmatch(".*".join(map(re.escape, answer.split("…"))), got.strip(), re.DOTALL)
    ]


def test_settings() -> None:
    """The table has every setting, its default and its meaning, in the order of settings.py."""
    (rows,) = documented.ROW.findall(README)

    assert documented.table() == rows


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README))))
def test_target(target: str) -> None:
    """What the README makes is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def walk() -> list[tuple[str, str]]:
    """The commands of the console blocks, and what they print."""
    found: list[tuple[list[str], list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(([line[2:]], []))
            elif line.startswith("    ") and not found[-1][1]:
                found[-1][0].append(line)
            else:
                found[-1][1].append(line)
    return [("\n".join(command), "\n".join(answer)) for command, answer in found]


def run(commands: list[str], folder: Path) -> list[str]:
    """What each command prints, all of them in one shell."""
    script = "".join(f"{command}\necho '{MARK}'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-eo", "pipefail"], input=script, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout.split(f"{MARK}\n")[:-1]
