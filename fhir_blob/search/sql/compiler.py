"""Clauses as SQL, in two forms: where the search begins, and what is asked of each resource found so far.

`source` is a SELECT of the rids that meet a clause; `holds` is an expression that is true of a resource
that does. SQLite is told which index to take and in which order to join, since it has no figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from fhir_blob.fhir.definitions import definitions
from fhir_blob.search import AllOf, AnyOf, Chain, Clause, Compartment, Concerning, Criterion, Has, Not, Words
from fhir_blob.search.sql.conditions import Condition, condition, ids, last_updated
from fhir_blob.search.sql.statements import Sql, all_of, any_of, one_of
from fhir_blob.store import Reader

# A rank beyond those of conditions: nothing to begin with.
NO_SOURCE = 99
OWN = {"_id": ids, "_lastUpdated": last_updated}


@dataclass(frozen=True, slots=True)
class Row:
    """A resource in a statement: the expression that is its rid, and its name as a row of `resource`."""

    rid: str
    name: str


def sql(*parts: str | Sql) -> Sql:
    """The parts one after another."""
    pieces = [Sql(each) if isinstance(each, str) else each for each in parts]
    return Sql("".join(each.text for each in pieces), tuple(a for each in pieces for a in each.arguments))


def there(name: str, *, by_id: bool = False) -> Sql:
    """It is not deleted. By id SQLite is kept from the index on `deleted`, in which it would read a whole type."""
    return Sql(f"{name}.deleted + 0 = 0" if by_id else f"{name}.deleted = 0")


def is_own(clause: Clause) -> bool:
    """Whether the clause is on columns of `resource` itself."""
    return isinstance(clause, Criterion) and clause.parameter.code in OWN


def asks_row(clause: Clause) -> bool:
    """Whether it asks of columns of `resource` itself, be it among others."""
    match clause:
        case AllOf() | AnyOf():
            return any(asks_row(each) for each in clause.clauses)
        case Not() | Concerning():
            return asks_row(clause.clause)
    return is_own(clause)


def size(clause: Clause) -> int:
    """How many conditions stand in the clause."""
    match clause:
        case AllOf() | AnyOf():
            return sum(size(each) for each in clause.clauses)
        case Chain():
            return max(size(inner) for _, inner in clause.ways)
        case Has() | Not() | Concerning():
            return size(clause.clause)
    return 1


def rank(clause: Clause) -> int:
    """The lower, the fewer resources the clause is likely to leave."""
    match clause:
        case Criterion():
            return _criterion_rank(clause)
        case Chain():
            return 1 + max(rank(inner) for _, inner in clause.ways)
        case Has():
            return 1 + rank(clause.clause)
        case Compartment():
            return 1
        case AllOf():
            return min(rank(each) for each in clause.clauses)
        case AnyOf():
            return min(NO_SOURCE, 1 + max(rank(each) for each in clause.clauses))
        case Words() | Concerning() | Not():
            return NO_SOURCE


def _criterion_rank(clause: Criterion) -> int:
    if is_own(clause):
        return 0 if clause.parameter.code == "_id" else NO_SOURCE
    found = condition(clause)
    return NO_SOURCE if found.negated else found.rank


class Compiler:
    """Of one statement: its names are not used twice.

    `many`: so many clauses that PostgreSQL, which makes joins of them, would plan for seconds; it asks one by one.
    """

    def __init__(self, reader: Reader, *, many: bool = False) -> None:
        self._tenant, self._is_postgresql = reader.tenant, reader.is_postgresql
        self._is_fenced = many and reader.is_postgresql
        self._numbers = count()

    @property
    def join(self) -> str:
        """SQLite keeps the order of a CROSS JOIN."""
        return "JOIN" if self._is_postgresql else "CROSS JOIN"

    def scope(self, name: str, types: Sequence[str]) -> tuple[Sql, ...]:
        tenancy = Sql(f"{name}.tenant = ?", (self._tenant,))
        return (tenancy, one_of(f"{name}.type", types)) if types else (tenancy,)

    def source(self, clause: Clause, types: Sequence[str]) -> Sql:
        """SELECT ... AS rid, a resource maybe more than once."""
        if rank(clause) >= NO_SOURCE or is_own(clause):
            return self._scanned(clause, types)
        match clause:
            case Criterion():
                return self._rows(condition(clause), types, "i.rid AS rid", "value")
            case Chain():
                followed = [self._followed(clause, *way, types) for way in clause.ways]
                inside = [self._named(each, types) for each in clause.inside]
                return sql(*_between(" UNION ALL ", [*followed, *inside]))
            case Has():
                return self._referred(clause, types)
            case Compartment():
                return self._members(clause, types)
            case AllOf():
                return self._narrowed(clause, types)
            case AnyOf():
                return sql(*_between(" UNION ALL ", [self._named(each, types) for each in clause.clauses]))
        raise AssertionError(clause)  # the others are scanned for

    def holds(self, clause: Clause, types: Sequence[str], row: Row) -> Sql:
        """True of the resource `row`, which is of one of these types."""
        match clause:
            case Criterion():
                return self._meets(clause, types, row)
            case Chain():
                inside = [self.holds(each, types, row) for each in clause.inside]
                return any_of([self._chain_holds(clause, row), *inside])
            case Has():
                return self._has_holds(clause, row)
            case Compartment():
                return sql(row.rid, " IN (", self._members(clause, types), ")")
            case Words():
                return self._words_hold(clause, row)
            case Concerning():
                return self._concerning_holds(clause, row)
            case AllOf():
                return all_of([self.holds(each, types, row) for each in clause.clauses])
            case AnyOf():
                return any_of([self.holds(each, types, row) for each in clause.clauses])
            case Not():
                fence = " IS TRUE" if self._is_fenced else ""
                return sql("(NOT (", self.holds(clause.clause, types, row), f")){fence}")

    def _name(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"

    def _scanned(self, clause: Clause, types: Sequence[str]) -> Sql:
        name = self._name("b")
        by_id = isinstance(clause, Criterion) and clause.parameter.code == "_id"
        if by_id:
            types = types or tuple(definitions().types)  # looked up in one after another
        where = (*self.scope(name, types), there(name, by_id=by_id))
        held = self.holds(clause, types, Row(f"{name}.rid", name))
        return sql(f"SELECT {name}.rid AS rid FROM resource {name} WHERE ", all_of([*where, held]))

    def _named(self, clause: Clause, types: Sequence[str]) -> Sql:
        """The source by a name of its own, so that it stands beside others."""
        name = self._name("u")
        return sql(f"SELECT {name}.rid AS rid FROM (", self.source(clause, types), f") {name}")

    def _narrowed(self, clause: AllOf, types: Sequence[str]) -> Sql:
        """The part that likely leaves the fewest is looked up, and the others asked of what it gives."""
        first = min(clause.clauses, key=rank)
        found, name = self._name("f"), self._name("b")
        rest = [self.holds(each, types, Row(f"{name}.rid", name)) for each in clause.clauses if each is not first]
        source = self.source(first, types)
        joined = f"{self.join} resource {name} ON {name}.rid = {found}.rid"
        return sql(f"SELECT {name}.rid AS rid FROM (", source, f") {found} {joined} WHERE ", all_of(rest))

    def _rows(self, each: Condition, types: Sequence[str], selected: str, index: str, more: str = "") -> Sql:
        """The rows of a condition; SQLite is told by which index."""
        hint = "" if self._is_postgresql else f" INDEXED BY {each.table}_by_{index}"
        if index == "value":
            types = types or tuple(definitions().types)  # the index has them before the value
        where = all_of([*self.scope("i", types), one_of("i.param", each.params), each.where])
        return sql(f"SELECT {selected} FROM {each.table} i{hint} ", each.join, f" WHERE {more}", where)

    def _meets(self, clause: Criterion, types: Sequence[str], row: Row) -> Sql:
        if is_own(clause):
            return OWN[clause.parameter.code](clause.values, row.name)
        each = condition(clause)
        rows = self._rows(each, types, "1", "value" if each.sought and types else "rid", f"i.rid = {row.rid} AND ")
        # Keeps PostgreSQL from making a join of it, in an order of its own.
        is_fenced = self._is_fenced or (self._is_postgresql and row.rid == "d.rid")
        fence = " OFFSET 0" if is_fenced else ""
        return sql("NOT EXISTS (" if each.negated else "EXISTS (", rows, f"{fence})")

    def _hint(self, index: str) -> str:
        return "" if self._is_postgresql else f" INDEXED BY reference_index_by_{index}"

    def _followed(self, chain: Chain, type: str, inner: Clause, types: Sequence[str]) -> Sql:
        """What refers to the resources of that type that meet the inner clause."""
        found, target, link = self._name("f"), self._name("t"), self._name("c")
        where = all_of(
            [
                *self.scope(link, types or tuple(definitions().types)),
                Sql(f"{link}.param = ?", (chain.parameter.code,)),
                Sql(f"{link}.target_id = {target}.id AND {link}.url = '' AND {link}.target_type = ?", (type,)),
            ]
        )
        return sql(
            f"SELECT {link}.rid AS rid FROM (",
            self.source(inner, (type,)),
            f") {found} {self.join} resource {target} ON {target}.rid = {found}.rid",
            f" {self.join} reference_index {link}{self._hint('value')} ON 1 = 1 WHERE ",
            where,
        )

    def _chain_holds(self, chain: Chain, row: Row) -> Sql:
        target, link = self._name("t"), self._name("c")
        ways = [
            all_of([Sql(f"{target}.type = ?", (type,)), self.holds(inner, (type,), Row(f"{target}.rid", target))])
            for type, inner in chain.ways
        ]
        return sql(
            f"EXISTS (SELECT 1 FROM reference_index {link}{self._hint('rid')} {self.join} resource {target}",
            Sql(f" ON {target}.tenant = ? AND {target}.type = {link}.target_type", (self._tenant,)),
            f" AND {target}.id = {link}.target_id AND {target}.deleted = 0 WHERE {link}.rid = {row.rid} AND ",
            Sql(f"{link}.param = ? AND {link}.url = '' AND ", (chain.parameter.code,)),
            any_of(ways),
            ")",
        )

    def _referred(self, has: Has, types: Sequence[str]) -> Sql:
        """What the sources that meet the inner clause refer to."""
        found, target, link = self._name("f"), self._name("t"), self._name("c")
        where = all_of([*self.scope(target, types), Sql(f"{target}.deleted = 0")])
        return sql(
            f"SELECT {target}.rid AS rid FROM (",
            self.source(has.clause, (has.source,)),
            f") {found} {self.join} reference_index {link}{self._hint('rid')} ON {link}.rid = {found}.rid",
            Sql(f" AND {link}.param = ? AND {link}.url = ''", (has.parameter.code,)),
            f" {self.join} resource {target} ON {target}.type = {link}.target_type AND {target}.id = {link}.target_id",
            " WHERE ",
            where,
        )

    def _has_holds(self, has: Has, row: Row) -> Sql:
        this, link, source = self._name("o"), self._name("c"), self._name("s")
        inner = self.holds(has.clause, (has.source,), Row(f"{source}.rid", source))
        return sql(
            f"EXISTS (SELECT 1 FROM resource {this} {self.join} reference_index {link}{self._hint('value')}",
            Sql(f" ON {link}.tenant = ? AND {link}.type = ?", (self._tenant, has.source)),
            Sql(f" AND {link}.param = ? AND {link}.target_id = {this}.id", (has.parameter.code,)),
            f" AND {link}.url = '' AND {link}.target_type = {this}.type",
            f" {self.join} resource {source} ON {source}.rid = {link}.rid WHERE {this}.rid = {row.rid} AND ",
            inner,
            ")",
        )

    def _members(self, compartment: Compartment, types: Sequence[str]) -> Sql:
        """What refers to the compartment's resource by one of the members, and that resource."""
        link, itself = self._name("c"), self._name("b")
        members = {type: codes for type, codes in compartment.members.items() if not types or type in types}
        named = (compartment.type, compartment.id)
        own = sql(
            f"SELECT {itself}.rid AS rid FROM resource {itself} WHERE ",
            all_of(
                [*self.scope(itself, ()), Sql(f"{itself}.type = ? AND {itself}.id = ? AND {itself}.deleted = 0", named)]
            ),
            " AND ",
            one_of(f"{itself}.type", types) if types else "1 = 1",
        )
        if not members:
            return own
        by_codes: dict[tuple[str, ...], list[str]] = {}
        for type, codes in members.items():
            by_codes.setdefault(codes, []).append(type)
        where = all_of(
            [
                *self.scope(link, tuple(members)),
                one_of(f"{link}.param", tuple(dict.fromkeys(code for codes in by_codes for code in codes))),
                Sql(f"{link}.target_id = ? AND {link}.url = '' AND {link}.target_type = ?", named[::-1]),
                any_of(
                    [
                        all_of([one_of(f"{link}.type", of), one_of(f"{link}.param", codes)])
                        for codes, of in by_codes.items()
                    ]
                ),
            ]
        )
        rows = sql(f"SELECT {link}.rid AS rid FROM reference_index {link}{self._hint('value')} WHERE ", where)
        return sql(rows, " UNION ALL ", own)

    def _words_hold(self, clause: Words, row: Row) -> Sql:
        name = self._name("w")
        ways = [
            all_of([Sql(f"replace({name}.words, ?, '') <> {name}.words", (f" {word} ",)) for word in words])
            for words in clause.alternatives
        ]
        return sql(
            f"EXISTS (SELECT 1 FROM text_index {name} WHERE {name}.rid = {row.rid} AND ",
            Sql(f"{name}.param = ? AND ", (clause.parameter,)),
            any_of(ways),
            ")",
        )

    def _concerning_holds(self, clause: Concerning, row: Row) -> Sql:
        name = self._name("b")
        return sql(
            f"(NOT EXISTS (SELECT 1 FROM resource {name} WHERE {name}.rid = {row.rid} AND ",
            one_of(f"{name}.type", clause.types),
            ") OR ",
            self.holds(clause.clause, clause.types, row),
            ")",
        )


def _between(mark: str, parts: Sequence[Sql]) -> list[str | Sql]:
    found: list[str | Sql] = []
    for each in parts:
        found += [mark, each] if found else [each]
    return found
