"""Stores on an empty SQLite and PostgreSQL, for the suites that prove what fhir_blob.store promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_blob.store.sql import SqlStore, migrate, open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.sqlite'}"
    return str(request.getfixturevalue("fresh_postgresql_url"))


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], SqlStore]]:
    """Opens stores on one migrated database, as several servers do."""
    migrate(url)
    stores: list[SqlStore] = []

    def begin() -> SqlStore:
        stores.append(open_store(url, statement_timeout=20))
        return stores[-1]

    yield begin
    for each in stores:
        each.close()
        each.close()  # closing twice does nothing


@pytest.fixture
def store(opened: Callable[[], SqlStore]) -> SqlStore:
    return opened()
