"""SearchIndex in the database that the resources are in: one statement a page, on SQLite and PostgreSQL.

A page starts after a key (sort keys, then rid), never at an offset, so that writing between two pages
moves nothing. The condition that likely leaves the fewest is looked up first, and the others are asked
of each resource that it gives: SQLite has no figures to plan by, and PostgreSQL, which prepares a
statement once for all values, guesses them badly (8 ms instead of 0.3 for patient, category and date).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir.definitions import definitions
from fhir_blob.search import Criterion, Near, Page, Query, SortKey
from fhir_blob.search.cursors import Position, seal, unseal
from fhir_blob.search.near import distance
from fhir_blob.search.sql.compiler import NO_SOURCE, Compiler, Row, asks_row, is_own, rank, size, sql, there
from fhir_blob.search.sql.rows import SELECTED, WIDTH, version_of
from fhir_blob.search.sql.statements import Sql, all_of, any_of
from fhir_blob.store import Reader

# PostgreSQL tries every order of so many: https://www.postgresql.org/docs/current/runtime-config-query.html
_MOST_JOINED = 8


class SqlIndex:
    """`secret` seals the cursors; servers that share a database share it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def search(self, reader: Reader, query: Query) -> Page:
        """One page. BadParameter for a cursor that is not of this query; Unavailable past the time limit."""
        position = unseal(self._secret, reader.tenant, query)
        plan = _plan(reader, query)
        rows = _rows(reader, _page(plan, query, position)) if query.count else []
        is_last = len(rows) <= query.count
        rows = rows[: query.count]
        total = _total(reader, plan, query, position, len(rows) if is_last else None)
        cursor = None
        if rows and not is_last:
            last = rows[-1]
            cursor = seal(self._secret, reader.tenant, query, Position(last[WIDTH:], last[8], total))
        return Page(tuple(version_of(row) for row in rows), total, cursor)


def _rows(reader: Reader, sql: Sql) -> list[tuple[Any, ...]]:
    return reader.rows(sql.text, sql.arguments)


def _total(reader: Reader, plan: _Plan, query: Query, position: Position | None, found: int | None) -> int | None:
    """All matches. A page that is the first and the last has counted them; later pages know from the first."""
    if query.total != "accurate":
        return None
    if position is not None and position.total is not None:
        return position.total
    if position is None and query.count and found is not None:
        return found
    return int(_rows(reader, _count(plan))[0][0])


@dataclass(frozen=True, slots=True)
class _Plan:
    """`FROM source WHERE where`, `rid` the column that names a resource, in the source more than once if `is_many`."""

    source: Sql
    rid: str
    is_many: bool
    where: tuple[Sql, ...]
    own: tuple[Sql, ...]
    tenant: str
    is_postgresql: bool


def _plan(reader: Reader, query: Query) -> _Plan:
    compiler = Compiler(reader, many=sum(map(size, query.criteria)) > _MOST_JOINED)
    asked = [each for each in query.criteria if not is_own(each)]
    by_id = any(isinstance(each, Criterion) and each.parameter.code == "_id" for each in query.criteria)
    first = None if by_id else min((each for each in asked if rank(each) < NO_SOURCE), key=rank, default=None)
    row = Row("r.rid" if first is None else "d.rid", "r")
    others = [each for each in query.criteria if each is not first]
    own = tuple(compiler.holds(each, query.types, Row("r.rid", "r")) for each in others if asks_row(each))
    rest = tuple(compiler.holds(each, query.types, row) for each in others if not asks_row(each))
    if first is None:
        scope = (*compiler.scope("r", _named(query) if by_id else query.types), there("r", by_id=by_id))
        return _Plan(Sql("resource r"), row.rid, False, (*scope, *rest), own, reader.tenant, reader.is_postgresql)
    source = sql("(", compiler.source(first, query.types), ") d")
    return _Plan(source, row.rid, True, rest, own, reader.tenant, reader.is_postgresql)


def _named(query: Query) -> tuple[str, ...]:
    """An id is looked up in the types one by one."""
    return query.types or tuple(definitions().types)


def _page(plan: _Plan, query: Query, position: Position | None) -> Sql:
    """The rows of a page and one more; bodies are fetched for these alone."""
    found = _sorted_page(plan, query, position) if query.sort else _plain_page(plan, query, position)
    keys = "".join(f", p.k{number}" for number in range(len(query.sort)))
    text = f"SELECT {SELECTED}, p.rid{keys} FROM ({found.text}) p {_join(plan)} resource_version v ON v.seq = p.seq"
    return Sql(f"{text} ORDER BY {_order(query, 'p')}", found.arguments)


def _join(plan: _Plan) -> str:
    """SQLite keeps the order of a CROSS JOIN."""
    return "JOIN" if plan.is_postgresql else "CROSS JOIN"


def _shown(plan: _Plan) -> str:
    """PostgreSQL groups by a primary key where other columns of its table are selected."""
    return "r.rid" if plan.is_postgresql else plan.rid


def _selection(plan: _Plan, columns: str, where: Sequence[Sql], arguments: tuple[Any, ...] = ()) -> Sql:
    """`columns` of each resource that matches; a deleted one has no index rows."""
    source = plan.source.text
    if plan.is_many:
        source = f"{source} {_join(plan)} resource r ON r.rid = d.rid"
    condition = all_of([*plan.where, *plan.own, *where, Sql("1 = 1")])
    group = f" GROUP BY {_shown(plan)}" if plan.is_many else ""
    text = f"SELECT {columns} FROM {source} WHERE {condition.text}{group}"
    return Sql(text, (*arguments, *plan.source.arguments, *condition.arguments))


def _plain_page(plan: _Plan, query: Query, position: Position | None) -> Sql:
    after = [] if position is None else [Sql(f"{plan.rid} > ?", (position.rid,))]
    found = _selection(plan, f"{_shown(plan)} AS rid, r.seq AS seq", after)
    return Sql(f"{found.text} ORDER BY {_shown(plan)} LIMIT ?", (*found.arguments, query.count + 1))


def _sorted_page(plan: _Plan, query: Query, position: Position | None) -> Sql:
    keys = [_sort_key(plan, each, number) for number, each in enumerate(query.sort)]
    columns = ", ".join(["r.rid AS rid", "r.seq AS seq", *(each.text for each in keys)])
    found = _selection(plan, columns, (), tuple(a for each in keys for a in each.arguments))
    after = Sql("1 = 1") if position is None else _after(query, position)
    text = f"SELECT * FROM ({found.text}) m WHERE {after.text} ORDER BY {_order(query, 'm')} LIMIT ?"
    return Sql(text, (*found.arguments, *after.arguments, query.count + 1))


# The column that a value type is sorted by, and which rows have none.
_SORTED: dict[str, tuple[str, str]] = {
    "token": ("s.code", " AND s.code <> ''"),
    "string": ("s.value", ""),
    "reference": ("CASE s.target_id WHEN '' THEN s.url ELSE s.target_id END", " AND s.target_id || s.url <> ''"),
    "uri": ("s.value", ""),
    "date": ("s.low", ""),
    "number": ("s.low", ""),
    "quantity": ("s.low", ""),
}
_TEXTS = {"token", "string", "reference", "uri"}
_NEVER_NULL = {"_id", "_lastUpdated"}


def _sort_key(plan: _Plan, key: SortKey, number: int) -> Sql:
    """Of several values the least when ascending, the greatest when descending."""
    type, code = key.parameter.type, key.parameter.code
    collation = ' COLLATE "C"' if plan.is_postgresql and (type in _TEXTS) else ""
    if code == "_id":
        return Sql(f"r.id{collation} AS k{number}")
    if code == "_lastUpdated":
        return Sql(f"r.last_updated AS k{number}")
    if key.place is not None:
        return _distance_key(plan, key.place, code, number)
    column, present = _SORTED[type]
    hint = "" if plan.is_postgresql else f" INDEXED BY {type}_index_by_rid"
    best = f"{'max' if key.descending else 'min'}(({column}){collation})"
    text = f"(SELECT {best} FROM {type}_index s{hint} WHERE s.rid = r.rid AND s.tenant = ? AND s.param = ?{present})"
    return Sql(f"{text} AS k{number}", (plan.tenant, code))


def _distance_key(plan: _Plan, place: Near, code: str, number: int) -> Sql:
    """How far away it is, as what grows with that."""
    apart = distance(place, ("s.low", "sy.low", "sz.low"))
    hint = "" if plan.is_postgresql else " INDEXED BY number_index_by_rid"
    others = " ".join(
        f"{_join(plan)} number_index s{axis}{hint} ON s{axis}.rid = s.rid AND s{axis}.grp = s.grp AND s{axis}.param = ?"
        for axis in "yz"
    )
    text = (
        f"(SELECT min({apart.text}) FROM number_index s{hint} {others} WHERE s.rid = r.rid AND s.tenant = ?"
        f" AND s.param = ?) AS k{number}"
    )
    return Sql(text, (*apart.arguments, f"{code}:y", f"{code}:z", plan.tenant, f"{code}:x"))


def _order(query: Query, name: str) -> str:
    """Resources without the key come last, whichever the direction; the last key's direction is that of ties."""
    keys = [
        f"{name}.k{number}{' DESC' if each.descending else ''}"
        + ("" if each.parameter.code in _NEVER_NULL else " NULLS LAST")
        for number, each in enumerate(query.sort)
    ]
    return ", ".join([*keys, f"{name}.rid{' DESC' if _is_descending(query) else ''}"])


def _is_descending(query: Query) -> bool:
    return bool(query.sort) and query.sort[-1].descending


def _after(query: Query, position: Position) -> Sql:
    """What comes after the position: greater in one key, and equal in those before it."""
    terms, equal = [], [Sql("1 = 1")]
    for number, (key, value) in enumerate(zip(query.sort, position.keys, strict=True)):
        column = f"m.k{number}"
        if value is not None:
            missing = "" if key.parameter.code in _NEVER_NULL else f" OR {column} IS NULL"
            beyond = Sql(f"({column} {'<' if key.descending else '>'} ?{missing})", (value,))
            terms.append(all_of([*equal, beyond]))
        equal.append(Sql(f"{column} IS NULL") if value is None else Sql(f"{column} = ?", (value,)))
    terms.append(all_of([*equal, Sql(f"m.rid {'<' if _is_descending(query) else '>'} ?", (position.rid,))]))
    first = query.sort[0]
    if first.parameter.code in _NEVER_NULL:  # where the index is to begin
        start = Sql(f"m.k0 {'<=' if first.descending else '>='} ?", (position.keys[0],))
        return all_of([start, any_of(terms)])
    return any_of(terms)


def _count(plan: _Plan) -> Sql:
    if plan.is_many and not plan.own:
        condition = all_of([*plan.where, Sql("1 = 1")])
        text = f"SELECT count(DISTINCT d.rid) FROM {plan.source.text} WHERE {condition.text}"
        return Sql(text, (*plan.source.arguments, *condition.arguments))
    found = _selection(plan, "1", ())
    return Sql(f"SELECT count(*) FROM ({found.text}) n", found.arguments)
