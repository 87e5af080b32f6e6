"""Bulk requests to Elasticsearch: documents as lines of JSON, and which of them were not taken.

A document becomes bytes before the next one is made, so that a batch costs little memory, and its values are still in
the processor's cache. Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-bulk.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from elasticsearch import Elasticsearch

from fhir_blob.errors import Unavailable
from fhir_blob.search import Document, Refused
from fhir_blob.search.elasticsearch import mapping

# Of one request; a cluster takes 100 MB, and 5 to 15 MB best.
_MOST_BYTES = 8_000_000
_VERSIONED = "external_gte"
# Of the answer.
_TOLD = ["errors", "items.*.status", "items.*.error.type"]


class Operation(NamedTuple):
    """What is to be done about a resource in the index behind an alias; without a `source` it is taken out."""

    tenant: str
    type: str
    id: str
    version: int
    alias: str
    source: bytes | None

    def refused(self, reason: str) -> Refused:
        return Refused(self.tenant, self.type, self.id, reason)


def operation(document: Document, alias: str) -> Operation:
    source = None if document.entries is None else orjson.dumps(mapping.source(document))
    return Operation(document.tenant, document.type, document.id, document.version, alias, source)


def removal(document: Document, alias: str) -> Operation:
    return Operation(document.tenant, document.type, document.id, document.version, alias, None)


def send(client: Elasticsearch, operations: Sequence[Operation]) -> list[tuple[Operation, str]]:
    """What was not taken, with the type of the error; what the index has in a higher version is no error."""
    failed: list[tuple[Operation, str]] = []
    for some in _parts(operations):
        lines = [line for each in some for line in _lines(each)]
        answer = client.bulk(operations=lines, filter_path=_TOLD)  # type: ignore[arg-type]
        if answer["errors"]:
            items = (next(iter(each.values())) for each in answer["items"])
            errors = ((each, _error(item)) for each, item in zip(some, items, strict=True))
            failed += [(each, error) for each, error in errors if error is not None]
    return failed


def _parts(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    """As many at a time as one request may carry."""
    part: list[Operation] = []
    size = 0
    for each in operations:
        length = len(each.source or b"")
        if part and size + length > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part


def _lines(operation: Operation) -> Iterator[bytes]:
    named = {"_index": operation.alias, "_id": f"{operation.tenant}/{operation.id}", "version": operation.version}
    named["version_type"] = _VERSIONED
    if operation.source is None:
        yield orjson.dumps({"delete": named})
    else:
        yield orjson.dumps({"index": {**named, "require_alias": True}})
        yield operation.source


def _error(item: Mapping[str, Any]) -> str | None:
    """The type of an item's error: its reason may quote the resource. Unavailable for what may pass."""
    status = item["status"]
    if "error" not in item or status == 409:
        return None
    if status == 429 or status >= 500:
        raise Unavailable("The search index (Elasticsearch) takes no writes at present.")
    return str(item["error"]["type"])
