"""Taking versions of resources away for good, and finding those that no index knows any more."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select

from fhir_blob.store.engine import Session, Statement
from fhir_blob.store.tables import resource, resource_version

# So many rows are looked through in one statement: their bodies are read, so it may take a while.
_STRETCH = 20_000
_v, _r, _p = resource_version.c, resource.c, bindparam

_of = (_v.tenant == _p("of_tenant"), _v.type == _p("of_type"), _v.id == _p("of_id"))
_CURRENT = select(_r.seq).where(_r.tenant == _p("of_tenant"), _r.type == _p("of_type"), _r.id == _p("of_id"))
_PURGE = Statement(
    delete(resource_version).where(*_of, _v.version == _p("of_version"), _v.seq.not_in(_CURRENT.scalar_subquery()))
)


def purge(session: Session, tenant: str, type: str, id: str, versions: Sequence[int]) -> int:
    named = {"of_tenant": tenant, "of_type": type, "of_id": id}
    return sum(session.run(_PURGE, {**named, "of_version": each}).rowcount for each in versions)


def naming(session: Session, tenant: str, text: str, after: int) -> tuple[tuple[tuple[str, str, int], ...], int | None]:
    """By hand, since no function that finds bytes in bytes is called alike in both databases."""
    is_postgresql = session.database.is_postgresql
    mark = "%s" if is_postgresql else "?"
    found_at = "position(%s::bytea in v.body)" if is_postgresql else "instr(v.body, ?)"
    stretch = (
        f"SELECT v.type, v.id, v.version FROM resource_version v"
        f" JOIN resource r ON r.tenant = v.tenant AND r.type = v.type AND r.id = v.id"
        f" WHERE v.seq > {mark} AND v.seq <= {mark} AND v.tenant = {mark}"
        f" AND (r.seq <> v.seq OR v.type = 'Binary') AND {found_at} > 0 ORDER BY v.seq"
    )
    end = after + _STRETCH
    rows = session.execute(stretch, (after, end, tenant, text.encode())).fetchall()
    last = session.execute("SELECT max(seq) FROM resource_version", ()).fetchone()
    is_last = last is None or last[0] is None or last[0] <= end
    return tuple((type, id, version) for type, id, version in rows), None if is_last else end
