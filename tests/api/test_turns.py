"""Reads take turns, and nobody waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_blob.api.turns import Turns


class Application:
    """It answers after so many seconds, and counts how many it answers at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now, self.most = seconds, 0, 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1
        if environ.get("fails"):
            raise ValueError("it failed")
        return [b"answer"]


def ask(turns: Turns, count: int, **environ: Any) -> None:
    def one(_: int) -> None:
        assert [b"answer"] == list(turns({"REQUEST_METHOD": "GET", "PATH_INFO": "/fhir/Patient/1", **environ}, None))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(one, range(count)))


def test_one_at_a_time() -> None:
    """Where each is quick enough for the others to wait."""
    application = Application(0.001)

    ask(Turns(application, wait=60), 30)

    assert 1 == application.most


@pytest.mark.parametrize(
    ("seconds", "environ"),
    [(0.1, {}), (0.003, {"REQUEST_METHOD": "POST"}), (0.003, {"PATH_INFO": "/fhir/Binary/1"})],
)
def test_nobody_waits_for_what_is_slow(seconds: float, environ: dict[str, str]) -> None:
    """Nor for writes and raw bytes."""
    application = Application(seconds)

    ask(Turns(application), 6, **environ)

    assert 2 <= application.most


def test_one_that_is_slow() -> None:
    """Who comes after it has had its time goes on at once, as many as they are."""
    slow, quick = Application(0.6), Application(0)
    turns = Turns(lambda environ, start: (slow if "slow" in environ else quick)(environ, start), wait=0.05)

    with ThreadPoolExecutor(1) as threads:
        search = threads.submit(turns, {"REQUEST_METHOD": "GET", "slow": True}, None)
        time.sleep(0.1)
        began = time.perf_counter()
        ask(turns, 100)
        took = time.perf_counter() - began
        search.result()

    assert took < 0.4


def test_a_failure_gives_the_turn_back() -> None:
    """The next is not kept waiting."""
    application = Application(0)
    turns = Turns(application, wait=1)

    with pytest.raises(ValueError, match="it failed"):
        turns({"REQUEST_METHOD": "GET", "fails": True}, None)
    began = time.perf_counter()
    ask(turns, 100)

    assert time.perf_counter() - began < 0.5
