"""A life cycle on a real S3 and a real database, whose clock can be moved and whose calls can be cut short."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import requests

from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.sweep import Sweep, SweepReport
from fhir_blob.errors import FhirError, Gone, NotFound
from fhir_blob.settings import Settings
from fhir_blob.store import Blob, Transaction
from fhir_blob.store.sql import SqlStore

TENANT = "tests"
BUCKET = "life"
SECOND = 1_000_000
HOUR = 3_600
STATES = ("pending", "verifying", "available", "rejected", "deleting", "deleted")
# The calls that reach the database or S3: between any two of them a server can die.
CALLS = frozenset(
    [
        "read",
        "write",
        "claim",
        "finish",
        "postpone",
        "blobs_in_state",
        "knows_object",
        "head",
        "open",
        "put",
        "copy",
        "delete",
        "list",
        "blob_places",
        "multipart_uploads",
        "abort",
    ]
)

Hook = Callable[[str], None]


class Clock:
    """The real time, and what a test has added to it."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.ahead

    def move(self, seconds: int) -> None:
        self.ahead += seconds * SECOND


class Tapped:
    """The same object, but `before` and `after` hear of each call by its name."""

    def __init__(self, target: Any, before: Hook, after: Hook) -> None:
        self._target, self._before, self._after = target, before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in CALLS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._before(name)
            result = found(*arguments, **named)
            try:
                self._after(name)
            except BaseException:
                if name == "open" and result is not None:
                    result.close()
                raise
            return result

        return call


class OneAccount:
    """Accounts with the default one alone, whatever its name; but 'lost' is not known."""

    def __init__(self, default: Any) -> None:
        self.default = default

    def store(self, tenant: str, account: str) -> Any:
        if account == "lost":
            raise NotFound("AwsAccount/lost is not known.")
        return self.default


class World:
    def __init__(self, store: SqlStore, objects: S3BlobStore, **settings: Any) -> None:
        self.store, self.objects, self.clock = store, objects, Clock()
        self.settings = Settings(**settings)
        self.gone: set[str] = set()
        self.life = self.lifecycle()
        for each in objects.list(BUCKET, ""):
            objects.delete(BUCKET, each.key)

    def lifecycle(self, before: Hook = lambda name: None, after: Hook = lambda name: None) -> Lifecycle:
        """A server of its own on the same database and bucket."""
        store: Any = Tapped(self.store, before, after)
        accounts: Any = OneAccount(Tapped(self.objects, before, after))
        return Lifecycle(store, accounts, self.settings, self.clock, lambda: uuid.uuid4().hex, self._promote)

    def sweep(self, life: Lifecycle | None = None, *, dry_run: bool = False, ahead: int = 0) -> SweepReport:
        life = life or self.life
        return Sweep(life._store, life._accounts, life, self.settings).run(
            now=self.clock() + ahead * SECOND, dry_run=dry_run
        )

    def offer(self, *, version: int | None = 1, content_type: str = "text/plain", **given: Any) -> Blob:
        """A committed row that waits for its upload."""
        given.setdefault("binary_id", uuid.uuid4().hex)
        blob = self.life.offer(version=version, content_type=content_type, creator="tests", **given)
        self.put(blob)
        return blob

    def put(self, blob: Blob) -> None:
        self.store.write(TENANT, lambda transaction: transaction.put_blob(blob))

    def upload(self, blob: Blob, body: bytes) -> str:
        """Put the body by a presigned URL, as a client does; that URL."""
        url = self.life.signed_put(TENANT, blob).url
        replay(url, body)
        return url

    def uploaded(self, body: bytes, **given: Any) -> Blob:
        blob = self.offer(**given)
        self.upload(blob, body)
        return blob

    def completed(self, body: bytes, **given: Any) -> Blob:
        return self.complete(self.uploaded(body, **given))

    def complete(self, blob: Blob, life: Lifecycle | None = None) -> Blob:
        return (life or self.life).complete(TENANT, blob.id, at_once_limit=None)

    def write(self, body: bytes, life: Lifecycle | None = None, **given: Any) -> Blob:
        """Bytes through the server, and their row in the transaction that stores the resource."""
        life = life or self.life
        given.setdefault("binary_id", uuid.uuid4().hex)
        offered = life.offer(version=None, content_type="text/plain", creator="tests", pending_key="", **given)
        written = life.write(TENANT, offered, (body,), len(body)).with_(version=1)
        store: Any = life._store
        store.write(TENANT, lambda transaction: transaction.put_blob(written))
        return written

    def delete(self, blob: Blob, life: Lifecycle | None = None) -> None:
        """As the delete interaction does."""
        life = life or self.life

        def work(transaction: Transaction) -> None:
            transaction.lock_binary(blob.binary_id)
            life.delete(transaction, blob.binary_id, now=self.clock())

        store: Any = life._store
        store.write(TENANT, work)
        self.gone.add(blob.binary_id)

    def row(self, blob: Blob) -> Blob:
        with self.store.read(TENANT) as reader:
            found = reader.blob_by_id(blob.id)
        assert found is not None
        return found

    def body(self, blob: Blob) -> bytes:
        """The bytes of the row as it is now."""
        return self.life.read_all(TENANT, self.row(blob))

    def keys(self) -> set[str]:
        return {each.key for each in self.objects.list(BUCKET, "")}

    def work(self, life: Lifecycle | None = None) -> None:
        """All that is due."""
        while (life or self.life).run_due(50):
            pass

    def settle(self) -> None:
        """Whatever had happened: leases end, the outbox and the sweep run, until every task was due twice."""
        self.work()
        for seconds in (2 * HOUR, 30 * HOUR, 60 * HOUR):
            self.clock.move(seconds)
            self.work()
            self.sweep()
            self.work()

    def rows(self) -> list[Blob]:
        far = self.clock() + 10_000 * HOUR * SECOND
        return [row for state in STATES for _, row in self.store.blobs_in_state(state, before=far, limit=1_000)]  # type: ignore[arg-type]

    def wrong(self) -> list[str]:
        """What is not as it has to be once all has settled."""
        available = [row for row in self.rows() if row.state == "available"]
        known = {row.object_key for row in available}
        return [
            *(f"{row.state} in the end" for row in self.rows() if row.state in ("verifying", "deleting")),
            *(problem for row in available if (problem := self._untrue(row))),
            *(f"{key} stays" for key in sorted(self.keys() - known)),
        ]

    def _untrue(self, row: Blob) -> str:
        download = self.objects.open(BUCKET, row.object_key)
        if download is None:
            return f"{row.object_key} is lost"
        with closing(download):
            body = b"".join(download.chunks())
        if (row.size, row.sha256) != (len(body), hashlib.sha256(body).hexdigest()):
            return f"{row.object_key} is not what was recorded"
        return ""

    def _promote(self, tenant: str, transaction: Transaction, blob: Blob) -> Blob:
        """The next version of a Binary, without the Binary."""
        if blob.binary_id in self.gone:
            raise Gone("deleted")
        versions = [each.version or 0 for each in transaction.blobs_of(blob.binary_id)]
        return blob.with_(version=max(versions) + 1)


class Killed(BaseException):
    """The server is dead: no handler of its own does anything any more."""


class Fate:
    """Dies after so many calls, and stays dead."""

    def __init__(self, calls: int) -> None:
        self._calls, self.made = calls, [""]

    @property
    def is_dead(self) -> bool:
        return len(self.made) > self._calls

    def before(self, name: str) -> None:
        if self.is_dead:
            raise Killed(name)

    def after(self, name: str) -> None:
        self.made.append(name)
        if self.is_dead:
            raise Killed(name)


def replay(url: str, body: bytes) -> None:
    answer = requests.put(url, data=body, timeout=30)
    assert 200 == answer.status_code, answer.status_code


def once(name: str, act: Callable[[], None]) -> Hook:
    """A hook that acts at the first call of that name."""
    done: list[str] = []

    def hook(called: str) -> None:
        if called == name and not done:
            done.append(called)
            act()

    return hook


def try_(act: Callable[[], object]) -> None:
    """Do it if it can be done."""
    with suppress(FhirError):
        act()
