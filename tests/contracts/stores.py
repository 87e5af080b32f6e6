"""What the suites of the store write and count."""

from __future__ import annotations

from fhir_blob.store import IndexEntries, Method, Version
from fhir_blob.store.sql import SqlStore

ENTRIES: IndexEntries = {
    "token": [("identifier", 0, "urn:x", "1")],
    "string": [("family", 0, "smith", "Smith")],
    "date": [("birthdate", 0, 1, 2)],
    "reference": [("organization", 0, "Organization", "1", "", "")],
}


def patient(id: str, number: int = 1, *, at: int = 1000, method: Method = "PUT") -> Version:
    body = b"" if method == "DELETE" else b'{"id":"%s"}' % id.encode()
    return Version("Patient", id, number, at, method, body)


def put(store: SqlStore, version: Version, expected: int | None = None, tenant: str = "t") -> Version:
    return store.write(
        tenant,
        lambda transaction: transaction.put(version, {} if version.deleted else ENTRIES, expected=expected),
    )


def count(store: SqlStore, table: str) -> int:
    with store.read("t") as reader:
        return int(reader.rows(f"SELECT count(*) FROM {table}", ())[0][0])
