"""SearchIndex in Elasticsearch: an index for each resource type, behind an alias that a rebuild moves.

The cluster finds ids and their order; the resources come from the store. Nothing is made by itself
in the cluster: every write names an alias that has to be there. Versions are the store's own.
Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-bulk.html
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from elasticsearch import (
    ApiError,
    BadRequestError,
    ConnectionTimeout,
    Elasticsearch,
    NotFoundError,
    TransportError,
)

from fhir_blob.errors import BadParameter, Conflict, TookTooLong, Unavailable
from fhir_blob.search import Clause, Document, Page, Query, Refused
from fhir_blob.search.cursors import Position, seal, unseal
from fhir_blob.search.elasticsearch import bulk, dsl, mapping
from fhir_blob.search.elasticsearch.queries import Dsl, all_of
from fhir_blob.search.elasticsearch.sorting import sort
from fhir_blob.search.sql.rows import current
from fhir_blob.settings import Settings
from fhir_blob.store import Reader

# More resources behind a chain or _has than these are not looked up; 50,000 take a second.
MOST_JOINED = dsl.MOST_TERMS
_AT_ONCE = 5_000
_KEPT = "2m"
_MOST_NAMED = 20
_NO_INDEX = "index_not_found_exception"


def connect(settings: Settings) -> Elasticsearch:
    """The client of the cluster that the settings name; another node is asked where one does not answer."""
    urls = [each.strip() for each in settings.elasticsearch.split(",")]
    given: dict[str, Any] = {"request_timeout": settings.elasticsearch_timeout, "max_retries": len(urls)}
    if settings.elasticsearch_api_key:
        given["api_key"] = settings.elasticsearch_api_key
    elif settings.elasticsearch_user:
        given["basic_auth"] = (settings.elasticsearch_user, settings.elasticsearch_password)
    if settings.elasticsearch_ca:
        given["ca_certs"] = settings.elasticsearch_ca
    return Elasticsearch(urls, retry_on_timeout=False, **given)


class ElasticsearchIndex:
    """`secret` seals the cursors; servers that share a cluster share it."""

    def __init__(self, settings: Settings, secret: bytes, client: Elasticsearch | None = None) -> None:
        self._client = client or connect(settings)
        self._secret, self._prefix = secret, settings.index_prefix
        self._settings = mapping.settings(settings.index_shards, settings.index_replicas)
        self._seconds = settings.elasticsearch_timeout
        self._known: set[str] = set()

    def search(self, reader: Reader, query: Query) -> Page:
        """One page. BadParameter for a cursor that is not of this query; Unavailable past the time limit."""
        position = unseal(self._secret, reader.tenant, query)
        asked = self._asked(reader.tenant, query.types, query.criteria)
        counts = query.total == "accurate" and (position is None or position.total is None)
        body = {
            "query": asked,
            "sort": sort(query.sort),
            "size": query.count + 1 if query.count else 0,
            "track_total_hits": counts,
            "docvalue_fields": ["type", "id"],
        }
        answer = self._page(query, body, position)
        hits = answer["hits"]["hits"]
        total = int(answer["hits"]["total"]["value"]) if counts else position.total if position else None
        shown = hits[: query.count]
        cursor = None
        if shown and len(hits) > query.count:
            *keys, rid = shown[-1]["sort"]
            after = Position(tuple(keys), rid, total, answer.get("pit_id", ""))
            cursor = seal(self._secret, reader.tenant, query, after)
        elif "pit_id" in answer:
            self._close(answer["pit_id"])
        named = [(each["fields"]["type"][0], each["fields"]["id"][0]) for each in shown]
        found = current(reader, named)
        matches = tuple(found[each] for each in named if each in found)
        return Page(matches, total if query.total == "accurate" else None, cursor)

    def write(self, documents: Iterable[Document], *, rebuilding: Collection[str] = ()) -> tuple[Refused, ...]:
        next = {type for type in rebuilding if self._is_alias(self._next(type))}
        operations: list[bulk.Operation] = []
        for document in documents:
            self._ensure(document.type)
            made = bulk.operation(document, self._alias(document.type))
            operations.append(made)
            if document.type in next:
                operations.append(made._replace(alias=self._next(document.type)))
        failed = self._bulk(operations)
        missing = [each for each, error in failed if error == _NO_INDEX]
        if missing:  # somebody removed the index behind our back
            for each in missing:
                self._known.discard(each.type)
                self._ensure(each.type)
            failed = [one for one in failed if one[1] != _NO_INDEX] + self._bulk(missing)
        return tuple(each.refused(error) for each, error in failed)

    def refresh(self, types: Collection[str]) -> None:
        with _reached():
            self._client.indices.refresh(index=self._names(tuple(types)), ignore_unavailable=True)

    def begin(self, type: str) -> str:
        name = f"{self._alias(type)}-{time.time_ns() // 1_000_000}"
        with _reached():
            self._ensure(type)
            self._drop(self._next(type))
            self._create(type, name, {self._next(type): {}})
        return name

    def widen(self, type: str) -> None:
        """Let the type's index take the fields of search parameters that came after it was made."""
        with _reached():
            self._ensure(type)
            self._widen(type)

    def fill(self, documents: Iterable[Document]) -> tuple[Refused, ...]:
        failed = self._bulk([bulk.operation(each, self._next(each.type)) for each in documents])
        for each, error in failed:
            if error == _NO_INDEX:
                raise _overtaken(each.type)
        return tuple(each.refused(error) for each, error in failed)

    def swap(self, type: str, built: str) -> None:
        with _reached():
            if self._behind(self._next(type)) != [built]:
                raise _overtaken(type)
            self._client.indices.refresh(index=built)
            old = self._behind(self._alias(type))
            actions: list[dict[str, Any]] = [{"remove_index": {"index": each}} for each in old]
            actions += [{"add": {"index": built, "alias": alias}} for alias in (self._alias(type), self._all)]
            actions.append({"remove": {"index": built, "alias": self._next(type), "must_exist": True}})
            self._client.indices.update_aliases(actions=actions)

    def held(self, type: str, *, after_rid: int, limit: int) -> tuple[Document, ...]:
        fields = ["tenant", "id", "version", "rid", "last_updated"]
        with _reached():
            answer = self._client.search(
                index=self._alias(type),
                ignore_unavailable=True,
                query={"match_all": {}},
                sort=[{"rid": "asc"}],
                search_after=[after_rid],
                size=limit,
                docvalue_fields=[{"field": name} for name in fields],
            )
        rows = [[each["fields"][name][0] for name in fields] for each in answer["hits"]["hits"]]
        return tuple(Document(tenant, type, id, version, rid, at, {}) for tenant, id, version, rid, at in rows)

    def forget(self, documents: Iterable[Document]) -> None:
        self._bulk([bulk.removal(each, self._alias(each.type)) for each in documents])

    def _bulk(self, operations: Sequence[bulk.Operation]) -> list[tuple[bulk.Operation, str]]:
        with _reached():
            return bulk.send(self._client, operations)

    def ping(self) -> None:
        with _reached():
            self._client.info()

    def _asked(self, tenant: str, types: Sequence[str], clauses: Sequence[Clause]) -> Dsl:
        resolver = _Resolver(self, tenant)
        filters: list[Dsl] = [{"term": {"tenant": tenant}}]
        if len(types) > _MOST_NAMED:
            filters.append({"terms": {"type": list(types)}})
        return all_of([*filters, *(dsl.compiled(each, resolver) for each in clauses)])

    def _page(self, query: Query, body: Mapping[str, Any], position: Position | None) -> Mapping[str, Any]:
        """The first page is of the moment; those after it are of one point in time, as long as it is kept."""
        names = self._names(query.types)
        if position is None:
            return self._search(names, body)
        after = {**body, "search_after": [*position.keys, position.rid]}
        with _reached():
            pit = position.pit or self._open(names)
            try:
                return self._search(None, {**after, "pit": {"id": pit, "keep_alive": _KEPT}})
            except NotFoundError:  # it expired, or its index was rebuilt
                return self._search(None, {**after, "pit": {"id": self._open(names), "keep_alive": _KEPT}})

    def _open(self, names: Sequence[str]) -> str:
        opened = self._client.open_point_in_time(index=list(names), keep_alive=_KEPT, ignore_unavailable=True)
        return str(opened["id"])

    def _close(self, pit: str) -> None:
        """The last page was read; who asks for an earlier one gets another point in time."""
        with suppress(ApiError, TransportError):  # it expires by itself
            self._client.close_point_in_time(id=pit)

    def _search(self, names: Sequence[str] | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        given: dict[str, Any] = {"timeout": f"{max(1, int(self._seconds * 1000))}ms", **body}
        if names is not None:
            given |= {"index": list(names), "ignore_unavailable": True}
        with _reached():
            answer = self._client.search(**given)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise TookTooLong("The search index (Elasticsearch) took longer than it may.")
        found: Mapping[str, Any] = answer.body
        return found

    def meeting(self, tenant: str, type: str, clause: Clause, fields: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The fields of everything of the type that meets the clause; BadParameter where that is too much."""
        query, after, count = self._asked(tenant, (type,), (clause,)), [0], 0
        while True:
            body = {"query": query, "sort": [{"rid": "asc"}], "size": _AT_ONCE, "search_after": after}
            hits = self._search([self._alias(type)], {**body, "docvalue_fields": list(fields)})["hits"]["hits"]
            count += len(hits)
            if count > MOST_JOINED:
                raise BadParameter(
                    f"More than {MOST_JOINED} resources of type {type} stand in the way: narrow the search."
                )
            yield from (each.get("fields", {}) for each in hits)
            if len(hits) < _AT_ONCE:
                return
            after = hits[-1]["sort"]

    def _alias(self, type: str) -> str:
        return f"{self._prefix}{type.lower()}"

    def _next(self, type: str) -> str:
        return f"{self._alias(type)}.next"

    @property
    def _all(self) -> str:
        return f"{self._prefix}all"

    def _names(self, types: Sequence[str]) -> list[str]:
        if types and len(types) <= _MOST_NAMED:
            return [self._alias(each) for each in types]
        return [self._all]

    def _ensure(self, type: str) -> None:
        """The index of the type is there, with the fields of this release; the first of several that make it does."""
        if type in self._known:
            return
        with _reached():
            if not self._is_alias(self._alias(type)):
                self._create(type, f"{self._alias(type)}-1", {self._alias(type): {}, self._all: {}})
            else:
                with suppress(BadRequestError):  # a field has changed its type: what is written there is refused
                    self._widen(type)
        self._known.add(type)

    def _widen(self, type: str) -> None:
        self._client.indices.put_mapping(index=self._alias(type), properties=mapping.mapping(type)["properties"])

    def _is_alias(self, name: str) -> bool:
        with _reached():
            return bool(self._client.indices.exists_alias(name=name))

    def _create(self, type: str, name: str, aliases: Mapping[str, Any]) -> None:
        try:
            self._client.indices.create(
                index=name, aliases=aliases, settings=self._settings, mappings=mapping.mapping(type)
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise

    def _behind(self, alias: str) -> list[str]:
        found = self._client.options(ignore_status=404).indices.get_alias(name=alias)
        return [] if found.meta.status == 404 else list(found)

    def _drop(self, alias: str) -> None:
        for each in self._behind(alias):
            self._client.options(ignore_status=404).indices.delete(index=each)


@dataclass(frozen=True, slots=True)
class _Resolver:
    index: ElasticsearchIndex
    tenant: str

    def meeting(self, type: str, clause: Clause) -> list[str]:
        return [f"{type}/{each['id'][0]}" for each in self.index.meeting(self.tenant, type, clause, ["id"])]

    def referred(self, source: str, param: str, clause: Clause) -> list[str]:
        name = f"{mapping.field('reference', param)}.local"
        found = self.index.meeting(self.tenant, source, clause, [name])
        return list(dict.fromkeys(local for each in found for local in each.get(name, ())))


def _overtaken(type: str) -> Conflict:
    return Conflict(f"Another reindexing of {type} has begun since, and goes on.")


@contextmanager
def _reached() -> Iterator[None]:
    """Unavailable for whatever keeps the cluster from answering."""
    try:
        yield
    except ConnectionTimeout as error:
        raise TookTooLong("The search index (Elasticsearch) took longer than it may.") from error
    except TransportError as error:
        raise Unavailable("The search index (Elasticsearch) is out of reach.") from error
    except ApiError as error:
        if error.meta.status in (401, 403):
            raise Unavailable("The search index (Elasticsearch) refuses this server's credentials.") from error
        if error.meta.status in (408, 429) or error.meta.status >= 500:
            raise Unavailable("The search index (Elasticsearch) is not able to answer.") from error
        raise
