"""Cursors: where a page ended, sealed: made by this server alone, good for its query and whoever asked it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from fhir_blob.errors import BadParameter
from fhir_blob.search import Compartment, Query
from fhir_blob.search.grammar.parser import RESULT_PARAMETERS

_SEAL = 16
# What may change from page to page.
_FREE = RESULT_PARAMETERS | {"_cursor", "_count", "_total"}


@dataclass(frozen=True, slots=True)
class Position:
    """The last resource of a page: its sort keys, its rid, and the total as the first page had it.

    `pit` is the point in time of the page in an index that keeps such, '' for none.
    """

    keys: tuple[Any, ...]
    rid: int
    total: int | None
    pit: str = ""


def seal(secret: bytes, tenant: str, query: Query, position: Position) -> str:
    payload = json.dumps([position.pit, position.total, position.rid, *position.keys], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(secret, tenant, query, payload) + payload).decode().rstrip("=")


def unseal(secret: bytes, tenant: str, query: Query) -> Position | None:
    """The position of the query's cursor, None on the first page; BadParameter for a strange one."""
    if query.cursor is None:
        return None
    try:
        sealed = base64.b64decode(query.cursor + "=" * (-len(query.cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        sealed = b""
    payload = sealed[_SEAL:]
    if not hmac.compare_digest(sealed[:_SEAL], _mac(secret, tenant, query, payload)):
        raise BadParameter(f"_cursor={query.cursor[:100]!r} is not of this search: follow the link 'next' as it is.")
    pit, total, rid, *keys = json.loads(payload)
    return Position(tuple(keys), rid, total, pit)


def _within(query: Query) -> list[str]:
    return [f"{each.type}/{each.id}" for each in query.criteria if isinstance(each, Compartment)]


def _mac(secret: bytes, tenant: str, query: Query, payload: bytes) -> bytes:
    asked = [pair for pair in query.given if pair[0] not in _FREE]
    bound = json.dumps([tenant, query.principal, query.types, _within(query), asked]).encode()
    return hmac.digest(secret, hashlib.sha256(bound).digest() + payload, "sha256")[:_SEAL]
