"""`fhir-blob serve`: the parent process of the workers and of the embedded S3."""

from __future__ import annotations

import socket
from functools import partial
from urllib.parse import urlsplit

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from fhir_blob import app
from fhir_blob.api import metrics
from fhir_blob.api.lingering import Lingering
from fhir_blob.api.logs import Log
from fhir_blob.api.transfers import Connections
from fhir_blob.api.turns import Turns
from fhir_blob.settings import Settings, SettingsError

# Bytes of a request's line and headers: beyond it is 431, without an OperationOutcome.
_LARGEST_HEAD = 65_536


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; requests under way have `stop_seconds` to finish."""
    app.check(settings)
    address = _free_address(settings.host, settings.port)
    settings = app.with_s3(settings)
    app.prepare(settings)
    metrics.collect_in(settings.data.resolve() / "metrics")
    tell(settings)
    server = Server(
        "fhir_blob",
        address=address,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=_LARGEST_HEAD),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.stop_seconds,
    )
    server.serve(target_loader=partial(_worker, settings), wrap_loader=False)


def tell(settings: Settings) -> None:
    """Where everything is; and where clients elsewhere would get URLs of this machine's loopback, that they would."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = settings.public_url.rstrip("/") or f"http://{host}:{settings.port}"
    s3 = settings.s3_public_endpoint or settings.s3_endpoint
    print(f"FHIR base    {base}/fhir\nS3 endpoint  {s3 or 'AWS'}\nData         {settings.data.resolve()}", flush=True)
    if app.is_loopback(urlsplit(s3).hostname or "") and not app.is_loopback(urlsplit(base).hostname or ""):
        told = f"Presigned URLs lead to {s3}, which other machines cannot reach: set FHIR_BLOB_S3_PUBLIC_ENDPOINT."
        print(f"Note         {told}", flush=True)


def _free_address(host: str, port: int) -> str:
    """The IP address of the host. The workers share their port (SO_REUSEPORT): nobody else may listen there."""
    try:
        found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # IPv4 first
        family, address = found[0][0], str(found[0][4][0])
        socket.create_server((address, port), family=family).close()
        return address
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise SettingsError(
            f"FHIR_BLOB_HOST {host!r} and FHIR_BLOB_PORT {port} cannot be listened on: {reason}."
        ) from error


def _worker(settings: Settings) -> Flask:
    """What each worker process runs: its own connections, threads and caches."""
    services, log = app.wire(settings), Log(settings.log_level)
    app.start_worker(services, log)
    made = app.application(services, log)
    connections = Connections(made.wsgi_app, settings.port, settings.stall_seconds)
    is_alone = settings.database_url.startswith("sqlite") and services.external is None
    lingering = Lingering(Turns(connections) if is_alone else connections, settings.port)
    made.wsgi_app = lingering  # type: ignore[method-assign]
    connections.start()
    lingering.start()
    return made
