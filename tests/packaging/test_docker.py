"""docker/ without a Docker engine: what it names is there, and the processes that it describes work together."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import psycopg
import pytest
import requests

from fhir_blob import app, cli
from fhir_blob.access.credentials import hash_secret
from fhir_blob.settings import Settings, load, variable
from tests.client import Client, extension
from tests.packaging import containers
from tests.packaging.containers import DOCKER, DOCKERFILE, Processes
from tests.services import ELASTICSEARCH, ELASTICSEARCH_VERSION
from tests.services.s3 import S3
from tests.services.server import ROOT, free_port

MINIO = DOCKER / "minio" / "Dockerfile"
SERVICES = containers.raw()["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "fhir-blob"]
EXAMPLE = (DOCKER / "example.env").read_text()
NEEDED = re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE)
FILLED = dict.fromkeys(NEEDED, "filled1n")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|ROOT_USER|USERS")
COPIED = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)).split()
START_SECONDS = 90
KNOWN = {variable(each.name) for each in fields(Settings)}


def test_files() -> None:
    """The Dockerfile copies what is there and what the wheel is made of; .dockerignore lets nothing else in."""
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()

    assert [] == [name for name in COPIED if not (ROOT / name).exists()]
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "profiles", "fhir_blob"} <= set(COPIED)
    assert sorted(COPIED) == sorted(line[1:] for line in ignore if line.startswith("!"))
    assert "*" in ignore


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, MINIO], ids=["server", "minio"])
def test_user(dockerfile: Path) -> None:
    """It does not run as root, by a number so that Kubernetes can see it, and that user is made."""
    user = containers.instruction(dockerfile, "USER")

    assert int(user) > 0
    assert re.search(rf"(--uid|-u) {user}\b", containers.instruction(dockerfile, "RUN"))


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """ENTRYPOINT is the console script; CMD, and each command of the compose file, is a command of it."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = re.findall(r"^    ([a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    commands = {name: containers.command(SERVICES[name])[0] for name in OURS}

    assert ["fhir-blob"] == containers.arguments(DOCKERFILE, "ENTRYPOINT")
    assert "fhir-blob = fhir_blob.cli:main" in (ROOT / "setup.cfg").read_text()
    assert {"server": "serve", "indexer": "index-worker"} == commands
    assert set(commands.values()) <= set(known)


@pytest.mark.parametrize("name", OURS)
def test_settings(name: str, tmp_path: Path) -> None:
    """Every FHIR_BLOB_ variable is a setting, and what it is set to may be started beyond loopback."""
    service = containers.compose(FILLED)["services"][name]
    given = Processes({name: service}, tmp_path, {"/data": str(tmp_path)}).environment(name)

    settings = load(given)

    assert set() == {each for each in given if each.startswith("FHIR_BLOB_")} - KNOWN
    assert "0.0.0.0" == settings.host
    app.check(replace(settings, users=f"ada={hash_secret(name)}"))


@pytest.mark.parametrize("missing", NEEDED)
def test_needs(missing: str) -> None:
    """Without any one of the variables of example.env nothing starts."""
    with pytest.raises(KeyError, match=missing):
        containers.compose({name: value for name, value in FILLED.items() if name != missing})


def test_no_secret_of_its_own() -> None:
    """What is secret comes from the environment; example.env has none either."""
    texts = {
        f"{service} {name}": text
        for service, each in SERVICES.items()
        for name, text in each["environment"].items()
        if SECRET.search(name)
    }
    database = SERVICES["server"]["environment"]["FHIR_BLOB_DATABASE"]

    assert len(texts) >= 11
    assert [] == [name for name, text in texts.items() if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", text)]
    assert "://fhir_blob:${POSTGRES_PASSWORD:?" in database
    assert set() == set(re.findall(r"^\w+=(.*)", EXAMPLE, re.MULTILINE)) - {"", "''"}


def test_ports() -> None:
    """Only the server and the S3 are published, on loopback unless told otherwise."""
    services = containers.compose(FILLED)["services"]
    published = {name: each["ports"] for name, each in services.items() if "ports" in each}

    assert {"server": ["127.0.0.1:8000:8000"], "minio": ["127.0.0.1:9000:9000"]} == published


def test_waits() -> None:
    """Whoever is waited for is there and has a health check, in the file or in its image."""
    awaited = {
        (name, how["condition"]) for each in SERVICES.values() for name, how in each.get("depends_on", {}).items()
    }
    checked = {name for name, each in SERVICES.items() if each.get("healthcheck", {}).get("test")}
    checked |= {
        name for name, file in (("server", DOCKERFILE), ("minio", MINIO)) if containers.arguments(file, "HEALTHCHECK")
    }

    assert {(name, "service_healthy") for name in ("server", "postgresql", "elasticsearch", "minio")} == awaited
    assert {name for name, _ in awaited} == checked


def test_volumes() -> None:
    """Whatever keeps something keeps it in a named volume."""
    used = [each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", ())]

    assert sorted(containers.raw()["volumes"]) == sorted(used)
    assert {"server", "postgresql", "elasticsearch", "minio"} == set(used)


def test_minio_version() -> None:
    """It is the MinIO that tests run on."""
    (tested,) = re.findall(r"^minio_version=(\S+)$", (ROOT / "tests/services/install.sh").read_text(), re.MULTILINE)

    assert f"minio@{tested}\n" in MINIO.read_text()


def test_elasticsearch_version(elasticsearch_url: str) -> None:
    """It is the Elasticsearch that tests run on, unless they were told to run on another."""
    tested = requests.get(elasticsearch_url, timeout=30).json()["version"]["number"]

    assert ELASTICSEARCH_VERSION == tested
    assert SERVICES["elasticsearch"]["image"].endswith(f":{ELASTICSEARCH}")


@pytest.fixture
def processes(postgresql_url: str, elasticsearch_url: str, minio: S3, tmp_path: Path) -> Iterator[Processes]:
    """The services of the compose file, set up as example.env says; nothing runs yet but what they stand on."""
    port = str(free_port())
    environ = FILLED | {
        "S3_ACCESS_KEY": minio.access_key,
        "S3_SECRET_KEY": minio.secret_key,
        "S3_PUBLIC_ENDPOINT": minio.endpoint,
        "S3_BUCKET": "composed",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FHIR_BLOB_USERS": f"ada={hash_secret('composed')}",
    }
    places = {
        "@postgresql:5432": "@" + postgresql_url.partition("@")[2],
        "http://elasticsearch:9200": elasticsearch_url,
        "http://minio:9000": minio.endpoint,
        "/data": str(tmp_path),
        "0.0.0.0": "127.0.0.1",
        "8000": port,
    }
    services = containers.compose(environ)["services"]
    made = services["postgresql"]["environment"]
    with closing(psycopg.connect(f"{postgresql_url}/postgres", autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE {made['POSTGRES_USER']} LOGIN PASSWORD '{made['POSTGRES_PASSWORD']}'".encode())
        connection.execute(f"CREATE DATABASE {made['POSTGRES_DB']} OWNER {made['POSTGRES_USER']}".encode())
        processes = Processes(services, tmp_path, places)
        yield processes
        processes.end()
        connection.execute(f"DROP DATABASE {made['POSTGRES_DB']} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {made['POSTGRES_USER']}".encode())


def test_processes(processes: Processes, elasticsearch_url: str) -> None:
    """Server and indexer, started as the compose file says, work together: Elasticsearch finds what is stored."""
    unhealthy = processes.is_healthy("server")
    processes.start("server")
    wait_for(processes, "server")
    processes.start("indexer")
    url = processes.environment("server")["FHIR_BLOB_PUBLIC_URL"]
    client = Client(f"{url}/fhir")
    client.session.auth = ("ada", "composed")

    binary = client.create({"resourceType": "Binary", "contentType": "text/plain"})
    uploaded = requests.put(extension(binary["_data"], "presignedPutUrl"), data=b"composed", timeout=30)
    made = client.create(document(f"Binary/{binary['id']}"))
    end = time.monotonic() + START_SECONDS
    while (found := client.fhir("DocumentReference?identifier=urn:composed|1"))["total"] == 0:
        assert time.monotonic() < end, processes.log("indexer")  # it has only just been started
    (there,) = requests.get(
        f"{elasticsearch_url}/_cat/count/fhir-blob-*documentreference*?format=json", timeout=30
    ).json()
    link = extension(found["entry"][0]["resource"]["content"][0]["attachment"], "presignedGetUrl")

    assert (False, 200) == (unhealthy, uploaded.status_code)
    assert [made["id"]] == [entry["resource"]["id"] for entry in found["entry"]]
    assert "1" == there["count"]
    assert b"composed" == requests.get(link, timeout=30).content
    assert processes.is_running("indexer")
    assert [0, 0] == [processes.stop("indexer"), processes.stop("server")]


def wait_for(processes: Processes, name: str) -> None:
    """Until its health check passes."""
    end = time.monotonic() + START_SECONDS
    while not processes.is_healthy(name):
        assert processes.is_running(name), processes.log(name)
        assert time.monotonic() < end, processes.log(name)
        time.sleep(0.2)


def document(binary: str) -> dict[str, object]:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "identifier": [{"system": "urn:composed", "value": "1"}],
        "content": [{"attachment": {"contentType": "text/plain", "url": binary}}],
    }
