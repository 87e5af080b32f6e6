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
        body = orjson.dumps({"status": "up" if up else "down", "parts": parts})
        return Response(body, 200 if up else 503, content_type="application/json")

    @made.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return made


def _part(ping: Callable[[], None]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        ping()
    except FhirError as error:
        return {"status": "down", "reason": str(error)}
    return {"status": "up", "ms": round((time.perf_counter() - began) * 1000, 2)}
