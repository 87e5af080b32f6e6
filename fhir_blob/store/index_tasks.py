"""What an index outside the database has yet to hear of, and the state of its rebuilding.

A task is appended with each version, in its transaction, and goes once the index has the resource and
was refreshed. A lease lets others take over what a dead indexer left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, func, insert, select, update

from fhir_blob.store import Version
from fhir_blob.store.engine import PostgresqlDatabase, Session, SqliteDatabase, Statement
from fhir_blob.store.queue import Backlog, Claimed, IndexTask, State
from fhir_blob.store.tables import index_state, index_task

T = TypeVar("T")
_QUEUED, _SENT, _ASIDE = 0, 1, 2
_AT_ONCE = 500
_t, _s = index_task.c, index_state.c
_p = bindparam

_APPEND = Statement(
    insert(index_task).values(
        tenant=_p("tenant"), type=_p("type"), id=_p("id"), created=_p("created"),
        state=_QUEUED, lease_until=0, attempts=0, error="",
    )
)  # fmt: skip
_DUE = (_t.state != _ASIDE, _t.lease_until <= _p("now"))
_ANY_DUE = Statement(select(_t.task).where(*_DUE).limit(1))
_NEWEST = Statement(select(func.max(_t.task)).where(_t.state != _ASIDE))
_UP_TO = {
    state: Statement(select(_t.task).where(_t.task <= _p("newest"), _t.state == state).limit(1))
    for state in (_QUEUED, _SENT)
}
_SENT_TYPES = Statement(select(_t.type).where(_t.state == _SENT).distinct())
_COUNTS = Statement(select(_t.state, func.count(), func.min(_t.created)).group_by(_t.state))
_MARK_SENT = Statement(update(index_task).where(_t.task == _p("of_task")).values(state=_SENT))
_RELEASE = Statement(update(index_task).where(_t.task == _p("of_task")).values(state=_QUEUED, lease_until=0))
_SET_ASIDE = Statement(update(index_task).where(_t.task == _p("of_task")).values(state=_ASIDE, error=_p("error")))
_FINISH = Statement(delete(index_task).where(_t.task == _p("of_task")))
_FORGET_ASIDE = Statement(
    delete(index_task).where(
        _t.state == _ASIDE, _t.tenant == _p("of_tenant"), _t.type == _p("of_type"), _t.id == _p("of_id")
    )
)
_ANY_ASIDE = Statement(select(_t.task).where(_t.state == _ASIDE).limit(1))
_PENDING = Statement(select(_t.tenant, _t.id).where(_t.type == _p("type"), _t.state != _ASIDE))
_STATE = Statement(select(_s.value).where(_s.name == _p("name")))
_STATES = Statement(select(_s.name).where(_s.name.like("rebuilding/%")))
_DROP_STATE = Statement(delete(index_state).where(_s.name == _p("of_name")))
_DROP_THIS_STATE = Statement(delete(index_state).where(_s.name == _p("of_name"), _s.value == _p("of_value")))
_PUT_STATE = Statement(insert(index_state).values(name=_p("name"), value=_p("value")))


def append(session: Session, tenant: str, version: Version) -> None:
    named = {"tenant": tenant, "type": version.type, "id": version.id}
    session.run(_APPEND, {**named, "created": version.last_updated})


def _claim(is_postgresql: bool) -> Statement:
    due = select(_t.task).where(*_DUE).order_by(_t.task).limit(_p("most"))
    due = due.with_for_update(skip_locked=True) if is_postgresql else due
    return Statement(
        update(index_task)
        .where(_t.task.in_(due.scalar_subquery()))
        .values(lease_until=_p("until"), attempts=_t.attempts + 1, state=_QUEUED)
        .returning(_t.task, _t.tenant, _t.type, _t.id, _t.attempts)
    )


_CLAIM = {each: _claim(each) for each in (False, True)}


class SqlIndexTasks:
    """IndexTasks on either database; `run` is the store's writer."""

    def __init__(
        self,
        database: SqliteDatabase | PostgresqlDatabase,
        run: Callable[[Callable[[Session], Any]], Any],
    ) -> None:
        self._database, self._run = database, run

    def claim(self, *, now: int, lease: int, limit: int = _AT_ONCE) -> Claimed:
        with self._database.session() as session:
            if session.run(_ANY_DUE, {"now": now}).fetchone() is None:
                return Claimed((), frozenset())

        def work(session: Session) -> Claimed:
            given = {"now": now, "until": now + lease, "most": limit}
            rows = session.run(_CLAIM[session.database.is_postgresql], given).fetchall()
            tasks = tuple(sorted((IndexTask(*row) for row in rows), key=lambda each: each.task))
            return Claimed(tasks, _rebuilding(session))

        claimed: Claimed = self._run(work)
        return claimed

    def sent(self, tasks: Sequence[IndexTask]) -> None:
        self._each(_MARK_SENT, tasks)

    def release(self, tasks: Sequence[IndexTask]) -> None:
        self._each(_RELEASE, tasks)

    def finish(self, tasks: Sequence[IndexTask]) -> None:
        def work(session: Session) -> None:
            session.run_many(_FINISH, [{"of_task": each.task} for each in tasks])
            if session.run(_ANY_ASIDE, {}).fetchone() is not None:
                session.run_many(_FORGET_ASIDE, [_named(each) for each in tasks])

        if tasks:
            self._run(work)

    def set_aside(self, task: IndexTask, error: str) -> None:
        self._run(lambda session: session.run(_SET_ASIDE, {"of_task": task.task, "error": error[:500]}))

    def enqueue(self, named: Iterable[tuple[str, str, str]], *, now: int) -> None:
        rows = [{"tenant": tenant, "type": type, "id": id, "created": now} for tenant, type, id in named]
        if rows:
            self._run(lambda session: session.run_many(_APPEND, rows))

    def newest(self) -> int | None:
        with self._database.session() as session:
            row = session.run(_NEWEST, {}).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def is_queued(self, newest: int) -> bool:
        return self._is_any(_UP_TO[_QUEUED], newest)

    def is_sent(self, newest: int) -> bool:
        return self._is_any(_UP_TO[_SENT], newest)

    def sent_types(self) -> tuple[str, ...]:
        with self._database.session() as session:
            return tuple(row[0] for row in session.run(_SENT_TYPES, {}).fetchall())

    def pending(self, type: str) -> frozenset[tuple[str, str]]:
        with self._database.session() as session:
            return frozenset((row[0], row[1]) for row in session.run(_PENDING, {"type": type}).fetchall())

    def backlog(self) -> Backlog:
        with self._database.session() as session:
            rows = {row[0]: (int(row[1]), int(row[2])) for row in session.run(_COUNTS, {}).fetchall()}
        queued, oldest = rows.get(_QUEUED, (0, 0))
        sent, oldest_sent = rows.get(_SENT, (0, 0))
        began = min((each for each in (oldest, oldest_sent) if each), default=None)
        return Backlog(queued + sent, began, rows.get(_ASIDE, (0, 0))[0])

    def state(self, name: str) -> str:
        with self._database.session() as session:
            row = session.run(_STATE, {"name": name}).fetchone()
        return "" if row is None else str(row[0])

    def put_state(self, name: str, value: str) -> None:
        def work(session: Session) -> None:
            session.run(_DROP_STATE, {"of_name": name})
            if value:
                session.run(_PUT_STATE, {"name": name, "value": value})

        self._run(work)

    def drop_state(self, name: str, value: str) -> None:
        self._run(lambda session: session.run(_DROP_THIS_STATE, {"of_name": name, "of_value": value}))

    def states(self, named: Sequence[tuple[str, str, str]]) -> tuple[State, ...]:
        """One statement for the versions, one for the rows of their references."""
        with self._database.session() as session:
            found = []
            for start in range(0, len(named), _AT_ONCE):
                found += _states(session, named[start : start + _AT_ONCE])
        return tuple(found)

    def scan(self, type: str, *, after_rid: int, limit: int, bodies: bool = True) -> tuple[State, ...]:
        body = "v.body" if bodies else "''"
        text = (
            f"SELECT r.tenant, r.type, r.id, r.version, r.rid, r.last_updated, r.deleted, {body} FROM resource r"
            f" JOIN resource_version v ON v.seq = r.seq WHERE r.type = ? AND r.deleted = 0 AND r.rid > ?"
            " ORDER BY r.rid LIMIT ?"
        )
        with self._database.session() as session:
            rows = _rows(session, text, (type, after_rid, limit))
            references = _references(session, [row[4] for row in rows]) if bodies else {}
        return tuple(_state(row, references) for row in rows)

    def _is_any(self, statement: Statement, newest: int) -> bool:
        with self._database.session() as session:
            return session.run(statement, {"newest": newest}).fetchone() is not None

    def _each(self, statement: Statement, tasks: Sequence[IndexTask]) -> None:
        rows = [{"of_task": each.task} for each in tasks]
        if rows:
            self._run(lambda session: session.run_many(statement, rows))


def _named(task: IndexTask) -> dict[str, str]:
    return {"of_tenant": task.tenant, "of_type": task.type, "of_id": task.id}


def _rebuilding(session: Session) -> frozenset[str]:
    return frozenset(row[0].partition("/")[2] for row in session.run(_STATES, {}).fetchall())


def _rows(session: Session, text: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    sql = text.replace("?", "%s") if session.database.is_postgresql else text
    return list(session.execute(sql, parameters).fetchall())


def _states(session: Session, named: Sequence[tuple[str, str, str]]) -> list[State]:
    groups: dict[tuple[str, str], list[str]] = {}
    for tenant, type, id in named:
        groups.setdefault((tenant, type), []).append(id)
    rows: list[tuple[Any, ...]] = []
    for (tenant, type), ids in groups.items():
        marks = ", ".join("?" * len(ids))
        text = (
            "SELECT r.tenant, r.type, r.id, r.version, r.rid, r.last_updated, r.deleted, v.body FROM resource r"
            f" JOIN resource_version v ON v.seq = r.seq WHERE r.tenant = ? AND r.type = ? AND r.id IN ({marks})"
        )
        rows += _rows(session, text, (tenant, type, *ids))
    references = _references(session, [row[4] for row in rows if not row[6]])
    return [_state(row, references) for row in rows]


def _references(session: Session, rids: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {rid: [] for rid in rids}
    if rids:
        text = f"SELECT rid, {_REFERENCE} FROM reference_index WHERE rid IN ({', '.join('?' * len(rids))})"
        for rid, *row in _rows(session, text, rids):
            found[rid].append(tuple(row))
    return found


_REFERENCE = "param, grp, target_type, target_id, target_version, url"


def _state(row: tuple[Any, ...], references: dict[int, list[tuple[Any, ...]]]) -> State:
    tenant, type, id, version, rid, last_updated, deleted, body = row
    content = bytes(body) if body else b""
    return State(tenant, type, id, version, rid, last_updated, bool(deleted), content, tuple(references.get(rid, ())))
