"""Pieces of SQL, each with its parameters in order, and how they are put together. '?' marks a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and its parameters in order."""

    text: str
    arguments: tuple[Any, ...] = ()


def any_of(terms: Sequence[Sql]) -> Sql:
    return _joined(" OR ", terms)


def all_of(terms: Sequence[Sql]) -> Sql:
    return _joined(" AND ", terms)


def _joined(operator: str, terms: Sequence[Sql]) -> Sql:
    """Halved again and again: SQLite takes trees of 1,000 levels."""
    if len(terms) == 1:
        return terms[0]
    if len(terms) > 8:
        middle = len(terms) // 2
        terms = (_joined(operator, terms[:middle]), _joined(operator, terms[middle:]))
    return Sql(
        "(" + operator.join(each.text for each in terms) + ")", tuple(a for each in terms for a in each.arguments)
    )


def one_of(column: str, values: Sequence[Any]) -> Sql:
    if len(values) == 1:
        return Sql(f"{column} = ?", (values[0],))
    return Sql(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))
