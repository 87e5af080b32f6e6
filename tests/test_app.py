"""The server as a Flask application of somebody's own."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from fhir_blob import create_app
from fhir_blob.settings import Settings
from tests.services.server import Server


def test_mounted_in_another_application(server: Server, tmp_path: Path) -> None:
    """Below a path of that application its links name the path; the other's routes stay."""
    own = Flask("own")
    own.add_url_rule("/hello", "hello", lambda: "hello")
    mounted = create_app(Settings(data=tmp_path, s3_bucket="unused", s3_endpoint=server.url, log_level="error"))
    client = Client(DispatcherMiddleware(own, {"/ehr": mounted}))

    made = client.post("/ehr/fhir/Patient", json={"resourceType": "Patient"})

    assert 201 == made.status_code
    assert made.headers["Location"].startswith("http://localhost/ehr/fhir/Patient/")
    assert "hello" == client.get("/hello").text
    assert 404 == client.get("/ehr/nothing").status_code
