"""The composition root: the one place where backends are chosen and wired."""

from __future__ import annotations

import atexit
import ipaddress
import time
import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread

from flask import Flask

from fhir_blob.access import ANYBODY
from fhir_blob.access.credentials import Credentials
from fhir_blob.api import edge, fhir, health, storage
from fhir_blob.api.limits import Admission, RateLimit
from fhir_blob.api.logs import Log
from fhir_blob.api.metrics import Metrics
from fhir_blob.api.proxies import Proxies
from fhir_blob.api.transfers import TransferGate
from fhir_blob.blobs.accounts import open_accounts
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.blobs.seaweedfs import EmbeddedS3
from fhir_blob.blobs.secrets import Keys
from fhir_blob.blobs.signing import LONGEST_URL
from fhir_blob.errors import FhirError
from fhir_blob.interactions import Context, Services, binary
from fhir_blob.operations import conformance, erase, jobs
from fhir_blob.operations.indexing import Indexer
from fhir_blob.operations.reindexing import LOOK_SECONDS, Reindexing, look
from fhir_blob.search import ExternalIndex, SearchIndex
from fhir_blob.search.consistent import ConsistentIndex
from fhir_blob.search.sql.index import SqlIndex
from fhir_blob.settings import Settings, SettingsError, load
from fhir_blob.store import Blob, Transaction
from fhir_blob.store.sql import migrate, open_store

# How long the S3 may be out of reach untold: the embedded one starts beside the server.
_PATIENCE_SECONDS = 20.0


def create_app(settings: Settings | None = None) -> Flask:
    """A Flask application with all parts running; the embedded S3 is started where no other is set."""
    settings = settings or load()
    check(settings)
    settings = with_s3(settings)
    prepare(settings)
    services, log = wire(settings), Log(settings.log_level)
    start_worker(services, log)
    return application(services, log)


def prepare(settings: Settings) -> None:
    """What is done once, before any worker: the schema, and the conformance resources in the store."""
    open_folder(settings.data)
    migrate(settings.database_url)
    services = wire(settings)
    conformance.keep(services)
    services.store.close()


def application(services: Services, log: Log) -> Flask:
    """The routes and their edge around the services."""
    app = Flask("fhir_blob", static_folder=None)
    app.url_map.merge_slashes = False  # the keys of an S3 may have them
    settings, metrics = services.settings, Metrics()
    rate = RateLimit(settings.data / "rate-limit", settings.rate_limit) if settings.rate_limit else None
    admission = Admission(Credentials(settings), rate)
    app.register_blueprint(fhir.blueprint(services, admission), url_prefix="/fhir")
    app.register_blueprint(storage.blueprint(services, admission))
    app.register_blueprint(health.blueprint(services, metrics))
    edge.install(app, settings, metrics, log)
    return app


def wire(settings: Settings) -> Services:
    """Every part, chosen by the settings."""
    keys = Keys.load(settings.data, settings.secret_key)
    store = open_store(
        settings.database_url,
        statement_timeout=settings.statement_timeout,
        announces=bool(settings.elasticsearch),
    )
    accounts = open_accounts(settings, store, keys)

    def promote(tenant: str, transaction: Transaction, blob: Blob) -> Blob:
        return binary.promote(Context(services, replace(ANYBODY, tenant=tenant), ""), transaction, blob)

    lifecycle = Lifecycle(store, accounts, settings, clock, new_id, promote)
    gate = TransferGate(settings.max_transfers)
    secret, waiting = keys.derived("cursor"), Event()
    rows, external = SqlIndex(secret), _external(settings, secret)
    index: SearchIndex = rows if external is None else external
    if external is not None and settings.index_consistency == "strict":
        seconds = settings.index_wait_seconds
        index = ConsistentIndex(external, store.index_tasks, seconds=seconds, waiting=waiting)
    services = Services(settings, store, index, rows, accounts, lifecycle, gate, clock, new_id, external, waiting)
    look(store.index_tasks)
    return services


def _external(settings: Settings, secret: bytes) -> ExternalIndex | None:
    if not settings.elasticsearch:
        return None
    from fhir_blob.search.elasticsearch.index import ElasticsearchIndex  # its client takes 20 MB

    return ElasticsearchIndex(settings, secret)


def clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def new_id() -> str:
    """An id that is never used again, and sorts by time so that indexes stay compact (RFC 9562, version 7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    value = value & ~(0xF000 << 64) | (0x7000 << 64)
    value = value & ~(0xC000 << 48) | (0x8000 << 48)
    return str(uuid.UUID(int=value))


def check(settings: Settings) -> None:
    """SettingsError for what must not be started."""
    if settings.auth == "none" and not is_loopback(settings.host):
        raise SettingsError(
            f"FHIR_BLOB_HOST is {settings.host!r}, but FHIR_BLOB_AUTH is 'none': everybody there could read and"
            " erase everything. Set FHIR_BLOB_AUTH=required and FHIR_BLOB_USERS or FHIR_BLOB_TOKENS."
        )
    if settings.max_transfers >= settings.threads:
        raise SettingsError("FHIR_BLOB_MAX_TRANSFERS has to be below FHIR_BLOB_THREADS, so that reads go on.")
    if settings.rate_limit < 0:
        raise SettingsError(f"FHIR_BLOB_RATE_LIMIT cannot be {settings.rate_limit}: it takes 1 or more, or 0 for none.")
    Proxies(settings.trusted_proxies)
    Credentials(settings)
    for seconds in (settings.put_url_seconds, settings.get_url_seconds):
        _check_lifetime(seconds, settings.url_window_seconds)
    open_folder(settings.data)


def open_folder(data: Path) -> None:
    """Make the data folder where it is missing; SettingsError where nothing can be written there."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=data):
            pass
    except OSError as error:
        raise SettingsError(
            f"FHIR_BLOB_DATA is {str(data)!r}, where nothing can be written: {error.strerror}."
        ) from error


def _check_lifetime(seconds: int, window: int) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    if seconds < 1 or window < 1 or seconds + window > LONGEST_URL:
        raise SettingsError(
            f"URLs would be good for {seconds} seconds and a window of {window}: FHIR_BLOB_PUT_URL_SECONDS,"
            " FHIR_BLOB_GET_URL_SECONDS and FHIR_BLOB_URL_WINDOW_SECONDS take 1 or more, and the window with either of"
            f" the others {LONGEST_URL} (7 days) at most, which is as long as S3 takes a signature."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_s3(settings: Settings) -> Settings:
    """The settings, with those of the embedded S3 where no bucket is set; it ends with this process."""
    if not settings.embedded_s3:
        return settings
    embedded = EmbeddedS3(settings.data / "s3", settings.s3_embedded_port)
    embedded.start()
    atexit.register(embedded.stop)
    return replace(
        settings,
        s3_endpoint=embedded.endpoint,
        s3_public_endpoint=settings.s3_public_endpoint or embedded.endpoint,
        s3_bucket="fhir-blob",
        s3_access_key_id=embedded.access_key,
        s3_secret_access_key=embedded.secret_key,
        s3_path_style=True,
    )


def start_worker(services: Services, log: Log) -> Event:
    """The threads that do what a commit left to be done outside the database; set the event to end them."""
    stop = Event()
    Thread(target=_work, args=(services, log, stop), name="outbox", daemon=True).start()
    Thread(target=_jobs, args=(services, log, stop), name="jobs", daemon=True).start()
    Thread(target=_erasures, args=(services, log, stop), name="erasures", daemon=True).start()
    if services.external is not None and services.settings.index_worker:
        Thread(target=indexer(services, log).run, args=(stop,), name="indexer", daemon=True).start()
    return stop


def _jobs(services: Services, log: Log, stop: Event) -> None:
    while not stop.wait(LOOK_SECONDS):
        try:
            jobs.run_due(services, reindexing(services))
        except FhirError as error:
            log.warning("a job waits", **error.for_operator())


def _erasures(services: Services, log: Log, stop: Event) -> None:
    while not stop.wait(LOOK_SECONDS):
        try:
            erase.run_due(services, log.warning)
        except FhirError as error:
            log.warning("erasures wait", **error.for_operator())


def reindexing(services: Services) -> Reindexing:
    settings = services.settings
    base = settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}"
    return Reindexing(services.store, services.external, f"{base}/fhir")


def indexer(services: Services, log: Log) -> Indexer:
    """Fills the index outside the database."""
    assert services.external is not None  # who calls this has one
    lease = 3 * services.settings.elasticsearch_timeout
    return Indexer(services.store.index_tasks, services.external, services.waiting, log.warning, lease=lease)


def _work(services: Services, log: Log, stop: Event) -> None:
    bucket_is_there = False
    well = time.monotonic()
    while not stop.wait(1.0):
        try:
            if not bucket_is_there:
                services.accounts.default.ensure_bucket(services.settings.cors_origins.split())
                bucket_is_there = True
            look(services.store.index_tasks)
            while services.lifecycle.run_due(50):
                pass
            well = time.monotonic()
        except FhirError as error:
            if time.monotonic() - well > _PATIENCE_SECONDS:
                log.warning("outbox waits", **error.for_operator())
