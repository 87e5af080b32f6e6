"""Bundles put together from stored bytes: https://hl7.org/fhir/R4/bundle.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

import orjson

from fhir_blob.interactions import Context, instant


def bundle(
    context: Context, type: str, *, total: int | None, links: Mapping[str, str], entries: Iterable[bytes]
) -> bytes:
    """A Bundle of that type; `entries` are JSON objects, `links` URLs by relation."""
    head = {"resourceType": "Bundle", "id": context.services.new_id(), "type": type}
    head["meta"] = {"lastUpdated": instant(context.services.clock())}  # type: ignore[assignment]
    if total is not None:
        head["total"] = total  # type: ignore[assignment]
    if links:
        head["link"] = [{"relation": name, "url": url} for name, url in links.items()]  # type: ignore[assignment]
    text, joined = orjson.dumps(head), b",".join(entries)
    return text[:-1] + b',"entry":[' + joined + b"]}" if joined else text


def link(base: str, path: str, pairs: Sequence[tuple[str, str]]) -> str:
    """`[base]/path?pairs`, as a client can send it back."""
    query = urlencode(pairs, safe=":,/|")
    url = f"{base}/{path}" if path else base
    return f"{url}?{query}" if query else url
