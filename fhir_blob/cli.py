"""The command line: serve, settings, init, index-worker, reindex, verify-index, sweep, hash."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from fhir_blob import __version__
from fhir_blob.blobs import BlobStore
from fhir_blob.errors import FhirError, Unavailable
from fhir_blob.settings import Settings, SettingsError, load, variable

_S3_TRIES = 15
_USERINFO = re.compile(r"(://)[^/@\s]*@")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; what cannot be done ends it with one sentence and status 2."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except (SettingsError, FhirError) as error:
        told = error.for_operator().values() if isinstance(error, FhirError) else (str(error),)
        print("fhir-blob:", " ".join(told), file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fhir-blob",
        description="A FHIR R4 server for the resources that carry bytes.",
        epilog="Every setting is an environment variable: `fhir-blob settings` shows them all.",
    )
    parser.add_argument("--version", action="version", version=f"fhir-blob {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "serve", _serve, "start the server")
    _command(commands, "settings", _settings, "show every setting, as it is now and what it means; no secrets")
    _command(commands, "init", _init, "make the database schema and the bucket, then end")
    _command(commands, "index-worker", _index_worker, "fill Elasticsearch with what was written, until stopped")
    reindex = _command(commands, "reindex", _reindex, "make the search index anew while the server goes on")
    verify = _command(commands, "verify-index", _verify_index, "compare the search index with the store")
    verify.add_argument("--repair", action="store_true", help="mend what differs")
    for each in (reindex, verify):
        each.add_argument("--type", action="append", default=[], help="a resource type; without it all of them")
    sweep = _command(commands, "sweep", _sweep, "find uploads that were never completed and objects that nothing knows")
    sweep.add_argument("--erase", action="store_true", help="erase them too; without it nothing is changed")
    _command(commands, "hash", _hash, "hash a password or token for FHIR_BLOB_USERS and FHIR_BLOB_TOKENS")
    return parser


def _command(commands: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.set_defaults(run=run)
    return command


def _serve(parsed: argparse.Namespace) -> None:
    from fhir_blob import serve

    settings = load()
    _forget_secrets()
    serve.serve(settings)


def _init(parsed: argparse.Namespace) -> None:
    from fhir_blob import app

    settings = load()
    app.check(settings)
    app.prepare(settings)
    if not settings.embedded_s3:
        app.wire(settings).accounts.default.ensure_bucket(settings.cors_origins.split())
    print("The database schema is there." if settings.embedded_s3 else "The database schema and the bucket are there.")


def _settings(parsed: argparse.Namespace) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # it may be piped into what reads no more than it wants
    settings = load()
    for each in fields(Settings):
        value = getattr(settings, each.name)
        text = str(value).lower() if isinstance(value, bool) else _USERINFO.sub(r"\1…@", str(value))
        shown = "…" if each.metadata["secret"] and value else text
        print(f"{variable(each.name)}={shown}\n    {each.metadata['help']}")


def _sweep(parsed: argparse.Namespace) -> None:
    from fhir_blob import app
    from fhir_blob.blobs.sweep import Sweep

    settings = load()
    app.check(settings)
    app.prepare(settings)
    services = app.wire(app.with_s3(settings))
    _wait_for(services.accounts.default, settings)
    sweep = Sweep(services.store, services.accounts, services.lifecycle, settings)
    print(sweep.run(now=services.clock(), dry_run=not parsed.erase).text())


def _index_worker(parsed: argparse.Namespace) -> None:
    from threading import Event, Thread

    from fhir_blob import app
    from fhir_blob.api.logs import Log

    settings = load()
    app.prepare(settings)
    services, stop = app.wire(settings), Event()
    if services.external is None:
        raise SettingsError("FHIR_BLOB_ELASTICSEARCH is not set: the database itself answers searches.")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    log = Log(settings.log_level)
    # Two: one finds values while the cluster takes what the other found.
    other = Thread(target=app.indexer(services, log).run, args=(stop,), name="indexer")
    other.start()
    app.indexer(services, log).run(stop)
    other.join()


def _reindex(parsed: argparse.Namespace) -> None:
    from fhir_blob.operations.progress import Bar

    reindexing, types = _reindexing(parsed.type)
    bar = Bar(types)
    done = reindexing.run(types, bar.show)
    bar.end()
    print(f"{done} resources of {len(types)} type{'s' * (len(types) > 1)} stand in the index anew.")


def _verify_index(parsed: argparse.Namespace) -> None:
    """Status 1 where something differs."""
    from fhir_blob import app
    from fhir_blob.operations.verifying import differences, repair

    reindexing, types = _reindexing(parsed.type)
    found = list(differences(reindexing, types))
    for each in found:
        print(f"{each.name} {each.what}.")
    if parsed.repair:
        repair(reindexing, found, now=app.clock())
    print(f"{len(found)} difference{'s' * (len(found) != 1)}{', mended' if parsed.repair and found else ''}.")
    sys.exit(1 if found else 0)


def _reindexing(names: Sequence[str]) -> tuple[Any, list[str]]:
    from fhir_blob import app
    from fhir_blob.fhir.definitions import definitions

    unknown = [each for each in names if each not in definitions().types]
    if unknown:
        raise SettingsError(f"--type {unknown[0]!r} is no resource type of FHIR R4.")
    settings = load()
    app.prepare(settings)
    return app.reindexing(app.wire(settings)), list(names or definitions().types)


def _wait_for(bucket: BlobStore, settings: Settings) -> None:
    """The embedded S3 takes some seconds after its start; another one that is away stays Unavailable."""
    for left in reversed(range(_S3_TRIES)):
        try:
            bucket.ensure_bucket(settings.cors_origins.split())
            return bucket.ping()
        except Unavailable:
            if not left:
                raise
            time.sleep(1)


def _hash(parsed: argparse.Namespace) -> None:
    from fhir_blob.access.credentials import hash_secret

    secret = getpass.getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    print(hash_secret(secret))


def _forget_secrets() -> None:
    """Take secrets out of the environment: the WSGI server copies it into every request."""
    for each in fields(Settings):
        if each.metadata["secret"]:
            os.environ.pop(variable(each.name), None)
