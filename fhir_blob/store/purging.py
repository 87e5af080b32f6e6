"""Taking versions of resources away for good, and finding those that name somebody, current or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, select

from fhir_blob.store.engine import Session, Statement
from fhir_blob.store.tables import resource, resource_version

# So many rows are looked through in one statement: their bodies are read, so it may take a while.
_STRETCH = 20_000
# What may stand behind a reference in JSON, where a narrative's link ends with an escaped quote.
_ENDS = ('"', "/", "#", "\\")
_v, _r, _p = resource_version.c, resource.c, bindparam

_of = (_v.tenant == _p("of_tenant"), _v.type == _p("of_type"), _v.id == _p("of_id"))
_CURRENT = select(_r.seq).where(_r.tenant == _p("of_tenant"), _r.type == _p("of_type"), _r.id == _p("of_id"))
_PURGE = Statement(
    delete(resource_version).where(*_of, _v.version == _p("of_version"), _v.seq.not_in(_CURRENT.scalar_subquery()))
)

Named = tuple[tuple[str, str, int], ...]


def purge(session: Session, tenant: str, type: str, id: str, versions: Sequence[int]) -> int:
    named = {"of_tenant": tenant, "of_type": type, "of_id": id}
    return sum(session.run(_PURGE, {**named, "of_version": each}).rowcount for each in versions)


def naming(session: Session, tenant: str, name: str, after: int) -> tuple[Named, int | None]:
    found = _naming(session, tenant, name, "v.seq > ? AND v.seq <= ?", (after, after + _STRETCH))
    return found, _next(session, after)


def naming_since(session: Session, tenant: str, name: str, position: tuple[int, int]) -> Named:
    """On PostgreSQL seq is not commit order: what had not been committed then has a later transaction's id."""
    seq, xid = position
    return _naming(session, tenant, name, *(("v.xid >= ?", (xid,)) if xid else ("v.seq > ?", (seq,))))


def position(session: Session) -> tuple[int, int]:
    xid = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint" if session.database.is_postgresql else "0"
    row = session.execute(f"SELECT coalesce(max(seq), 0), {xid} FROM resource_version", ()).fetchone()
    assert row is not None  # an aggregate always gives one
    return int(row[0]), int(row[1])


def secured(session: Session, tenant: str, after: int) -> tuple[tuple[tuple[str, bytes], ...], int | None]:
    has_context, is_patients = _found(session), _found(session)
    rows = _rows(
        session,
        "SELECT v.id, v.body FROM resource_version v WHERE v.seq > ? AND v.seq <= ? AND v.tenant = ?"
        f" AND v.type = 'Binary' AND {has_context} > 0 AND {is_patients} = 0 ORDER BY v.seq",
        (after, after + _STRETCH, tenant, b'"securityContext"', b'"Patient/'),
    )
    return tuple((id, bytes(body)) for id, body in rows), _next(session, after)


def _naming(session: Session, tenant: str, name: str, where: str, given: tuple[int, ...]) -> Named:
    """By hand, since no function that finds bytes in bytes is called alike in both databases."""
    found = _found(session)
    ended = " OR ".join([f"{found} > 0"] * len(_ENDS))
    text = (
        f"SELECT v.type, v.id, v.version FROM resource_version v WHERE {where} AND v.tenant = ?"
        f" AND {found} > 0 AND ({ended}) ORDER BY v.seq"
    )
    names = (name.encode(), *(f"{name}{end}".encode() for end in _ENDS))
    return tuple((type, id, version) for type, id, version in _rows(session, text, (*given, tenant, *names)))


def _found(session: Session) -> str:
    return "position(?::bytea in v.body)" if session.database.is_postgresql else "instr(v.body, ?)"


def _rows(session: Session, text: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    sql = text.replace("?", "%s") if session.database.is_postgresql else text
    return session.execute(sql, parameters).fetchall()


def _next(session: Session, after: int) -> int | None:
    """Where the next stretch begins, None where all has been looked through."""
    end = after + _STRETCH
    return None if position(session)[0] <= end else end
