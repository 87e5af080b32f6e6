"""What a front end in a browser does with the server and its S3, from an origin of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.client import Client
from tests.services.browser import Browser
from tests.services.s3 import S3
from tests.services.server import Server, start

_RUNS = "parent.postMessage('{}', '*')"
_SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{_RUNS.format("svg")}</script></svg>'
_HTML = f"<!doctype html><title>x</title><script>{_RUNS.format('html')}</script>"


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A page in the browser, and the FHIR server that it works with."""

    browser: Browser
    page: str
    fhir: str

    def open(self) -> None:
        self.browser.open(self.page)

    def __call__(self, function: str, *arguments: Any) -> Any:
        """What that function of the page comes to."""
        return self.browser.run(f"return {function}(...arguments)", *arguments)


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the front end's page; beside it, files whose scripts run."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text((Path(__file__).parent / "front_end.html").read_text())
    (folder / "script.svg").write_text(_SVG)
    (folder / "script.html").write_text(_HTML)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def minio_server(minio: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = {"s3_access_key_id": minio.access_key, "s3_secret_access_key": minio.secret_key}
    started = start(
        tmp_path_factory.mktemp("minio-server"), s3_endpoint=minio.endpoint, s3_bucket="browser", workers=1, **keys
    )
    yield started
    started.kill()


@pytest.fixture(params=["server", "minio_server"])
def front_end(request: pytest.FixtureRequest, browser: Browser, page: str) -> FrontEnd:
    """On the embedded S3, then on MinIO."""
    started: Server = request.getfixturevalue(request.param)
    opened = FrontEnd(browser, page, started.base)
    opened.open()
    return opened


def test_photo(front_end: FrontEnd) -> None:
    """A photo goes from the page to S3 by its PUT URL, on to the Patient, and an <img> shows it."""
    made = front_end("patientWithPhoto", front_end.fhir, 20)

    shown = front_end("shownPhoto", front_end.fhir, made["id"])

    assert (20, False) == (shown["width"], shown["url"].startswith(front_end.fhir))


def test_headers(front_end: FrontEnd) -> None:
    """A script of another origin can read the headers that a FHIR client works with."""
    made = front_end("patientWithPhoto", front_end.fhir, 4)

    headers = made["headers"]
    expected = {
        "201 Location": rf"{re.escape(front_end.fhir)}/Patient/{made['id']}/_history/1",
        "201 ETag": r'W/"1"',
        "200 ETag": r'W/"2"',
        "200 Last-Modified": r"\w{3}, .* GMT",
        "200 X-Request-Id": r"\w+",
    }
    assert expected.keys() == headers.keys()
    assert [] == [name for name, pattern in expected.items() if not re.fullmatch(pattern, headers[name] or "")]


def test_cached(front_end: FrontEnd) -> None:
    """A photo that is seen again has the same URL, and comes from the browser's cache."""
    made = front_end("patientWithPhoto", front_end.fhir, 8)
    first = front_end("shownPhoto", front_end.fhir, made["id"])
    fetched = front_end.browser.cached(first["url"])
    front_end.browser.open("about:blank")
    front_end.open()

    second = front_end("shownPhoto", front_end.fhir, made["id"])

    assert first == second
    assert ([False], [True]) == (fetched, front_end.browser.cached(second["url"]))


def test_no_script(front_end: FrontEnd) -> None:
    """What was uploaded runs no script, opened from the server or from S3, though the same file elsewhere does."""
    client = Client(front_end.fhir)
    uploaded = [("image/svg+xml", _SVG), ("text/html", _HTML), ("application/xhtml+xml", _HTML), ("text/plain", _HTML)]
    ids = [client.uploaded(body.encode(), content_type) for content_type, body in uploaded]
    raw = [f"{front_end.fhir}/Binary/{id}" for id in ids]
    signed = [client.get(f"Binary/{id}/$presigned-url", Accept="application/fhir+json") for id in ids]
    urls = [each.json()["parameter"][0]["valueUrl"] for each in signed]

    there = front_end("toldByFrames", [*raw, *urls], 1500)
    elsewhere = front_end("toldByFrames", [f"{front_end.page}script.svg", f"{front_end.page}script.html"], 1500)

    assert ([], ["html", "svg"]) == (there, sorted(elsewhere))
