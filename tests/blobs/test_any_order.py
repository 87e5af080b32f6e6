"""Clients, servers and time in any order: a machine that hypothesis drives, on a real S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fhir_blob.store import Blob
from tests.blobs.conftest import MakeWorld
from tests.blobs.world import HOUR, TENANT, Fate, Killed, World, try_

_BODIES = st.sampled_from([b"", b"one", b"another one"])
_INDEX = st.integers(0, 1_000)


class AnyOrder(RuleBasedStateMachine):
    """What is available stays what it was recorded as, until it is deleted; in the end nothing else stays."""

    make_world: MakeWorld

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self.make_world()
        self.urls: list[str] = []
        self.blobs: list[Blob] = []
        self.recorded: dict[str, tuple[str, bytes]] = {}

    def _blob(self, index: int) -> Blob:
        return self.blobs[index % len(self.blobs)]

    @rule(size=st.sampled_from([None, 3]))
    def offer(self, size: int | None) -> None:
        blob = self.world.offer(declared_size=size)
        self.blobs.append(blob)
        self.urls.append(self.world.life.signed_put(TENANT, blob, seconds=7 * 24 * HOUR).url)

    @precondition(lambda self: self.urls)
    @rule(index=_INDEX, body=_BODIES)
    def put_by_url(self, index: int, body: bytes) -> None:
        assert requests.put(self.urls[index % len(self.urls)], data=body, timeout=30).ok

    @precondition(lambda self: self.blobs)
    @rule(index=_INDEX)
    def complete(self, index: int) -> None:
        try_(lambda: self.world.complete(self._blob(index)))

    @precondition(lambda self: self.blobs)
    @rule(index=_INDEX, calls=st.integers(1, 6))
    def complete_and_die(self, index: int, calls: int) -> None:
        fate = Fate(calls)
        with suppress(Killed):
            try_(lambda: self.world.complete(self._blob(index), self.world.lifecycle(fate.before, fate.after)))

    @precondition(lambda self: self.blobs)
    @rule(index=_INDEX)
    def delete(self, index: int) -> None:
        self.world.delete(self._blob(index))

    @rule(hours=st.sampled_from([1, 26]))
    def time_goes_by(self, hours: int) -> None:
        self.world.clock.move(hours * HOUR)

    @rule()
    def work(self) -> None:
        self.world.work()

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @invariant()
    def what_is_available_stays(self) -> None:
        for row in self.world.rows():
            if row.state == "available":
                now = (row.sha256, self.world.body(row))
                assert self.recorded.setdefault(row.id, now) == now
            else:
                assert row.id not in self.recorded or row.state in ("deleting", "deleted")

    def teardown(self) -> None:
        self.world.clock.move(8 * 24 * HOUR)
        self.world.settle()
        assert [] == self.world.wrong()


@pytest.fixture
def machine(make_world: MakeWorld) -> Iterator[type[AnyOrder]]:
    yield type("AnyOrder", (AnyOrder,), {"make_world": staticmethod(make_world)})


def test_any_order(machine: type[AnyOrder]) -> None:
    """No order of uploads, replays, completions, deaths, deletions, sweeps and days breaks the life cycle."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
