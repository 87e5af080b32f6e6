"""Who may come in, and what everybody may know: credentials, health, metrics, logs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import requests

from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer


def hashed(secret: str) -> str:
    """What `fhir-blob hash` prints of a secret on its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "fhir_blob", "hash"], input=f"{secret}\n", capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    return {"users": f"ann={hashed('pass:word')}", "tokens": f"robot={hashed('t0ken')}"}


def test_only_those_who_are_known_come_in(start_server: StartServer, hashes: dict[str, str]) -> None:
    """401 with a challenge and an OperationOutcome, on every route but health and metrics."""
    server = start_server(auth="required", **hashes)
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YW5uOndyb25n"},
        {"Authorization": "Digest x"},
    ]

    for headers in wrong:
        refused = Client(server.base, **headers).get("metadata")
        assert (401, ["Sign in with HTTP Basic or a Bearer token."]) == (refused.status_code, diagnostics(refused))
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    for path in ("fhir/Patient", "AwsAccount/x", "aws/storage/default/b/x"):
        assert 401 == requests.get(f"{server.url}/{path}", timeout=60).status_code
    assert 200 == requests.get(f"{server.base}/metadata", auth=("ann", "pass:word"), timeout=60).status_code
    assert 200 == Client(server.base, Authorization="Bearer t0ken").get("metadata").status_code
    assert 200 == requests.get(f"{server.url}/health", timeout=60).status_code


def test_health_names_each_part(server: Server) -> None:
    """Each part with its state and how long it took to answer."""
    ready = requests.get(f"{server.url}/health/ready", timeout=60).json()

    assert ("up", {"store", "s3"}) == (ready["status"], set(ready["parts"]))
    assert all(part["status"] == "up" and part["ms"] >= 0 for part in ready["parts"].values())


def test_metrics_count_over_all_workers(server: Server) -> None:
    """Whichever worker is asked, it tells of all requests."""
    for _ in range(20):
        requests.get(f"{server.base}/Patient/counted", timeout=60)

    text = requests.get(f"{server.url}/metrics", timeout=60).text

    line = next(
        line
        for line in text.splitlines()
        if line.startswith('fhir_blob_request_seconds_count{interaction="read",status="404"}')
    )
    assert float(line.split()[-1]) >= 20


def test_the_log_is_json_and_tells_no_secret(start_server: StartServer) -> None:
    """A line for each request with its id; no path, no name, no signature."""
    server = start_server()
    fhir = Client(server.base, **{"X-Request-Id": "mine-1"})

    answered = fhir("POST", "Patient", json={"resourceType": "Patient", "name": [{"family": "Secretname"}]})
    fhir.get("Patient?family=Secretname")
    fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    server.stop()

    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert "mine-1" == answered.headers["X-Request-Id"]
    mine = [(line["did"], line["status"]) for line in lines if line.get("request") == "mine-1"]
    assert [("create", 201), ("search-type", 200), ("create", 201)] == mine
    for secret in ("Secretname", "X-Amz", "Signature"):
        assert secret not in server.log


def test_a_browser_may_upload(server: Server) -> None:
    """S3 answers the preflight of a PUT by a presigned URL from any origin."""
    fhir = Client(server.base)
    binary = fhir.create({"resourceType": "Binary", "contentType": "image/png"})
    url = next(each["valueUrl"] for each in binary["_data"]["extension"] if each["url"].endswith("presignedPutUrl"))

    preflight = requests.options(
        url, headers={"Origin": "https://ehr.example", "Access-Control-Request-Method": "PUT"}, timeout=60
    )

    assert 200 == preflight.status_code
    assert preflight.headers["Access-Control-Allow-Origin"] in ("*", "https://ehr.example")
