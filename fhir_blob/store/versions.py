"""Reading and writing versions of resources and their index rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
)

from fhir_blob.errors import Conflict
from fhir_blob.store import HistoryPage, IndexEntries, Version
from fhir_blob.store.engine import Session, Statement, Taken
from fhir_blob.store.queue import State
from fhir_blob.store.tables import INDEX_TABLES, resource, resource_version

_v, _r = resource_version.c, resource.c
_COLUMNS = (_v.type, _v.id, _v.version, _v.last_updated, _v.method, _v.body, _v.slots, _v.seq)
_p = bindparam

_current = (
    select(*_COLUMNS, _r.rid)
    .select_from(resource.join(resource_version, _v.seq == _r.seq))
    .where(_r.tenant == _p("tenant"), _r.type == _p("type"), _r.id == _p("id"))
)
_CURRENT = Statement(_current)
_LOCK = Statement(
    select(_r.rid).where(_r.tenant == _p("tenant"), _r.type == _p("type"), _r.id == _p("id")).with_for_update()
)
_VERSION = Statement(
    select(*_COLUMNS).where(
        _v.tenant == _p("tenant"), _v.type == _p("type"), _v.id == _p("id"), _v.version == _p("version")
    )
)
_XID: Any = literal_column("pg_current_xact_id()::text::bigint")
_VALUES: dict[str, Any] = {
    name: _p(name) for name in ("tenant", "type", "id", "version", "last_updated", "method", "body", "slots")
}
_APPEND = {
    False: Statement(insert(resource_version).values(**_VALUES).returning(_v.seq)),
    True: Statement(insert(resource_version).values(**_VALUES, xid=_XID).returning(_v.seq)),
}
_STATE: dict[str, Any] = {name: _p(name) for name in ("version", "last_updated", "deleted", "seq")}
_BEGIN = Statement(
    insert(resource).values(tenant=_p("tenant"), type=_p("type"), id=_p("id"), **_STATE).returning(_r.rid)
)
_ADVANCE = Statement(
    update(resource)
    .where(_r.tenant == _p("of_tenant"), _r.type == _p("of_type"), _r.id == _p("of_id"), _r.version == _p("expected"))
    .values(**_STATE)
    .returning(_r.rid)
)
_UNINDEX = tuple(Statement(delete(table).where(table.c.rid == _p("of_rid"))) for table in INDEX_TABLES.values())


def current(session: Session, tenant: str, type: str, id: str, *, lock: bool = False) -> Version | None:
    """With `lock` held against other writers. SQLite has one writer anyway.

    PostgreSQL locks in a statement of its own: one that joins would, after waiting for another writer,
    find the row no more, since it checks the join against the version that it saw before. Where it finds
    nothing to lock, what comes meanwhile is not locked, so there is nothing: to make it is tried again.
    """
    named = {"tenant": tenant, "type": type, "id": id}
    if lock and session.database.is_postgresql and session.run(_LOCK, named).fetchone() is None:
        return None
    row = session.run(_CURRENT, named).fetchone()
    return None if row is None else _version(row, rid=row[8])


def share(session: Session, tenant: str, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """In order, so that two that share the same wait for each other and not for ever."""
    found: dict[tuple[str, str], int] = {}
    ordered = sorted(set(named))
    for start in range(0, len(ordered), _SHARED_AT_ONCE):
        part = ordered[start : start + _SHARED_AT_ONCE]
        given = {
            f"{name}{at}": value for at, each in enumerate(part) for name, value in zip(("t", "i"), each, strict=True)
        }
        rows = session.run(_share(len(part)), {"tenant": tenant} | given).fetchall()
        found |= {(type, id): number for type, id, number in rows}
    return found


_SHARED_AT_ONCE = 100


@lru_cache(_SHARED_AT_ONCE)
def _share(count: int) -> Statement:
    named = or_(*(and_(_r.type == _p(f"t{at}"), _r.id == _p(f"i{at}")) for at in range(count)))
    there = select(_r.type, _r.id, _r.version).where(_r.tenant == _p("tenant"), _r.deleted == 0, named)
    return Statement(there.order_by(_r.type, _r.id).with_for_update(read=True, key_share=True))


def version(session: Session, tenant: str, type: str, id: str, number: int) -> Version | None:
    row = session.run(_VERSION, {"tenant": tenant, "type": type, "id": id, "version": number}).fetchone()
    return None if row is None else _version(row)


def _version(row: tuple[Any, ...], rid: int = 0) -> Version:
    type, id, number, last_updated, method, body, slots, seq = row[:8]
    return Version(type, id, number, last_updated, method, bytes(body), slots and bytes(slots), seq, rid)


def put(session: Session, tenant: str, new: Version, entries: IndexEntries, expected: int | None) -> Version:
    """Append, make current by compare-and-set, replace the index rows."""
    named = {"tenant": tenant, "type": new.type, "id": new.id}
    state = {"version": new.version, "last_updated": new.last_updated, "deleted": int(new.deleted)}
    content = {"method": new.method, "body": new.body, "slots": new.slots}
    try:
        seq = _first(session.run(_APPEND[session.database.is_postgresql], {**named, **state, **content}).fetchone())
    except Taken as error:
        if expected is None:
            raise
        raise _outrun(new) from error  # to run it again would find the same
    if expected is None:
        rid = _first(session.run(_BEGIN, {**named, **state, "seq": seq}).fetchone())
    else:
        of = {f"of_{name}": value for name, value in named.items()}
        row = session.run(_ADVANCE, {**of, **state, "seq": seq, "expected": expected}).fetchone()
        if row is None:
            raise _outrun(new)
        rid = row[0]
        for statement in _UNINDEX:
            session.run(statement, {"of_rid": rid})
    _index(session, tenant, new.type, rid, entries)
    return Version(new.type, new.id, new.version, new.last_updated, new.method, new.body, new.slots, seq, rid)


def _outrun(new: Version) -> Conflict:
    return Conflict(f"{new.type}/{new.id} was changed by another writer meanwhile.")


def reindex(session: Session, state: State, entries: IndexEntries) -> bool:
    """Replace the index rows of a resource that is still in that version."""
    found = current(session, state.tenant, state.type, state.id, lock=True)
    if found is None or found.version != state.version:
        return False
    for statement in _UNINDEX:
        session.run(statement, {"of_rid": state.rid})
    _index(session, state.tenant, state.type, state.rid, {} if found.deleted else entries)
    return True


def index_rows(session: Session, rids: Sequence[int]) -> dict[int, IndexEntries]:
    """The index rows of resources, in the columns that they were given in."""
    found: dict[int, dict[str, list[tuple[Any, ...]]]] = {rid: {} for rid in rids}
    marks = ", ".join(["%s" if session.database.is_postgresql else "?"] * len(rids))
    for kind, table in INDEX_TABLES.items() if rids else ():
        columns = ", ".join(column.name for column in table.columns if column.name not in ("rid", "tenant", "type"))
        text = f"SELECT rid, {columns} FROM {table.name} WHERE rid IN ({marks})"
        for rid, *row in session.execute(text, rids).fetchall():
            found[rid].setdefault(kind, []).append(tuple(row))
    return {**found}


def _first(row: tuple[Any, ...] | None) -> int:
    assert row is not None  # INSERT ... RETURNING always gives one
    return int(row[0])


def _index(session: Session, tenant: str, type: str, rid: int, entries: IndexEntries) -> None:
    mark = "%s" if session.database.is_postgresql else "?"
    for kind, rows in entries.items():
        if rows:
            session.insert_many(_INSERTS[kind, mark], [(rid, tenant, type, *row) for row in rows])


def _insert_text(kind: str, mark: str) -> str:
    columns = [column.name for column in INDEX_TABLES[kind].columns]
    marks = ", ".join([mark] * len(columns))
    return f"INSERT INTO {INDEX_TABLES[kind].name} ({', '.join(columns)}) VALUES ({marks})"


_INSERTS = {(kind, mark): _insert_text(kind, mark) for kind in INDEX_TABLES for mark in ("?", "%s")}


def history(
    session: Session,
    tenant: str,
    type: str | None,
    id: str | None,
    *,
    since: int | None,
    at: tuple[int, int] | None,
    before_seq: int | None,
    total: int | None,
    count: int,
) -> HistoryPage:
    """Newest first. On PostgreSQL seq is not commit order: what may still get neighbours is left out."""
    low, high = at or (0, 0)
    given = {"tenant": tenant, "type": type, "id": id, "since": since, "low": low, "high": high}
    settled = session.database.is_postgresql and id is None
    statements = _history(bool(type), bool(id), since is not None, at is not None, settled, before_seq is not None)
    if total is None:
        total = _first(session.run(statements[0], given).fetchone())
    rows = session.run(statements[1], {**given, "count": count, "before": before_seq}).fetchall()
    return HistoryPage(tuple(_version(row) for row in rows), total)


@lru_cache
def _history(type: bool, id: bool, since: bool, at: bool, settled: bool, before: bool) -> tuple[Statement, Statement]:
    """How many match, and a page of them.

    SQLite would read the whole type for one id, and sort everything of the tenant, to have them by seq. The
    versions of an id are in that order anyway, and `+ 0` and the concatenation hide the unfit indexes from it.
    """
    matching = _matching(type, id, since, at, settled)
    tenant = _v.tenant if type or settled else _v.tenant.concat("")
    paged = _matching(type, id, since, at, settled, tenant).order_by(_v.version.desc() if id else _v.seq.desc())
    paged = paged.where((_v.seq + 0 if id else _v.seq) < _p("before")) if before else paged
    return Statement(select(func.count()).select_from(matching.subquery())), Statement(paged.limit(_p("count")))


def _matching(type: bool, id: bool, since: bool, at: bool, settled: bool, tenant: Any = _v.tenant) -> Select[Any]:
    later = resource_version.alias("later")
    same = (later.c.tenant == _v.tenant, later.c.type == _v.type, later.c.id == _v.id)
    superseded = exists().where(*same, later.c.version == _v.version + 1, later.c.last_updated <= _p("low"))
    return select(*_COLUMNS).where(
        tenant == _p("tenant"),
        _v.type == _p("type") if type else true(),
        _v.id == _p("id") if id else true(),
        _v.last_updated >= _p("since") if since else true(),
        and_(_v.last_updated < _p("high"), ~superseded) if at else true(),
        or_(_v.xid < _snapshot("xmin"), _v.xid >= _snapshot("xmax"), _v.xid == _OWN) if settled else true(),
    )


# What the transaction itself has written; NULL where it has written nothing.
_OWN: Any = literal_column("pg_current_xact_id_if_assigned()::text::bigint")


def _snapshot(end: str) -> Any:
    """Below xmin everything is decided; what can be seen from xmax on came with a dump from another server."""
    return literal_column(f"pg_snapshot_{end}(pg_current_snapshot())::text::bigint")
