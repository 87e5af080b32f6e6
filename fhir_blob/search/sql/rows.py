"""Current versions as rows of a SELECT on `resource r` and `resource_version v`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_blob.store import Reader, Version

SELECTED = "v.type, v.id, v.version, v.last_updated, v.method, v.body, v.slots, v.seq"
CURRENT = f"SELECT {SELECTED}, r.rid"
WIDTH = 9


def join(reader: Reader) -> str:
    """SQLite keeps the order of a CROSS JOIN, PostgreSQL knows better."""
    return "JOIN" if reader.is_postgresql else "CROSS JOIN"


def version_of(row: Sequence[Any]) -> Version:
    type, id, number, last_updated, method, body, slots, seq, rid = row[:WIDTH]
    return Version(type, id, number, last_updated, method, bytes(body), slots and bytes(slots), seq, rid)


def current(reader: Reader, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Version]:
    """The current versions of (type, id)s, without those that are not there or deleted, in one statement."""
    found: dict[tuple[str, str], Version] = {}
    by_type: dict[str, list[str]] = {}
    for type, id in named:
        by_type.setdefault(type, []).append(id)
    if not by_type:
        return found
    # Of each type on its own, and without an index on `deleted`: SQLite would go through the whole type.
    text = " UNION ALL ".join(
        f"{CURRENT} FROM resource r {join(reader)} resource_version v ON v.seq = r.seq"
        f" WHERE r.tenant = ? AND r.type = ? AND r.id IN ({', '.join('?' * len(ids))}) AND r.deleted + 0 = 0"
        for ids in by_type.values()
    )
    arguments = [each for type, ids in by_type.items() for each in (reader.tenant, type, *ids)]
    for row in reader.rows(text, arguments):
        version = version_of(row)
        found[version.type, version.id] = version
    return found
