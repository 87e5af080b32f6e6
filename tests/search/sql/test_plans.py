"""SQLite looks resources up where it could read a whole type: it has no figures to plan by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.search.sql.index import SqlIndex
from fhir_blob.search.sql.rows import current
from fhir_blob.store import Reader
from fhir_blob.store.sql import SqlStore, migrate, open_store

BY_ID = "SEARCH r USING INDEX sqlite_autoindex_resource_1 (tenant=? AND type=? AND id=?)"


class Recording:
    """A Reader that keeps its statements."""

    def __init__(self, reader: Reader) -> None:
        self.tenant, self.is_postgresql, self._reader = reader.tenant, False, reader
        self.statements: list[tuple[str, Any]] = []

    def rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        self.statements.append((sql, parameters))
        return self._reader.rows(sql, parameters)


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    migrate(url)
    return open_store(url, statement_timeout=10)


def steps(recording: Recording, reader: Reader) -> list[str]:
    return [
        str(row[3])
        for statement, parameters in recording.statements
        for row in reader.rows(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


@pytest.mark.parametrize("type", ["Patient", None])
def test_many_ids(store: SqlStore, type: str | None) -> None:
    """A search by many ids looks up each, in one type and in every."""
    ids = ",".join(f"i{number}" for number in range(50))
    asked = parse_query(type, [("_id", ids)], base="", strict=True, default_count=20, max_count=20)
    with store.read("default") as reader:
        recording = Recording(reader)
        SqlIndex(b"secret").search(recording, asked)  # type: ignore[arg-type]
        found = steps(recording, reader)

    assert [BY_ID] == [each for each in found if " r " in each]


def test_current_of_many(store: SqlStore) -> None:
    """So does reading what another index has found."""
    named = [("Patient", f"i{number}") for number in range(50)] + [("Group", "1"), ("Group", "2")]
    with store.read("default") as reader:
        recording = Recording(reader)
        current(recording, named)  # type: ignore[arg-type]
        found = steps(recording, reader)

    assert [BY_ID, BY_ID] == [each for each in found if " r " in each]
