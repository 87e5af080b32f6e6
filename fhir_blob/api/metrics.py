"""Counts of what the server did, for Prometheus: over all workers, whichever answers the scrape.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from fhir_blob.store.queue import Backlog

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
# Of a process's file: room for 600 pairs of interaction and status.
_FILE_BYTES = 2 << 20


class Metrics:
    """Seconds to answer by interaction and status; their count is how many there were."""

    def __init__(self) -> None:
        folder = os.environ.get(MULTIPROCESS)
        if folder and not _is_reserved(Path(folder) / f"histogram_{os.getpid()}.db"):
            del os.environ[MULTIPROCESS]  # each process counts for itself
        from prometheus_client import (
            Histogram,  # reads MULTIPROCESS when it is imported
        )

        self._seconds = Histogram(
            "fhir_blob_request_seconds", "Time to answer a request.", ["interaction", "status"], registry=None
        )
        self._known: dict[tuple[str, str], Callable[[float], None]] = {}

    def observe(self, interaction: str, status: str, seconds: float) -> None:
        observe = self._known.get((interaction, status))
        if observe is None:
            observe = self._known[interaction, status] = self._seconds.labels(interaction, status).observe
        observe(seconds)

    def exposition(self, waiting: Backlog | None = None) -> bytes:
        """The text that Prometheus scrapes; `waiting` is the backlog of an index outside the database."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        if os.environ.get(MULTIPROCESS):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._seconds)
        return generate_latest(registry) + (b"" if waiting is None else _told(waiting))


def _told(waiting: Backlog) -> bytes:
    """Of the database, the same whichever worker is asked, so that no worker counts it."""
    lag = 0.0 if waiting.oldest is None else max(0.0, time.time() - waiting.oldest / 1_000_000)
    gauges = (
        ("fhir_blob_index_waiting", "Writes that the index has yet to hear of.", waiting.waiting),
        ("fhir_blob_index_lag_seconds", "Age of the oldest of them.", round(lag, 3)),
        ("fhir_blob_index_set_aside", "Resources that the index refuses.", waiting.set_aside),
    )
    return "".join(
        f"# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n" for name, help, value in gauges
    ).encode()


def _is_reserved(path: Path) -> bool:
    """Whether the file that this process counts in, in memory shared with it, has its room on the disk.

    It would have holes else, and whoever writes into one when the disk is full is ended (SIGBUS).
    """
    try:
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
    except OSError:
        path.unlink(missing_ok=True)
        return False
    return True


def collect_in(folder: Path) -> None:
    """Have every worker count in files of this folder, which is emptied: called before they start."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ[MULTIPROCESS] = str(folder)
