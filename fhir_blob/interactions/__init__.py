"""What every FHIR interaction works with: the services, the context of a request, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Protocol

from fhir_blob.access import Principal
from fhir_blob.blobs import Accounts
from fhir_blob.blobs.lifecycle import Lifecycle
from fhir_blob.errors import Issue
from fhir_blob.search import ExternalIndex, SearchIndex
from fhir_blob.settings import Settings
from fhir_blob.store import ResourceStore, Version


class Gate(Protocol):
    """How many raw transfers may run: TooManyTransfers beyond."""

    def enter(self) -> None: ...

    def leave(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that app.py has chosen.

    `index` answers searches, `rows` is that of the database, which decides in its transactions.
    `external` is the index outside the database, if there is one; `waiting` is set while a search
    waits for it.
    """

    settings: Settings
    store: ResourceStore
    index: SearchIndex
    rows: SearchIndex
    accounts: Accounts
    lifecycle: Lifecycle
    transfers: Gate
    clock: Callable[[], int]
    new_id: Callable[[], str]
    external: ExternalIndex | None = None
    waiting: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class Context:
    """One request: who asks, of which base URL, and how the answer is to look.

    `attachments` is the mode in which Attachments are answered, `strict` refuses unknown search
    parameters, `bind_content_type` asks for PUT URLs that carry the declared type; `summary` and
    `elements` are _summary and _elements.
    """

    services: Services
    principal: Principal
    base: str
    attachments: str = "default"
    offer_uploads: bool = False
    bind_content_type: bool = False
    strict: bool = False
    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def tenant(self) -> str:
        return self.principal.tenant


@dataclass(frozen=True, slots=True)
class Stream:
    """Raw bytes on their way out: exactly `length` of them, then `close`."""

    chunks: Callable[[], Iterator[bytes]]
    length: int
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an interaction came to. `version` is the resource that it is about, None for a Bundle.

    `signed`: the body holds presigned URLs, so it is never a 304. `warnings` are told where the client wants
    an OperationOutcome.
    """

    status: int
    body: bytes | Stream = b""
    version: Version | None = None
    content_type: str = "application/fhir+json"
    signed: bool = False
    created: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in the database, `size` bytes of it; `answer` asks S3 for what else it needs."""

    size: int
    answer: Callable[[], Answer]


def instant(microseconds: int) -> str:
    """A FHIR instant, in milliseconds: https://hl7.org/fhir/R4/datatypes.html#instant"""
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{microseconds // 1000 % 1000:03}Z"
