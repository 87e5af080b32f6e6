"""The composition root: what may be started, and the server as a Flask application of somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from fhir_blob import create_app
from fhir_blob.app import check
from fhir_blob.settings import Settings, SettingsError
from tests.services.server import Server


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"put_url_seconds": 603_900}, False),
        ({"put_url_seconds": 603_901}, True),
        ({"get_url_seconds": 604_800, "url_window_seconds": 1}, True),
        ({"get_url_seconds": 0}, True),
        ({"url_window_seconds": 0}, True),
    ],
)
def test_url_lifetimes(settings: dict[str, int], is_refused: bool, tmp_path: Path) -> None:
    """A URL that S3 would not take, good for more than seven days, is refused before anything starts."""
    try:
        check(Settings(data=tmp_path, **settings))
        refusal = ""
    except SettingsError as error:
        refusal = str(error)

    assert is_refused == ("604800 (7 days) at most" in refusal), refusal


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
