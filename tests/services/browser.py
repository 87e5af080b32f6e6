"""A real browser: Chromium without a window, driven through its driver by the WebDriver protocol.

Source: https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.services import absent
from tests.services.server import free_port

_START_SECONDS = 60
_CALL_SECONDS = 90
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # it is small in containers
    "--disable-gpu",
)
_NO_DOWNLOADS = {"download_restrictions": 3}


class Browser:
    """One session of it: one window, with a cache that lasts as long as the session."""

    def __init__(self, driver: str, program: str) -> None:
        # Root has no sandbox: https://chromium.googlesource.com/chromium/src/+/HEAD/docs/linux/sandboxing.md
        arguments = [*_QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*_QUIET]
        options = {"binary": program, "args": arguments, "prefs": _NO_DOWNLOADS}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        self._driver = driver
        self._session = self._call("POST", "/session", capabilities={"alwaysMatch": wanted})["sessionId"]
        self._do("timeouts", script=60_000, pageLoad=60_000)

    def open(self, url: str) -> None:
        """Go there, and wait until it has loaded."""
        self._do("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What the JavaScript returns, or what its promise comes to; it sees the arguments as `arguments`."""
        return self._do("execute/sync", script=script, args=arguments)

    def cached(self, url: str) -> list[bool]:
        """For each time that it needed the URL since the last call of this, whether its own cache had it."""
        events = [json.loads(each["message"])["message"] for each in self._do("se/log", type="performance")]
        mine = {
            each["params"]["requestId"]
            for each in events
            if each["method"] == "Network.requestWillBeSent" and each["params"]["request"]["url"] == url
        }
        from_memory = {each["params"]["requestId"] for each in events if each["method"] == _FROM_MEMORY}
        answered = [each["params"] for each in events if each["method"] == "Network.responseReceived"]
        return [
            each["requestId"] in from_memory or each["response"]["fromDiskCache"]
            for each in answered
            if each["requestId"] in mine
        ]

    def close(self) -> None:
        self._call("DELETE", f"/session/{self._session}")

    def _do(self, command: str, **given: Any) -> Any:
        return self._call("POST", f"/session/{self._session}/{command}", **given)

    def _call(self, method: str, path: str, **given: Any) -> Any:
        answer = requests.request(method, self._driver + path, json=given, timeout=_CALL_SECONDS)
        value = answer.json()["value"]
        assert answer.ok, value["message"]
        return value


_FROM_MEMORY = "Network.requestServedFromCache"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for the run; skipped where Chromium or its driver is absent."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        absent("Chromium with chromium-driver")
    with _driving(driver, tmp_path_factory.mktemp("browser")) as url:
        opened = Browser(url, program)
        yield opened
        opened.close()


class _driving:
    """The driver as a process, ready; with it ends the browser."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self._port = program, folder, free_port()

    def __enter__(self) -> str:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, f"--port={self._port}"], stdout=log, stderr=log, cwd=self._folder
            )
        url, until = f"http://127.0.0.1:{self._port}", time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            with suppress(requests.ConnectionError):
                if requests.get(f"{url}/status", timeout=5).json()["value"]["ready"]:
                    return url
            time.sleep(0.1)
        self.__exit__()
        raise TimeoutError("The browser's driver is not ready.")

    def __exit__(self, *failure: object) -> None:
        self._process.terminate()
        self._process.wait(20)
