"""docker/ as Docker reads it, and the processes that it describes without containers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.services.server import ROOT

DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
# https://docs.docker.com/reference/compose-file/interpolation/
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<text>[^}]*))?\}")


def compose(environ: Mapping[str, str]) -> dict[str, Any]:
    """The compose file for that environment; KeyError names a variable that has to be set."""
    made: dict[str, Any] = _interpolated(raw(), environ)
    return made


def raw() -> Any:
    """The compose file with its variables as they are written."""
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def instructions(dockerfile: Path, stage: int = -1) -> list[tuple[str, str]]:
    """The instructions of a stage, the last one, with what follows each; lines that go on are joined."""
    joined = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    stages: list[list[tuple[str, str]]] = []
    for line in filter(lambda line: line and not line.startswith("#"), joined.splitlines()):
        name, text = line.split(maxsplit=1)
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, text))
    return stages[stage]


def instruction(dockerfile: Path, name: str) -> str:
    """What follows the one instruction of that name in the last stage."""
    (text,) = (text for each, text in instructions(dockerfile) if each == name)
    return text


def arguments(dockerfile: Path, name: str) -> list[str]:
    """The JSON array of an ENTRYPOINT, a CMD, or of a HEALTHCHECK's CMD."""
    text = instruction(dockerfile, name)
    found: list[str] = json.loads(text[text.index("[") :])
    return found


def environment(dockerfile: Path) -> dict[str, str]:
    """What its last stage sets."""
    texts = [text for each, text in instructions(dockerfile) if each == "ENV"]
    pairs = (pair.partition("=") for text in texts for pair in text.split())
    return {name: value for name, _, value in pairs}


def command(service: Mapping[str, Any]) -> list[str]:
    """What a service of our own image runs, after the entry point."""
    return list(service.get("command") or arguments(DOCKERFILE, "CMD"))


class Processes:
    """Those services of a compose file that are our own image, with places of this machine for its own."""

    def __init__(self, services: Mapping[str, Any], folder: Path, places: Mapping[str, str]) -> None:
        self._services, self._folder, self._places = services, folder, places
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "fhir_blob", *command(self._services[name])],
                env=self.environment(name),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def environment(self, name: str) -> dict[str, str]:
        """Its environment in the image and in the compose file, and no more than Python itself needs."""
        given: dict[str, str] = environment(DOCKERFILE) | self._services[name]["environment"]
        for there, here in self._places.items():
            given = {key: value.replace(there, here) for key, value in given.items()}
        return given | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    def is_healthy(self, name: str) -> bool:
        """What the image's HEALTHCHECK says of it."""
        _, *check = arguments(DOCKERFILE, "HEALTHCHECK")
        environ = self.environment(name)
        return not subprocess.run([sys.executable, *check], env=environ, capture_output=True, timeout=30).returncode

    def is_running(self, name: str) -> bool:
        return self._running[name].poll() is None

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    def stop(self, name: str) -> int:
        """As Docker does, by SIGTERM; its exit status."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(20)
        finally:
            process.kill()
            process.wait()

    def end(self) -> None:
        for name in list(self._running):
            self.stop(name)


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(each, environ) for key, each in value.items()}
    if isinstance(value, list):
        return [_interpolated(each, environ) for each in value]
    return _VARIABLE.sub(lambda match: _value(match, environ), value) if isinstance(value, str) else value


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    given = environ.get(match["name"], "")
    if given or match["how"] is None:
        return given
    if match["how"] == ":?":
        raise KeyError(match["name"])
    return match["text"]
