"""/health, /health/ready and /metrics: is it alive, can it work, what did it do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response

from fhir_blob.api.metrics import Metrics
from fhir_blob.errors import FhirError
from fhir_blob.interactions import Services
from fhir_blob.search import ExternalIndex
from fhir_blob.store.queue import IndexTasks


def blueprint(services: Services, metrics: Metrics) -> Blueprint:
    """Open to everybody: they tell nothing of what is stored."""
    made = Blueprint("health", __name__)

    @made.get("/health")
    def alive() -> Response:
        return Response(b'{"status":"up"}', content_type="application/json")

    @made.get("/health/ready")
    def ready() -> Response:
        parts = {
            "store": _part(services.store.ping),
            "s3": _part(services.accounts.default.ping),
        }
        up = all(part["status"] == "up" for part in parts.values())
        if services.external is not None:
            parts["elasticsearch"] = _index(services.external, services.store.index_tasks)
        body = orjson.dumps({"status": "up" if up else "down", "parts": parts})
        return Response(body, 200 if up else 503, content_type="application/json")

    @made.get("/metrics")
    def scrape() -> Response:
        waiting = None if services.external is None else services.store.index_tasks.backlog()
        return Response(metrics.exposition(waiting), content_type="text/plain; version=0.0.4; charset=utf-8")

    return made


def _index(index: ExternalIndex, tasks: IndexTasks) -> dict[str, Any]:
    """Writes go on without it, and searches say that they are behind: it is told, and keeps nobody from working."""
    waiting = tasks.backlog()
    lag = 0.0 if waiting.oldest is None else max(0.0, time.time() - waiting.oldest / 1_000_000)
    return {**_part(index.ping), "waiting": waiting.waiting, "lag_s": round(lag, 1), "set_aside": waiting.set_aside}


def _part(ping: Callable[[], None]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        ping()
    except FhirError as error:
        return {"status": "down", "reason": str(error)}
    return {"status": "up", "ms": round((time.perf_counter() - began) * 1000, 2)}
