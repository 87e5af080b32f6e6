"""The history interaction, of an instance, a type or everything: https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fhir_blob.errors import BadParameter, NotFound
from fhir_blob.interactions import Answer, Context, Found, instant, outgoing
from fhir_blob.interactions.bundles import bundle, link
from fhir_blob.search.grammar.parser import parse_period
from fhir_blob.store import Reader, Version

_STATUS = {"POST": "201 Created", "PUT": "200 OK", "PATCH": "200 OK", "DELETE": "204 No Content"}


def history(context: Context, type: str | None, id: str | None, pairs: Sequence[tuple[str, str]]) -> Answer:
    """200 with versions, newest first. `_since`, `_at`, `_count`; NotFound for an id never used."""
    with context.services.store.read(context.tenant) as reader:
        found = find(context, reader, type, id, pairs)
    return found.answer()


def find(context: Context, reader: Reader, type: str | None, id: str | None, pairs: Sequence[tuple[str, str]]) -> Found:
    """The same, found there."""
    given = {name: value for name, value in pairs if name in ("_since", "_at", "_count", "_cursor")}
    count = _count(context, given.get("_count"))
    before, total = _cursor(given["_cursor"]) if "_cursor" in given else (None, None)
    if type and id and reader.current(type, id) is None:
        raise NotFound(f"{type}/{id[:80]} is not known.")
    page = reader.history(
        type,
        id,
        since=parse_period("_since", given["_since"])[0] if "_since" in given else None,
        at=parse_period("_at", given["_at"]) if "_at" in given else None,
        before_seq=before,
        total=total,
        count=count + 1,
    )
    shown = page.versions[:count]
    blobs = outgoing.blobs_of(reader, shown)
    path = "/".join(part for part in (type, id, "_history") if part)
    links = {"self": link(context.base, path, list(given.items()))}
    if len(page.versions) > count > 0:
        links["next"] = link(context.base, path, [*{**given, "_cursor": f"{shown[-1].seq}-{page.total}"}.items()])
    size = sum(len(version.body) for version in shown)
    return Found(size, lambda: _answer(context, shown, page.total, links, blobs))


def _answer(
    context: Context, shown: Sequence[Version], total: int, links: Mapping[str, str], blobs: outgoing.Blobs
) -> Answer:
    bodies = outgoing.bodies(context, shown, outgoing.settle(context, blobs))
    entries = [_entry(context, version, body) for version, body in zip(shown, bodies, strict=True)]
    return Answer(200, bundle(context, "history", total=total, links=links, entries=entries), signed=True)


def _count(context: Context, given: str | None) -> int:
    settings = context.services.settings
    return settings.default_count if given is None else min(_whole("_count", given), settings.max_count)


def _cursor(given: str) -> tuple[int, int]:
    """Where the page before ended, and the total that the first one counted."""
    before, _, total = given.partition("-")
    return _whole("_cursor", before), _whole("_cursor", total)


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise BadParameter(f"{name} takes a whole number, not {value[:100]!r}.")
    return int(value)


def _entry(context: Context, version: Version, body: bytes) -> bytes:
    """fullUrl, the resource unless it is a deletion, and the request that made the version."""
    url = f"{version.type}/{version.id}"
    entry: dict[str, Any] = {
        "fullUrl": f"{context.base}/{url}",
        "request": {"method": version.method, "url": version.type if version.method == "POST" else url},
        "response": {
            "status": _status(version),
            "etag": f'W/"{version.version}"',
            "lastModified": instant(version.last_updated),
        },
    }
    if not version.deleted:
        entry["resource"] = orjson.Fragment(body)
    return orjson.dumps(entry)


def _status(version: Version) -> str:
    return "201 Created" if version.version == 1 else _STATUS[version.method]
