"""The search interaction: https://hl7.org/fhir/R4/http.html#search"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from fhir_blob.interactions import Answer, Context, outgoing
from fhir_blob.interactions.bundles import bundle, link
from fhir_blob.search import Page, Query
from fhir_blob.search.parser import parse_query
from fhir_blob.store import Version


def search(context: Context, type: str, pairs: Sequence[tuple[str, str]]) -> Answer:
    """200 with a searchset of what matches; an outcome entry names the parameters that were ignored."""
    settings = context.services.settings
    query = parse_query(
        type,
        pairs,
        base=context.base,
        strict=context.strict,
        default_count=0 if context.summary == "count" else settings.default_count,
        max_count=0 if context.summary == "count" else settings.max_count,
    )
    with context.services.store.read(context.tenant) as reader:
        page = context.services.index.search(reader, query)
        blobs = outgoing.blobs_of(reader, page.matches)
    bodies = outgoing.bodies(context, page.matches, outgoing.settle(context, blobs))
    entries = [_entry(context, version, body) for version, body in zip(page.matches, bodies, strict=True)]
    if query.ignored:
        entries.append(_ignored(query))
    body = bundle(context, "searchset", total=page.total, links=_links(context, type, query, page), entries=entries)
    return Answer(200, body, signed=True)


def _links(context: Context, type: str, query: Query, page: Page) -> dict[str, str]:
    links = {"self": link(context.base, type, query.given)}
    if page.cursor is not None:
        given = [pair for pair in query.given if pair[0] != "_cursor"]
        links["next"] = link(context.base, type, [*given, ("_cursor", page.cursor)])
    return links


def _entry(context: Context, version: Version, body: bytes) -> bytes:
    url = f"{context.base}/{version.type}/{version.id}".encode()
    return b'{"fullUrl":"%s","resource":%s,"search":{"mode":"match"}}' % (url, body)


def _ignored(query: Query) -> bytes:
    issues = [
        {
            "severity": "warning",
            "code": "not-supported",
            "diagnostics": f"The search parameter {name[:80]!r} is unknown to this server and was ignored.",
        }
        for name in query.ignored
    ]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return orjson.dumps({"resource": outcome, "search": {"mode": "outcome"}})
