"""Reading and writing blobs, who refers to them, the outbox and the accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, literal_column, or_, select, update

from fhir_blob.store import Account, Blob, BlobState, Task
from fhir_blob.store.engine import Session, Statement
from fhir_blob.store.tables import account, blob, blob_reference, outbox

_p, _b = bindparam, blob.c
_NAMES = tuple(each.name for each in fields(Blob))
_COLUMNS = tuple(_b[name] for name in _NAMES)
_GONE: list[Any] = [literal_column("'deleting'"), literal_column("'deleted'")]
_UNFINISHED: list[Any] = [literal_column("'pending'"), literal_column("'verifying'")]


def _select(*conditions: Any) -> Any:
    return select(*_COLUMNS).where(_b.tenant == _p("tenant"), *conditions)


_BY_ID = Statement(_select(_b.id == _p("id")))
_OF_BINARY = Statement(_select(_b.binary_id == _p("binary_id")).order_by(_b.created, _b.id))
_AT_VERSION = Statement(
    _select(_b.binary_id == _p("binary_id"), _b.version <= _p("version"), _b.state.not_in(_GONE))
    .order_by(_b.version.desc())
    .limit(1)
)
_OFFERED = Statement(
    _select(
        _b.binary_id == _p("binary_id"),
        _b.version.is_(None),
        _b.pending_key != "",
        _b.state.in_(_UNFINISHED),
    )
    .order_by(_b.created.desc())
    .limit(1)
)
_AT = (_b.account == _p("account"), _b.bucket == _p("bucket"))
_BY_PENDING = Statement(
    _select(*_AT, _b.pending_key == _p("key"), _b.state.not_in(_GONE)).order_by(_b.created.desc()).limit(1)
)
_BY_OBJECT = Statement(_select(*_AT, _b.object_key == _p("key"), _b.state.not_in(_GONE)).limit(1))
_OWNED = Statement(_select(_b.owner == _p("owner")))
_KNOWS = Statement(
    select(_b.id)
    .where(*_AT, or_(_b.pending_key == _p("key"), _b.object_key == _p("key")), _b.state != "deleted")
    .limit(1)
)
_IN_STATE = Statement(
    select(_b.tenant, *_COLUMNS)
    .where(_b.state == _p("state"), _b.created < _p("before"), _b.id > _p("after"))
    .order_by(_b.id)
    .limit(_p("limit"))
)
_PLACES = Statement(select(_b.tenant, _b.account, _b.bucket).distinct().order_by(_b.tenant, _b.account, _b.bucket))
_ACCOUNT_IN_USE = Statement(_select(_b.account == _p("account"), _b.state != "deleted").limit(1))
_INSERT = Statement(insert(blob).values(tenant=_p("tenant"), **{name: _p(name) for name in _NAMES}))
_DROP = Statement(delete(blob).where(_b.tenant == _p("of_tenant"), _b.id == _p("of_id")))
_UPDATE = Statement(
    update(blob)
    .where(_b.tenant == _p("of_tenant"), _b.id == _p("of_id"))
    .values({name: _p(name) for name in _NAMES if name != "id"})
)

_f = blob_reference.c
_REFERRERS = Statement(
    select(_f.type, _f.id)
    .where(_f.tenant == _p("tenant"), _f.binary_id == _p("binary_id"))
    .order_by(_f.type, _f.id)
    .limit(100)
)
_UNREFER = Statement(delete(blob_reference).where(_f.tenant == _p("tenant"), _f.type == _p("type"), _f.id == _p("id")))
_REFER = Statement(
    insert(blob_reference).values({name: _p(name) for name in ("tenant", "binary_id", "type", "id", "version")})
)

_o = outbox.c
_ENQUEUE = Statement(
    insert(outbox)
    .values(
        tenant=_p("tenant"),
        kind=_p("kind"),
        payload=_p("payload"),
        not_before=_p("not_before"),
        lease_until=0,
        attempts=0,
        error="",
    )
    .returning(_o.task)
)
_WAITING = Statement(
    select(func.count())
    .select_from(outbox)
    .where(_o.tenant == _p("tenant"), _o.kind == _p("kind"), or_(_o.not_before <= _p("now"), _o.error != ""))
)
_ACCOUNT_IN_TASK = Statement(
    select(_o.task).where(_o.tenant == _p("tenant"), _o.kind == "erase", _o.payload.like(_p("named"))).limit(1)
)
_FINISH = Statement(delete(outbox).where(_o.task == _p("of_task")))
_POSTPONE = Statement(
    update(outbox).where(_o.task == _p("of_task")).values(not_before=_p("not_before"), lease_until=0, error=_p("error"))
)

_a = account.c
_ACCOUNT = Statement(
    select(_a.id, _a.version, _a.last_updated, _a.document, _a.secret).where(
        _a.tenant == _p("tenant"), _a.id == _p("id")
    )
)
_ACCOUNT_IDS = Statement(select(_a.id).where(_a.tenant == _p("tenant")).order_by(_a.id))
_DROP_ACCOUNT = Statement(delete(account).where(_a.tenant == _p("tenant"), _a.id == _p("id")))
_PUT_ACCOUNT = Statement(
    insert(account).values(
        {name: _p(name) for name in ("tenant", "id", "version", "last_updated", "document", "secret")}
    )
)


def _one(session: Session, statement: Statement, given: dict[str, Any]) -> Blob | None:
    row = session.run(statement, given).fetchone()
    return None if row is None else Blob(*row)


def _all(session: Session, statement: Statement, given: dict[str, Any]) -> tuple[Blob, ...]:
    return tuple(Blob(*row) for row in session.run(statement, given).fetchall())


def by_id(session: Session, tenant: str, id: str) -> Blob | None:
    return _one(session, _BY_ID, {"tenant": tenant, "id": id})


def at_version(session: Session, tenant: str, binary_id: str, version: int) -> Blob | None:
    return _one(session, _AT_VERSION, {"tenant": tenant, "binary_id": binary_id, "version": version})


def offered(session: Session, tenant: str, binary_id: str) -> Blob | None:
    return _one(session, _OFFERED, {"tenant": tenant, "binary_id": binary_id})


def of_binary(session: Session, tenant: str, binary_id: str) -> tuple[Blob, ...]:
    return _all(session, _OF_BINARY, {"tenant": tenant, "binary_id": binary_id})


def by_key(session: Session, tenant: str, account: str, bucket: str, key: str, *, pending: bool) -> Blob | None:
    given = {"tenant": tenant, "account": account, "bucket": bucket, "key": key}
    return _one(session, _BY_PENDING if pending else _BY_OBJECT, given)


def owned_by(session: Session, tenant: str, owner: str) -> tuple[Blob, ...]:
    return _all(session, _OWNED, {"tenant": tenant, "owner": owner})


def of_many(
    session: Session, tenant: str, wanted: Sequence[tuple[str, int | None]]
) -> dict[tuple[str, int | None], Blob]:
    """One statement for all: the rows of those Binaries, of which the highest version wanted is taken."""
    ids = sorted({binary_id for binary_id, _ in wanted})
    found: dict[str, list[Blob]] = {}
    for row in session.run(
        _of_ids(len(ids)), {"tenant": tenant} | {f"id{n}": id for n, id in enumerate(ids)}
    ).fetchall():
        each = Blob(*row)
        found.setdefault(each.binary_id, []).append(each)
    chosen = {key: _chosen(found.get(key[0], []), key[1]) for key in wanted}
    return {key: each for key, each in chosen.items() if each is not None}


def _chosen(rows: list[Blob], version: int | None) -> Blob | None:
    """Rows come by version; None wants the highest."""
    return next((row for row in reversed(rows) if version is None or (row.version or 0) <= version), None)


@lru_cache
def _of_ids(count: int) -> Statement:
    ids: list[Any] = [_p(f"id{number}") for number in range(count)]
    return Statement(
        _select(_b.binary_id.in_(ids), _b.version.is_not(None), _b.state.not_in(_GONE)).order_by(_b.version)
    )


def in_state(session: Session, state: BlobState, before: int, limit: int, after: str) -> tuple[tuple[str, Blob], ...]:
    given = {"state": state, "before": before, "after": after, "limit": limit}
    return tuple((row[0], Blob(*row[1:])) for row in session.run(_IN_STATE, given).fetchall())


def places(session: Session) -> tuple[tuple[str, str, str], ...]:
    return tuple((tenant, account, bucket) for tenant, account, bucket in session.run(_PLACES, {}).fetchall())


def knows_object(session: Session, account: str, bucket: str, key: str) -> bool:
    return session.run(_KNOWS, {"account": account, "bucket": bucket, "key": key}).fetchone() is not None


def put(session: Session, tenant: str, row: Blob) -> None:
    given = {"tenant": tenant, "of_tenant": tenant, "of_id": row.id} | {name: getattr(row, name) for name in _NAMES}
    if session.run(_UPDATE, given).rowcount == 0:
        session.run(_INSERT, given)


def drop(session: Session, tenant: str, id: str) -> None:
    session.run(_DROP, {"of_tenant": tenant, "of_id": id})


def referrers(session: Session, tenant: str, binary_id: str) -> tuple[str, ...]:
    rows = session.run(_REFERRERS, {"tenant": tenant, "binary_id": binary_id}).fetchall()
    return tuple(f"{type}/{id}" for type, id in rows)


def refer(session: Session, tenant: str, type: str, id: str, version: int, binary_ids: Sequence[str]) -> None:
    named = {"tenant": tenant, "type": type, "id": id}
    if version > 1:
        session.run(_UNREFER, named)
    if binary_ids:
        rows = [{**named, "version": version, "binary_id": each} for each in sorted(set(binary_ids))]
        session.run_many(_REFER, rows)


def enqueue(session: Session, tenant: str, task: Task) -> int:
    given = {"tenant": tenant, "kind": task.kind, "payload": task.payload, "not_before": task.not_before}
    row = session.run(_ENQUEUE, given).fetchone()
    assert row is not None  # INSERT ... RETURNING always gives one
    return int(row[0])


def waiting(session: Session, tenant: str, kind: str, now: int) -> int:
    row = session.run(_WAITING, {"tenant": tenant, "kind": kind, "now": now}).fetchone()
    return 0 if row is None else int(row[0])


def any_due(session: Session, kinds: Sequence[str], now: int) -> bool:
    """A cheap look before the write lock is taken."""
    return session.run(_due(len(kinds)), {"now": now} | _named(kinds)).fetchone() is not None


@lru_cache
def _due(count: int) -> Statement:
    return Statement(select(_o.task).where(*_is_due(count)).limit(1))


def claim(session: Session, kinds: Sequence[str], now: int, lease: int, limit: int) -> tuple[Task, ...]:
    given = {"now": now, "until": now + lease, "most": limit} | _named(kinds)
    rows = session.run(_claim(session.database.is_postgresql, len(kinds)), given).fetchall()
    return tuple(
        Task(kind, payload, not_before, task, attempts, tenant)
        for task, tenant, kind, payload, not_before, attempts in rows
    )


def _named(kinds: Sequence[str]) -> dict[str, Any]:
    return {f"kind{number}": kind for number, kind in enumerate(kinds)}


@lru_cache
def _claim(is_postgresql: bool, count: int) -> Statement:
    due = select(_o.task).where(*_is_due(count)).order_by(_o.not_before, _o.task).limit(_p("most"))
    due = due.with_for_update(skip_locked=True) if is_postgresql else due
    return Statement(
        update(outbox)
        .where(_o.task.in_(due.scalar_subquery()))
        .values(lease_until=_p("until"), attempts=_o.attempts + 1)
        .returning(_o.task, _o.tenant, _o.kind, _o.payload, _o.not_before, _o.attempts)
    )


def _is_due(count: int) -> tuple[Any, ...]:
    kinds: list[Any] = [_p(f"kind{number}") for number in range(count)]
    return _o.kind.in_(kinds), _o.not_before <= _p("now"), _o.lease_until <= _p("now")


def finish(session: Session, task: int) -> None:
    session.run(_FINISH, {"of_task": task})


def postpone(session: Session, task: Task, not_before: int, error: str) -> None:
    session.run(_POSTPONE, {"of_task": task.task, "not_before": not_before, "error": error[:500]})


def account_by_id(session: Session, tenant: str, id: str) -> Account | None:
    row = session.run(_ACCOUNT, {"tenant": tenant, "id": id}).fetchone()
    return None if row is None else Account(row[0], row[1], row[2], row[3], bytes(row[4]))


def account_ids(session: Session, tenant: str) -> tuple[str, ...]:
    return tuple(row[0] for row in session.run(_ACCOUNT_IDS, {"tenant": tenant}).fetchall())


def account_in_use(session: Session, tenant: str, id: str) -> bool:
    given = {"tenant": tenant, "account": id, "named": f'%"account": "{id}"%'}
    return any(session.run(each, given).fetchone() is not None for each in (_ACCOUNT_IN_USE, _ACCOUNT_IN_TASK))


def put_account(session: Session, tenant: str, row: Account) -> None:
    drop_account(session, tenant, row.id)
    session.run(_PUT_ACCOUNT, {"tenant": tenant} | asdict(row))


def drop_account(session: Session, tenant: str, id: str) -> bool:
    return session.run(_DROP_ACCOUNT, {"tenant": tenant, "id": id}).rowcount > 0
