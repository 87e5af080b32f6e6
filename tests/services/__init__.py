"""Real servers that tests start, and what happens where one is not installed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

SERVICES = Path(__file__).parents[2] / ".services"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fhir-blob"

ELASTICSEARCH = "8.16.6"  # the version that tests run on, unless told otherwise
ELASTICSEARCH_VERSION = os.environ.get("ELASTICSEARCH_VERSION") or ELASTICSEARCH
_LEAST_JDK = 21


def absent(what: str) -> NoReturn:
    """Skip the test for want of a service; with CI=true fail it."""
    sentence = f"{what} is not installed: make services"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def minio() -> Path:
    """The MinIO program that `make services` builds."""
    program = CACHE / "bin" / "minio"
    if not program.exists():
        absent("MinIO")
    return program


def elasticsearch_folder() -> Path:
    """The folder with `home` and `jre` that `make services` unpacks for $ELASTICSEARCH_VERSION."""
    # It refuses to run as root, and whoever it runs as cannot read what is root's.
    cache = Path("/var/cache/fhir-blob") if os.geteuid() == 0 else CACHE
    is_usual = ELASTICSEARCH_VERSION == ELASTICSEARCH
    folder = cache / ("elasticsearch" if is_usual else f"elasticsearch-{ELASTICSEARCH_VERSION}")
    if not (folder / ".installed").exists():
        absent(f"Elasticsearch {ELASTICSEARCH_VERSION}")
    return folder


def jdk() -> Path:
    """The home of a whole JDK that Elasticsearch 9 runs on: $ES_JAVA_HOME, $JAVA_HOME, or one of the system's."""
    named = (os.environ.get(name) for name in ("ES_JAVA_HOME", "JAVA_HOME"))
    homes = [*map(Path, filter(None, named)), *sorted(Path("/usr/lib/jvm").glob("*"))]
    found = next(filter(_is_jdk, homes), None)
    if found is None:
        absent(f"A JDK of {_LEAST_JDK} or newer (ES_JAVA_HOME), which Elasticsearch {ELASTICSEARCH_VERSION} needs,")
    return found


def _is_jdk(home: Path) -> bool:
    """Whether it is new enough, and has the module that no JRE has."""
    release = home / "release"
    told = release.read_text() if release.exists() else ""
    version = re.search(r'^JAVA_VERSION="(\d+)', told, re.MULTILINE)
    return version is not None and int(version[1]) >= _LEAST_JDK and "jdk.jlink" in told


def postgresql_program(name: str) -> Path:
    """A program of the newest PostgreSQL here: `initdb`, `postgres`, `psql`."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(packaged[-1]) if packaged else shutil.which(name)
    if found is None:
        absent("PostgreSQL")
    return Path(found)


def newman() -> Path:
    """newman, as `make services` installs it."""
    _need_npm("newman")
    program = SERVICES / "newman" / "node_modules" / ".bin" / "newman"
    if not program.exists():
        absent("newman")
    return program


def node_clients() -> Path:
    """The folder with Node's FHIR clients."""
    _need_npm("Node's FHIR clients")
    folder = SERVICES / "clients"
    if not (folder / "node_modules").exists():
        absent("A FHIR client for Node")
    return folder


def java_libraries() -> Path:
    """The folder with HAPI's client and validator; a JDK is there to run programs from source."""
    folder = CACHE / "java"
    if shutil.which("javac") is None or not (folder / "pom.xml").exists():
        absent("HAPI's client and validator, or Java,")
    return folder


def fhir_cases() -> Path:
    """The folder of HL7's own test cases for R4: https://github.com/FHIR/fhir-test-cases"""
    folder = CACHE / "fhir-cases"
    if not (folder / ".installed").exists():
        absent("The test cases of HL7")
    return folder / "org" / "hl7" / "fhir" / "testcases" / "r4"


def json_patch_cases() -> Path:
    """The package of https://github.com/json-patch/json-patch-tests"""
    _need_npm("The package of JSON Patch's test cases")
    package = SERVICES / "json-patch-test-suite-1.1.0.tgz"
    if not package.exists():
        absent("The package of JSON Patch's test cases")
    return package


def r4_package() -> Path:
    """The official hl7.fhir.r4.core package, with R4's definitions and examples."""
    package = SERVICES / "definitions" / "google" / "fhir" / "r4" / "data" / "hl7.fhir.r4.core.tgz"
    if not package.exists():
        absent("The R4 package")
    return package


def ucum_table() -> Path:
    """UCUM's own table of units, ucum-essence.xml."""
    table = SERVICES / "definitions" / "ucumvert" / "vendor" / "ucum-essence.xml"
    if not table.exists():
        absent("UCUM's table")
    return table


def r4_examples() -> Path:
    """The official hl7.fhir.r4.examples package."""
    _need_npm("The package of R4's examples")
    package = SERVICES / "hl7.fhir.r4.examples-4.0.1.tgz"
    if not package.exists():
        absent("The package of R4's examples")
    return package


def _need_npm(what: str) -> None:
    """What npm brings is missed by nobody where npm is not, not even with CI=true."""
    if shutil.which("npm") is None:
        pytest.skip(f"{what} needs Node with npm")
