"""ResourceStore: resources and all their versions, their index rows and blob rows, in one transaction.

This page is the contract; sql.py keeps it on SQLite and PostgreSQL, tests/contracts/ proves it on both.

 - `write(tenant, work)` runs `work(transaction)` and returns its result once it is durable. `work` may
   run more than once (deadlock, group commit), so it does nothing but call the transaction, and
   decides anew each time. Whatever it raises rolls back all that it did, and only that.
 - `read(tenant)` gives a Reader on the last committed state; it never waits for writers.
 - A lost database is Unavailable, a full disk StorageFull; neither leaves a part of a write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from fhir_blob.store.queue import IndexTasks, State

T = TypeVar("T")

Method = Literal["POST", "PUT", "PATCH", "DELETE"]
BlobState = Literal["pending", "verifying", "available", "rejected", "deleting", "deleted"]

# Index rows by value type ('token', 'string', ...: tables.INDEX_TABLES); a row is (param, grp, *values)
# in the column order of its table.
IndexEntries = Mapping[str, Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource; `body` is its JSON with id and meta, b'' where it is a deletion."""

    type: str
    id: str
    version: int
    last_updated: int
    method: Method
    body: bytes
    slots: bytes | None = None
    seq: int = 0
    rid: int = 0

    @property
    def deleted(self) -> bool:
        return self.method == "DELETE"


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a Binary, from the offer of an upload to their erasure.

    `version` is the Binary version that the bytes belong to, None while they are offered for a next
    one. The bytes of Binary version v are those of the highest `version` <= v. PUT URLs name
    `pending_key` only; `object_key` is written by the server alone and is fresh for each attempt to
    complete. sha1 is base64 as in Attachment.hash, sha256 hex; '' and None mean unknown.
    """

    id: str
    binary_id: str
    version: int | None
    state: BlobState
    account: str
    bucket: str
    pending_key: str
    created: int
    upload_until: int
    object_key: str = ""
    object_version: str = ""
    content_type: str = ""
    filename: str = ""
    size: int | None = None
    sha1: str = ""
    sha256: str = ""
    etag: str = ""
    declared_size: int | None = None
    declared_sha1: str = ""
    creator: str = ""
    owner: str = ""
    reason: str = ""
    completed: int | None = None
    lease_until: int = 0

    def with_(self, **changes: Any) -> Blob:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the outbox: `kind` names its handler, `payload` is JSON."""

    kind: str
    payload: str
    not_before: int = 0
    task: int = 0
    attempts: int = 0
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """An S3 account; `document` is its AwsAccount JSON without the secret, `secret` the ciphertext."""

    id: str
    version: int
    last_updated: int
    document: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions newest first; `total` counts all that match."""

    versions: tuple[Version, ...]
    total: int


class Reader(Protocol):
    """What can be asked, of one tenant. `rows` is for the search compiler alone."""

    @property
    def tenant(self) -> str: ...

    @property
    def is_postgresql(self) -> bool: ...

    def rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows of a SELECT in the database's own SQL; '?' marks a parameter."""

    def index_rows(self, rids: Sequence[int]) -> dict[int, IndexEntries]:
        """The index rows of resources by their rid."""

    def current(self, type: str, id: str) -> Version | None:
        """The newest version, a deletion included; None where the id was never used."""

    def version(self, type: str, id: str, version: int) -> Version | None: ...

    def history(
        self,
        type: str | None,
        id: str | None,
        *,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before_seq: int | None = None,
        total: int | None = None,
        count: int,
    ) -> HistoryPage:
        """Versions of an instance, a type or everything, newest (highest seq) first.

        `since`: last_updated >= since. `at`: those that were current at some time in [low, high).
        `before_seq`: only seq < before_seq, the key of the next page (total does not depend on it).
        `total`: what the first page counted; None has all counted, which is the dearer the more there are.
        On PostgreSQL only rows below pg_snapshot_xmin, so that no page can miss a late commit.
        """

    def blob(self, binary_id: str, version: int) -> Blob | None:
        """The bytes of that Binary version: highest blob version <= it, states deleting/deleted left out."""

    def blobs(self, wanted: Sequence[tuple[str, int | None]]) -> dict[tuple[str, int | None], Blob]:
        """The same for many in one statement; version None means the Binary's current version."""

    def offered(self, binary_id: str) -> Blob | None:
        """The upload that is pending or verifying for a next version (version None, with a pending_key)."""

    def blob_by_id(self, id: str) -> Blob | None: ...

    def blob_by_pending_key(self, account: str, bucket: str, key: str) -> Blob | None:
        """The newest row whose pending_key this is, deleted ones left out."""

    def blob_by_object_key(self, account: str, bucket: str, key: str) -> Blob | None: ...

    def blobs_of(self, binary_id: str) -> tuple[Blob, ...]:
        """Every row of the Binary, all versions and states, oldest first."""

    def blobs_owned_by(self, owner: str) -> tuple[Blob, ...]:
        """In whatever state."""

    def referrers(self, binary_id: str) -> tuple[str, ...]:
        """'Type/id' of current resources that refer to the Binary, a hundred at most, in order."""

    def naming(self, name: str, *, after: int) -> tuple[tuple[tuple[str, str, int], ...], int | None]:
        """Which versions have a reference to 'Type/id' in their body: (type, id, version), of one stretch of all.

        Some may have it in a text. `after` is 0 at first, then what the last stretch gave: None at the end.
        """

    def position(self) -> tuple[int, int]:
        """What has been written until now, for `naming_since`."""

    def naming_since(self, name: str, position: tuple[int, int]) -> tuple[tuple[str, str, int], ...]:
        """The same of what could not be seen at that position; on PostgreSQL perhaps a little that could."""

    def secured(self, *, after: int) -> tuple[tuple[tuple[str, bytes], ...], int | None]:
        """(id, body) of versions of Binaries with a security context that is no Patient; stretches as of `naming`."""

    def waiting(self, kind: str, *, now: int) -> int:
        """How many tasks of that kind are due, being done, or to be tried again."""

    def account(self, id: str) -> Account | None: ...

    def account_ids(self) -> tuple[str, ...]: ...

    def account_in_use(self, id: str) -> bool:
        """Whether any blob that is not deleted names the account, or any object that is yet to be erased."""


class Transaction(Reader, Protocol):
    """A Reader that sees its own writes, and the writes themselves."""

    def lock(self, type: str, id: str) -> Version | None:
        """`current`, held against other writers until the transaction ends."""

    def put(self, version: Version, entries: IndexEntries, *, expected: int | None) -> Version:
        """Append the version, make it current and replace the index rows; gives it back with seq and rid.

        `expected` is the version that is current now, None where there is none. Another writer having
        been faster raises Conflict.
        """

    def purge(self, type: str, id: str, versions: Sequence[int]) -> int:
        """Take versions away for good, never the current one; how many those were."""

    def put_blob(self, blob: Blob) -> None:
        """Insert, or replace the row of the same id."""

    def drop_blob(self, id: str) -> None:
        """The row goes, in whatever state: every key in it has to be in a task before."""

    def hold(self, name: str) -> None:
        """Whoever holds the same name waits until the transaction ends."""

    def share(self, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The current versions of those (type, id)s that are there; none is deleted before the transaction ends."""

    def lock_binary(self, binary_id: str) -> tuple[Blob, ...]:
        """`blobs_of`, held against other writers: taken before any reference to the Binary is written,
        and before it is deleted or completed."""

    def reindex(self, state: State, entries: IndexEntries) -> bool:
        """Replace the index rows of a resource that is still in that version; False where it is not."""

    def refer(self, type: str, id: str, version: int, binary_ids: Sequence[str]) -> None:
        """Replace what the resource refers to."""

    def enqueue(self, task: Task) -> int:
        """The number of the task."""

    def finish(self, task: int) -> None:
        """That task is done: its row goes."""

    def put_account(self, account: Account) -> None: ...

    def delete_account(self, id: str) -> bool: ...


class ResourceStore(Protocol):
    @property
    def index_tasks(self) -> IndexTasks: ...

    def read(self, tenant: str) -> AbstractContextManager[Reader]: ...

    def write(self, tenant: str, work: Callable[[Transaction], T]) -> T: ...

    def claim(self, kinds: Sequence[str], *, now: int, lease: int, limit: int) -> tuple[Task, ...]:
        """Due tasks of any tenant, leased until now + lease (microseconds), attempts counted up."""

    def finish(self, task: Task) -> None:
        """The task is done: its row goes."""

    def postpone(self, task: Task, *, not_before: int, error: str) -> None:
        """The task failed; it comes again."""

    def blobs_in_state(
        self, state: BlobState, *, before: int, limit: int, after: str = ""
    ) -> tuple[tuple[str, Blob], ...]:
        """(tenant, blob) created before that time, in order of id, those with id > after."""

    def blob_places(self) -> tuple[tuple[str, str, str], ...]:
        """(tenant, account, bucket) of every row, in order, each once."""

    def knows_object(self, account: str, bucket: str, key: str) -> bool:
        """Whether any row of any tenant that is not deleted names the key, pending or final."""

    def scrub(self) -> bool:
        """What was deleted stands in no file of an embedded database any more; False while a reader needs it there."""

    def ping(self) -> None:
        """One round trip; Unavailable where the database is out of reach."""

    def close(self) -> None: ...
