"""From the pairs of an HTTP query to a Query: https://hl7.org/fhir/R4/search.html

Whatever cannot be understood is a BadParameter that quotes it, but for parameters that are unknown
to this server: those are ignored, and named in the Query, unless the client asked for strictness.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import definitions
from fhir_blob.search import Clause, Query
from fhir_blob.search.grammar import filters, values
from fhir_blob.search.grammar.clauses import QUOTED, Clauses, bad, check_text
from fhir_blob.search.grammar.controls import RESULT_PARAMETERS, Controls, placed

__all__ = ["RESULT_PARAMETERS", "parse_period", "parse_query"]
_LONGEST = 200_000


def parse_query(
    type: str | None,
    pairs: Sequence[tuple[str, str]],
    *,
    base: str,
    strict: bool,
    default_count: int,
    max_count: int,
    within: Sequence[Clause] = (),
    principal: str = "",
) -> Query:
    """The Query that the pairs ask; type None searches every type, or those that `_type` names.

    `base` is this server's own URL, under which a reference is a local one; `within` narrows the
    search beforehand, as a compartment does. With `strict` a parameter that is unknown or has no value
    is a BadParameter, else it is named in `ignored` or `blank`.
    """
    _check_length(pairs)
    types = (type,) if type is not None else _types(pairs)
    controls, clauses = Controls(types, min(default_count, max_count), max_count), Clauses(base)
    criteria: list[Clause] = []
    given, ignored, blank = [], [], []
    for name, value in pairs:
        check_text(name, value)
        if name == "_type" and type is None:
            given.append((name, value))
        elif _is_blank(name, value):
            blank.append(name)
        elif controls.take(name, value):
            given.append((name, value))
        elif name == "_filter":
            criteria.extend(filters.read(clauses, types, value))
            given.append((name, value))
        elif (clause := clauses.read(types, name, value)) is not None:
            criteria.append(clause)
            given.append((name, value))
        else:
            ignored.append(name)
        if strict and (blank or ignored):
            told = "has no value" if blank else "is not known"
            raise BadParameter(f"The search parameter {name[:QUOTED]!r} {told}.")
    controls.check()
    return Query(
        types=types,
        criteria=(*within, *criteria),
        sort=placed(controls.sort, criteria),
        count=controls.count,
        total="accurate" if controls.count == 0 else controls.total,
        cursor=controls.cursor,
        includes=tuple(controls.includes),
        given=tuple(given),
        ignored=tuple(dict.fromkeys(ignored)),
        blank=tuple(dict.fromkeys(blank)),
        principal=principal,
    )


def _check_length(pairs: Sequence[tuple[str, str]]) -> None:
    length = sum(len(name) + len(value) for name, value in pairs)
    if length > _LONGEST:
        raise BadParameter(
            f"The query has {length} characters, from {pairs[0][0][:QUOTED]!r} on; at most {_LONGEST} are read."
        )


def _is_blank(name: str, value: str) -> bool:
    """No cursor at all begins anew, which an empty one may not mean."""
    return name != "_cursor" and not value.strip(",")


def parse_period(name: str, value: str) -> tuple[int, int]:
    """[low, high) microseconds of a date, dateTime or instant; BadParameter otherwise."""
    check_text(name, value)
    try:
        return values.date_span(value)
    except ValueError as error:
        raise bad(name, value, str(error)) from None


def _types(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The types that every `_type` has: https://hl7.org/fhir/R4/search.html#type"""
    named = [tuple(each for each in value.split(",") if each) for name, value in pairs if name == "_type"]
    for each in (type for types in named for type in types):
        if each not in definitions().types:
            raise BadParameter(f"_type={each[:QUOTED]!r} is no resource type of FHIR R4.")
    if not any(named):
        return ()
    common = set.intersection(*(set(types) for types in named if types))
    if not common:
        raise BadParameter("No type stands in every _type: put them into one, with commas between them.")
    return tuple(sorted(common))
