"""Calls that wait for S3, several at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import pytest

from fhir_blob.interactions import parallel
from fhir_blob.interactions.parallel import HELPERS


class Gauge:
    """Counts who is inside, and the most that have been."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._turn = Lock()

    def visit(self, number: int) -> None:
        with self._turn:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self._turn:
            self.now -= 1


def test_as_many_as_helpers_and_the_caller() -> None:
    """One caller has all helpers."""
    gauge = Gauge()

    parallel.each(gauge.visit, range(100))

    assert HELPERS + 1 == gauge.most


def test_callers_share_the_helpers_and_wait_for_none() -> None:
    """Five callers at once are five and the helpers; the helpers are free again afterwards, also after failures."""
    gauge = Gauge()

    def fail(number: int) -> None:
        gauge.visit(number)
        raise ValueError(number)

    with ThreadPoolExecutor(5) as callers:
        list(callers.map(lambda _: parallel.each(gauge.visit, range(30)), range(5)))
    shared, gauge.most = gauge.most, 0
    with pytest.raises(ValueError, match="0"):
        parallel.each(fail, range(30))
    parallel.each(gauge.visit, range(30))

    assert (True, HELPERS + 1) == (shared <= HELPERS + 5, gauge.most)


def test_the_first_failure_is_told_and_no_more_is_begun() -> None:
    """The first in the order of what was given, though another came before it; what is under way ends first."""
    begun: list[int] = []
    late = Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            late.wait(10)
            raise ValueError("first")
        if number == 3:
            late.set()
            raise ValueError("second")
        late.wait(10)
        time.sleep(0.05)

    with pytest.raises(ValueError, match="first"):
        parallel.each(work, range(1000))

    assert len(begun) <= 2 * (HELPERS + 1)


def test_nothing_and_one() -> None:
    """No helper is needed."""
    seen: list[int] = []

    parallel.each(seen.append, [])
    parallel.each(seen.append, [7])

    assert [7] == seen
