"""Counts of what the server did, for Prometheus: over all workers, whichever answers the scrape.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Seconds to answer by interaction and status; their count is how many there were."""

    def __init__(self) -> None:
        from prometheus_client import Histogram  # reads MULTIPROCESS when it is imported

        self._seconds = Histogram(
            "fhir_blob_request_seconds", "Time to answer a request.", ["interaction", "status"], registry=None
        )
        self._known: dict[tuple[str, str], Callable[[float], None]] = {}

    def observe(self, interaction: str, status: str, seconds: float) -> None:
        observe = self._known.get((interaction, status))
        if observe is None:
            observe = self._known[interaction, status] = self._seconds.labels(interaction, status).observe
        observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        if os.environ.get(MULTIPROCESS):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._seconds)
        return generate_latest(registry)


def collect_in(folder: Path) -> None:
    """Have every worker count in files of this folder, which is emptied: called before they start."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ[MULTIPROCESS] = str(folder)
