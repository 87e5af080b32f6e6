"""A store and the index that answers for it, on SQLite, PostgreSQL and Elasticsearch, and how a suite asks them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_blob.search import Document, ExternalIndex, Page, Query, SearchIndex
from fhir_blob.search.elasticsearch.index import ElasticsearchIndex
from fhir_blob.search.extraction import extract
from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.search.sql.index import SqlIndex
from fhir_blob.settings import Settings
from fhir_blob.store import IndexEntries, Transaction, Version
from fhir_blob.store.sql import SqlStore, migrate, open_store
from tests.contracts.observations import BASE
from tests.services.postgresql import fresh_database

SECRET = b"a secret of this test"
TENANTS = (f"tenant{number}" for number in itertools.count())


@dataclass(frozen=True, slots=True)
class Indexed:
    """A store, and the index that answers for it: told of every write at once where it is another server."""

    store: SqlStore
    index: SearchIndex
    external: ExternalIndex | None = None

    def write(self, tenant: str, work: Callable[[Transaction], list[tuple[Version, IndexEntries]]]) -> None:
        written = self.store.write(tenant, work)
        if self.external is not None:
            documents = [
                Document(
                    tenant,
                    each.type,
                    each.id,
                    each.version,
                    each.rid,
                    each.last_updated,
                    None if each.deleted else rows,
                )
                for each, rows in written
            ]
            refused = {each.reason for each in self.external.write(documents)}
            assert not refused, refused
            self.external.refresh({each.type for each in documents})


class Contents:
    """By tenant the resources that are there, in the order in which they were made; too many to show."""

    def __init__(self, of: dict[str, list[dict[str, Any]]]) -> None:
        self.of = of

    def __repr__(self) -> str:
        return f"<{', '.join(self.of)}>"


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "elasticsearch"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    folder: Path = tmp_path_factory.mktemp("index")
    url = f"sqlite:///{folder / 'test.sqlite'}"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgresql_url"))
    migrate(url)
    opened = open_store(url, statement_timeout=60)
    if request.param == "elasticsearch":
        given = Settings(elasticsearch=request.getfixturevalue("elasticsearch_url"), index_prefix="contract-")
        external = ElasticsearchIndex(given, SECRET)
        yield Indexed(opened, external, external)
    else:
        yield Indexed(opened, SqlIndex(SECRET))
    opened.close()


@pytest.fixture
def tenant() -> str:
    return next(TENANTS)


def put(store: Indexed, tenant: str, *resources: dict[str, Any]) -> None:
    """Write each as a new resource, or as the next version where its id is there."""

    def work(transaction: Transaction) -> list[tuple[Version, IndexEntries]]:
        return [_put(transaction, each) for each in resources]

    store.write(tenant, work)


def _put(transaction: Transaction, resource: dict[str, Any]) -> tuple[Version, IndexEntries]:
    type, id = resource["resourceType"], resource["id"]
    current = transaction.current(type, id)
    number = current.version + 1 if current else 1
    version = Version(type, id, number, 1_000_000 * number, "PUT", orjson.dumps(resource))
    entries = extract(resource, base=BASE)
    return transaction.put(version, entries, expected=current.version if current else None), entries


def delete(store: Indexed, tenant: str, *named: tuple[str, str]) -> None:
    """Delete resources by type and id, each in its first version."""
    gone = [Version(type, id, 2, 2_000_000, "DELETE", b"") for type, id in named]
    store.write(tenant, lambda transaction: [(transaction.put(each, {}, expected=1), {}) for each in gone])


def query(*pairs: tuple[str, str], type: str | None = "Observation", count: int = 100) -> Query:
    return parse_query(type, pairs, base=BASE, strict=True, default_count=count, max_count=1000)


def page(store: Indexed, tenant: str, asked: Query) -> Page:
    with store.store.read(tenant) as reader:
        return store.index.search(reader, asked)


def found(store: Indexed, tenant: str, *pairs: tuple[str, str], type: str | None = "Observation") -> list[str]:
    """The ids of all matches, page by page."""
    return [id for ids in pages(store, tenant, *pairs, type=type) for id in ids]


def pages(
    store: Indexed, tenant: str, *pairs: tuple[str, str], count: int = 100, type: str | None = "Observation"
) -> Iterator[list[str]]:
    cursor: str | None = ""
    while cursor is not None:
        given = [*pairs, ("_cursor", cursor)] if cursor else pairs
        answer = page(store, tenant, query(*given, count=count, type=type))
        yield [version.id for version in answer.matches]
        cursor = answer.cursor
