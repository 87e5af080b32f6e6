"""What a `_filter` asks of one element, as a composite parameter has it: `relatesTo[code eq replaces].target re x`.

Source: https://hl7.org/fhir/R4/search_filter.html#params
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import Component, SearchParameter
from fhir_blob.search import Clause, Composite, Criterion, Missing, Not, Range, Value
from fhir_blob.search.extraction import components
from fhir_blob.search.grammar import values
from fhir_blob.search.grammar.clauses import Clauses
from fhir_blob.search.grammar.filter_syntax import Expression, Logical, Negation, Step, Test
from fhir_blob.search.grammar.implied import with_implied

_PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"})
_OPERATORS: Mapping[str, frozenset[str]] = {
    "token": frozenset({"eq"}),
    "uri": frozenset({"eq"}),
    "reference": frozenset({"eq", "re"}),
    "string": frozenset({"sw"}),
    "number": _PREFIXES,
    "quantity": _PREFIXES,
    "date": _PREFIXES | {"po", "co"},
}
_ANY = Missing(False)
# By component, counted from 0.
_Parts = Mapping[int, Value]
Bad = Callable[[Test, str], BadParameter]


def of_one_element(
    clauses: Clauses,
    types: Sequence[str],
    parameter: SearchParameter,
    within: Expression,
    rest: Sequence[Step],
    test: Test,
    bad: Bad,
) -> Clause:
    """The clause that an element meets what stands in brackets, and what stands behind them."""
    if len(rest) > 1 or rest[0].within is not None or rest[0].type:
        raise bad(test, "behind what is asked of one element stands one name")
    element = _Element(clauses, parameter, bad)
    last = replace(test, path=tuple(rest))
    is_absent = test.operator == "pr" and test.value == "false"
    asked = element.part(replace(last, value="true") if is_absent else last)
    ways = [element.joined(each, asked, test) for each in element.alternatives(within, test)]
    count = len(components(parameter))
    found = [Composite(tuple(each.get(number, _ANY) for number in range(count))) for each in ways]
    clauses.count("_filter", len(found) * count)
    criterion = Criterion(parameter, None, tuple(with_implied(types, parameter, found)))
    return Not(criterion) if is_absent else criterion


@dataclass(frozen=True, slots=True)
class _Element:
    """Reads what is asked of the components of one parameter."""

    clauses: Clauses
    parameter: SearchParameter
    bad: Bad

    def alternatives(self, expression: Expression, outer: Test) -> list[_Parts]:
        """One of which an element meets."""
        match expression:
            case Test():
                return [self.part(expression)]
            case Negation():
                raise self.bad(outer, "the index does not say what one element has not: 'not' stands in brackets")
            case Logical(operator="or"):
                return [found for each in expression.parts for found in self.alternatives(each, outer)]
            case Logical():
                return self._all(expression, outer)

    def _all(self, expression: Logical, outer: Test) -> list[_Parts]:
        ways: list[_Parts] = [{}]
        for each in expression.parts:
            more = self.alternatives(each, outer)
            self.clauses.count("_filter", len(ways) * len(more))
            ways = [self.joined(one, other, outer) for one in ways for other in more]
        return ways

    def joined(self, one: _Parts, other: _Parts, test: Test) -> _Parts:
        both = {number for number in one.keys() & other.keys() if _ANY not in (one[number], other[number])}
        if both:
            name = _name(components(self.parameter)[both.pop()])
            raise self.bad(test, f"{name!r} of one element is asked twice: ask one of them by a filter of its own")
        return {**_without_any(other), **_without_any(one)}

    def part(self, test: Test) -> _Parts:
        known = {_name(each): (number, each) for number, each in enumerate(components(self.parameter))}
        if len(test.path) > 1 or test.path[0].name not in known:
            raise self.bad(test, f"of one element {', '.join(known)} are asked")
        number, component = known[test.path[0].name]
        return {number: self._value(component, test)}

    def _value(self, component: Component, test: Test) -> Value:
        kind, operator = component.type, test.operator
        if operator == "pr" and test.value == "true":
            return _ANY
        if operator not in _OPERATORS[kind]:
            raise self.bad(test, f"of one element's {kind} {operator!r} is not asked")
        prefix = operator if kind in ("number", "quantity", "date") and operator in _PREFIXES else ""
        try:
            found = values.READERS[kind](prefix + test.value, self.clauses.base)
        except ValueError as error:
            raise self.bad(test, str(error)) from None
        return replace(found, prefix=operator) if isinstance(found, Range) else found


def _without_any(parts: _Parts) -> dict[int, Any]:
    return {number: each for number, each in parts.items() if each != _ANY}


def _name(component: Component) -> str:
    """The element that the component stands in: `value.as(Quantity)` is value."""
    return re.split(r"\.as\(|\s", component.expression)[0].rpartition(".")[2]
