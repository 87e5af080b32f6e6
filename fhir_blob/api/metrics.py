"""Counts of what the server did, for Prometheus: over all workers, whichever answers the scrape.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Requests by interaction and status, their seconds, and gauges read when scraped."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram  # reads MULTIPROCESS when it is imported

        self._requests = Counter("fhir_blob_requests", "Requests answered.", ["interaction", "status"], registry=None)
        self._seconds = Histogram("fhir_blob_request_seconds", "Time to answer.", ["interaction"], registry=None)
        self._known: dict[tuple[str, int], Callable[[float], None]] = {}

    def observe(self, interaction: str, status: int, seconds: float) -> None:
        observe = self._known.get((interaction, status))
        if observe is None:
            observe = self._known[interaction, status] = self._observer(interaction, status)
        observe(seconds)

    def _observer(self, interaction: str, status: int) -> Callable[[float], None]:
        count = self._requests.labels(interaction, str(status)).inc
        time = self._seconds.labels(interaction).observe

        def observe(seconds: float) -> None:
            count()
            time(seconds)

        return observe

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        if os.environ.get(MULTIPROCESS):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._requests)
            registry.register(self._seconds)
        return generate_latest(registry)


def collect_in(folder: Path) -> None:
    """Have every worker count in files of this folder, which is emptied: called before they start."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ[MULTIPROCESS] = str(folder)
