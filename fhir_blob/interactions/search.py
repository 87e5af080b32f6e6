"""The search interaction, of a type, of every type and of a compartment: https://hl7.org/fhir/R4/http.html#search"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from fhir_blob.errors import NotFound, UnknownType
from fhir_blob.fhir import ucum
from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.fhir.paths import compile_path
from fhir_blob.interactions import Answer, Context, Found, outgoing
from fhir_blob.interactions.bundles import bundle, link
from fhir_blob.interactions.read import current
from fhir_blob.search import Clause, Compartment, Near, Page, Query
from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.search.near import metres, named_place
from fhir_blob.search.sql.includes import Included, included
from fhir_blob.store import Reader, Version

COMPARTMENTS = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")
# More than this comes with no page, however much it refers to.
_MOST_INCLUDED = 1000
_LOCATION_DISTANCE = "http://hl7.org/fhir/StructureDefinition/location-distance"


def search(context: Context, type: str | None, pairs: Sequence[tuple[str, str]]) -> Answer:
    """200 with a searchset of what matches; an outcome entry names the parameters that were ignored.

    Type None searches every type, or those that `_type` names.
    """
    return answer(context, type or "", parsed(context, type, pairs))


def search_compartment(
    context: Context, name: str, id: str, type: str | None, pairs: Sequence[tuple[str, str]]
) -> Answer:
    """The same within a compartment: https://hl7.org/fhir/R4/compartmentdefinition.html"""
    clause = compartment(name, id)
    if type is not None and type != name and type not in clause.members:
        raise NotFound(f"No {type} is in the compartment of a {name}.")
    with context.services.store.read(context.tenant) as reader:
        current(reader, name, id)
    return answer(context, f"{name}/{id}/{type or '*'}", parsed(context, type, pairs, (clause,)))


def compartment(name: str, id: str) -> Compartment:
    """UnknownType where R4 has no such compartment."""
    if name not in COMPARTMENTS:
        raise UnknownType(f"R4 has no compartment of {name[:80]}; it has those of {', '.join(COMPARTMENTS)}.")
    return Compartment(name, id, definitions().compartment(name))


def parsed(
    context: Context, type: str | None, pairs: Sequence[tuple[str, str]], within: Sequence[Clause] = ()
) -> Query:
    """The Query, as the settings and the preferences of the client have it."""
    settings = context.services.settings
    is_count = context.summary == "count"
    return parse_query(
        type,
        pairs,
        base=context.base,
        strict=context.strict,
        default_count=0 if is_count else settings.default_count,
        max_count=0 if is_count else settings.max_count,
        within=within,
        principal=context.principal.name,
    )


def answer(context: Context, path: str, query: Query) -> Answer:
    """200 with the page that the Query asks; `path` is that of its links."""
    with context.services.store.read(context.tenant) as reader:
        found = find(context, reader, path, query)
    return found.answer()


def find(context: Context, reader: Reader, path: str, query: Query) -> Found:
    """The same, found there."""
    page = context.services.index.search(reader, query)
    more = included(reader, query.includes, page.matches, most=_MOST_INCLUDED)
    shown = (*page.matches, *more.versions)
    blobs = outgoing.blobs_of(reader, shown)
    return Found(sum(len(version.body) for version in shown), lambda: _answer(context, path, query, page, more, blobs))


def _answer(context: Context, path: str, query: Query, page: Page, more: Included, blobs: outgoing.Blobs) -> Answer:
    shown = (*page.matches, *more.versions)
    blobs = outgoing.settle(context, blobs)
    # "The list of elements does not apply to included resources": https://hl7.org/fhir/R4/search.html#elements
    of_includes = replace(context, elements=())
    bodies = [
        *outgoing.bodies(context, page.matches, blobs),
        *outgoing.bodies(of_includes, more.versions, blobs),
    ]
    told = [*_told(query, page.matches), *([b'{"mode":"include"}'] * len(more.versions))]
    entries = [_entry(context, *each) for each in zip(shown, bodies, told, strict=True)]
    warnings = list(_warnings(query, page, more))
    if warnings:
        entries.append(_outcome(f"urn:uuid:{context.services.new_id()}", warnings))
    body = bundle(context, "searchset", total=page.total, links=_links(context, path, query, page), entries=entries)
    headers = {"Warning": f'199 - "{page.behind}"'} if page.behind else {}
    return Answer(200, body, signed=True, headers=headers)


def _links(context: Context, path: str, query: Query, page: Page) -> dict[str, str]:
    links = {"self": link(context.base, path, query.given)}
    if page.cursor is not None:
        given = [pair for pair in query.given if pair[0] != "_cursor"]
        links["next"] = link(context.base, path, [*given, ("_cursor", page.cursor)])
    return links


def _entry(context: Context, version: Version, body: bytes, told: bytes) -> bytes:
    url = f"{context.base}/{version.type}/{version.id}".encode()
    return b'{"fullUrl":"%s","resource":%s,"search":%s}' % (url, body, told)


def _told(query: Query, matches: Sequence[Version]) -> Iterable[bytes]:
    """Of each match how it was found, and how far away: https://hl7.org/fhir/R4/extension-location-distance.html"""
    named = named_place(query.criteria)
    if named is None:
        return [b'{"mode":"match"}'] * len(matches)
    return [orjson.dumps({**_distance(*named, each), "mode": "match"}) for each in matches]


def _distance(parameter: SearchParameter, place: Near, match: Version) -> dict[str, Any]:
    """Nothing where it has moved off the globe since an index heard of it."""
    focus = orjson.loads(match.body), match.type
    found = [metres(place, each) for each, _ in compile_path(parameter.expression)(focus, focus)]
    distances = [each for each in found if each is not None]
    if not distances:
        return {}
    value = {"value": round(min(distances), 1), "unit": "m", "system": ucum.SYSTEM, "code": "m"}
    return {"extension": [{"url": _LOCATION_DISTANCE, "valueDistance": value}]}


def _warnings(query: Query, page: Page, more: Included) -> Iterable[tuple[str, str]]:
    """(issue code, sentence) of what the client may not expect."""
    unknown = (
        "is unknown to this server" if len(query.types) == 1 else "is not one that all types have which were searched,"
    )
    for name in query.ignored:
        yield "not-supported", f"The search parameter {name[:80]!r} {unknown} and was ignored."
    for name in query.blank:
        yield "incomplete", f"The search parameter {name[:80]!r} has no value and was ignored."
    if more.cut:
        yield "too-costly", f"More is to be included than the {_MOST_INCLUDED} resources that come with a page."
    if page.behind:
        yield "incomplete", page.behind


def _outcome(url: str, warnings: Iterable[tuple[str, str]]) -> bytes:
    issues = [{"severity": "warning", "code": code, "diagnostics": text} for code, text in warnings]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return orjson.dumps({"fullUrl": url, "resource": outcome, "search": {"mode": "outcome"}})
