"""Chains into contained resources: `author.family` finds the Practitioner that stands in a DocumentReference, too.

Contained resources are found by nothing else. Their rows stand with those of what they are in, by the reference, their
own parameter, and with and without their type: `author#Practitioner.family`, `author#.family`. A row of
`author#Practitioner` tells that there is one.
Source: https://hl7.org/fhir/R4/search.html#contained
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import AllOf, AnyOf, Chain, Clause, Criterion, Missing, Not
from fhir_blob.search.expressions import path_of
from fhir_blob.store import IndexEntries

SIGN = "#"
# Elasticsearch takes 10,000 nested documents in one.
_MOST_ROWS = 4_000
# So many types are asked for, where each has to be asked by itself.
_MOST_WAYS = 20


def chain(parameter: SearchParameter, ways: Sequence[tuple[str, Clause]]) -> Chain:
    """The chain that goes these ways, to resources of their own and to contained ones: to any in one step if it can."""
    found = dict.fromkeys(_inside(parameter, "", clause) for _, clause in ways)
    if len(ways) == 1 or len(found) > 1:
        found = dict.fromkeys(_inside(parameter, *way) for way in ways[:_MOST_WAYS])
    return Chain(parameter, tuple(ways), tuple(each for each in found if each is not None))


def _inside(parameter: SearchParameter, type: str, clause: Clause) -> Clause | None:
    """What has to hold of the resource that contains one of the type; None where its rows, which do not tell one
    of several from another, cannot say. What is negated has to hold of all."""
    place = f"{parameter.code}{SIGN}{type}"
    found = _renamed(clause, place)
    if found is None or not _is_negative(clause):
        return found
    there = Criterion(SearchParameter(place, "token", ""), "missing", (Missing(False),))
    return AllOf((there, found))


def _renamed(clause: Clause, place: str) -> Clause | None:
    match clause:
        case Criterion(parameter=parameter):
            is_kept = parameter.type not in ("composite", "special") and parameter.code[:1] != "_"
            return replace(clause, parameter=_in(place, parameter)) if is_kept else None
        case Chain(parameter=parameter):
            return Chain(_in(place, parameter), clause.ways)
        case AnyOf(clauses=clauses):
            found = [_renamed(each, place) for each in clauses]
            kept = tuple(each for each in found if each is not None)
            return AnyOf(kept) if len(kept) == len(found) else None
        case Not():
            inner = _renamed(clause.clause, place)
            return None if inner is None else Not(inner)
    return None


def _in(place: str, parameter: SearchParameter) -> SearchParameter:
    return SearchParameter(f"{place}.{parameter.code}", parameter.type, "")


def _is_negative(clause: Clause) -> bool:
    """Whether it holds of what has no row."""
    match clause:
        case Criterion():
            return clause.modifier == "not" or clause.values[0] == Missing(True)
        case AnyOf():
            return any(_is_negative(each) for each in clause.clauses)
    return isinstance(clause, Not)


def with_contained(
    resource: dict[str, Any], found: IndexEntries, extract: Callable[[dict[str, Any]], IndexEntries]
) -> IndexEntries:
    """The rows of a resource, and those of what it contains and refers to; `extract` finds those of one."""
    rows = {kind: list(of) for kind, of in found.items()}
    for kind, row in islice(_rows(resource, extract), _MOST_ROWS):
        rows.setdefault(kind, []).append(row)
    return rows


def _rows(
    resource: dict[str, Any], extract: Callable[[dict[str, Any]], IndexEntries]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    inner = {f"{SIGN}{each['id']}": each for each in resource["contained"] if "id" in each}
    known: dict[str, IndexEntries] = {}
    for code, literal in dict.fromkeys(_references(resource)):
        if literal in inner:
            each = inner[literal]
            if literal not in known:
                known[literal] = extract({name: value for name, value in each.items() if name != "contained"})
            for place in (f"{code}{SIGN}{each['resourceType']}", f"{code}{SIGN}"):
                yield "token", (place, 0, "", "")
                yield from ((kind, (f"{place}.{row[0]}", *row[1:])) for kind, row in _kept(known[literal]))


def _references(resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    root = (resource, resource["resourceType"])
    for code, parameter in definitions().search_parameters(resource["resourceType"]).items():
        if parameter.type == "reference":
            found = path_of(parameter)(root, root)
            yield from ((code, str(value.get("reference"))) for value, _ in found if isinstance(value, dict))


def _kept(entries: IndexEntries) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The rows of the parameters that `_renamed` keeps."""
    for kind, rows in entries.items():
        for row in rows if kind != "words" else ():
            if row[0][:1] != "_" and "$" not in row[0] and row[0][-2:] not in (":x", ":y", ":z"):
                yield kind, tuple(row)
