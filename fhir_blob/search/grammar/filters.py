"""From a `_filter` to Clauses: what its paths and operators mean by the index of a search parameter.

What no index can answer is refused, and so is a name that is unknown: a filter is never taken in part.
Dates, numbers and quantities are compared as by the prefixes of search, tokens as they are written, strings
without case and accents. Source: https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import AllOf, AnyOf, Clause, Criterion, Has, Missing, Not, Range, String, Uri, Value
from fhir_blob.search.contained import chain
from fhir_blob.search.extraction import components
from fhir_blob.search.grammar import values
from fhir_blob.search.grammar.clauses import MOST_LINKS, MOST_VALUES, Clauses, check_text, parameters
from fhir_blob.search.grammar.filter_elements import of_one_element
from fhir_blob.search.grammar.filter_syntax import Expression, Logical, Negation, Step, Test, bad, names, parse
from fhir_blob.search.grammar.implied import with_implied
from fhir_blob.search.terms import LONGEST_TEXT, fold

LONGEST_STRING = LONGEST_TEXT // 2
_ORDER = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr"})
_OPERATORS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "pr"}),
    "token": frozenset({"eq", "ne", "pr"}),
    "uri": frozenset({"eq", "ne", "pr"}),
    "reference": frozenset({"eq", "re", "pr"}),
    "number": _ORDER,
    "quantity": _ORDER,
    "date": _ORDER | {"po", "co"},
    "composite": frozenset({"eq", "pr"}),
    "special": frozenset({"eq", "pr"}),
}
_PREFIXED = frozenset({"number", "quantity", "date"})
_TERMINOLOGY = frozenset({"ss", "sb", "in", "ni"})
# Of a string: the modifier that means the same.
_OF_STRINGS = {"sw": None, "co": "contains"}
_ALWAYS = frozenset({"_id", "_lastUpdated"})
# No parameters with an expression: they take what they take in a search.
_PLAIN = frozenset({"_text", "_content", "_list"})
# https://hl7.org/fhir/R4/search_filter.html#ops, of the last note
_SYSTEMS = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}


def read(clauses: Clauses, types: Sequence[str], text: str) -> tuple[Clause, ...]:
    """The clauses on resources of these types, all to be met. BadParameter quotes what cannot be answered."""
    check_text("_filter", text)
    found = _Filter(clauses, text).clause(types, parse(text), 0)
    return found.clauses if isinstance(found, AllOf) else (found,)


@dataclass(frozen=True, slots=True)
class _Filter:
    clauses: Clauses
    text: str

    def clause(self, types: Sequence[str], expression: Expression, links: int) -> Clause:
        match expression:
            case Negation():
                return Not(self.clause(types, expression.part, links))
            case Logical():
                parts = tuple(self.clause(types, each, links) for each in expression.parts)
                return AllOf(parts) if expression.operator == "and" else AnyOf(parts)
            case Test():
                return self._path(types, expression.path, expression, links)

    def _path(self, types: Sequence[str], path: Sequence[Step], test: Test, links: int) -> Clause:
        head, *rest = path
        if links > MOST_LINKS:
            raise self._bad(test, f"a chain has at most {MOST_LINKS} links")
        if head.name.startswith("_has:"):
            return self._has(head, rest, test, links)
        if head.name in _PLAIN and not rest:
            return self._plain(types, head.name, test)
        parameter = self._parameter(types, head, test)
        if not rest:
            self.clauses.count("_filter", 1)
            return self._leaf(types, parameter, test)
        if parameter.type == "composite" and head.within is not None:
            return of_one_element(self.clauses, types, parameter, head.within, rest, test, self._bad)
        return self._chain(parameter, head, rest, test, links)

    def _parameter(self, types: Sequence[str], step: Step, test: Test) -> SearchParameter:
        known = parameters(types)
        element = "" if step.within is None else _ELEMENTS.get(step.name, "")
        code = element if element in known else step.name
        if code not in known:
            of = "/".join(types[:3]) or "every type"
            raise self._bad(test, f"{step.name[:40]!r} is no search parameter of {of}")
        return known[code]

    def _chain(self, parameter: SearchParameter, head: Step, rest: Sequence[Step], test: Test, links: int) -> Clause:
        """`subject.name`, and `subject[gender eq male].name`, which asks both of one subject."""
        if parameter.type != "reference":
            raise self._bad(test, f"{head.name[:40]!r}, of type {parameter.type}, leads nowhere")
        if head.type and head.type not in definitions().types:
            raise self._bad(test, f"{head.type[:40]!r} is no resource type")
        ways: list[tuple[str, Clause]] = []
        refused: list[BadParameter] = []
        for type in (head.type,) if head.type else parameter.targets or definitions().types:
            try:
                ways.append((type, self._there(type, head, rest, test, links + 1)))
            except BadParameter as error:
                if self.clauses.values > MOST_VALUES:
                    raise
                refused.append(error)
        if not ways:
            raise refused[0]
        return chain(parameter, ways)

    def _there(self, type: str, head: Step, rest: Sequence[Step], test: Test, links: int) -> Clause:
        found = self._path((type,), rest, test, links)
        if head.within is None:
            return found
        return AllOf((self.clause((type,), head.within, links), found))

    def _has(self, head: Step, rest: Sequence[Step], test: Test, links: int) -> Clause:
        """`_has:Observation:patient:code`: https://hl7.org/fhir/R4/search.html#has"""
        _, source, code = head.name.split(":")
        known = definitions().searchable(source) if source in definitions().types else {}
        if code not in known or known[code].type != "reference":
            raise self._bad(test, f"{source[:40]}:{code[:40]} is no reference parameter")
        return Has(source, known[code], self._there(source, head, rest, test, links + 1))

    def _leaf(self, types: Sequence[str], parameter: SearchParameter, test: Test) -> Clause:
        kind, operator = parameter.type, test.operator
        if operator in _TERMINOLOGY and kind == "token":
            raise self._bad(test, f"{operator!r} needs a terminology server, which is not there")
        if operator not in _OPERATORS[kind]:
            raise self._bad(test, f"{operator!r} is not asked of a parameter of type {kind}")
        if operator == "pr":
            return self._present(parameter, test)
        if kind == "string":
            return Criterion(parameter, _OF_STRINGS.get(operator, operator), (self._string(test),))
        if kind == "uri":
            return Criterion(parameter, None if operator == "eq" else operator, (Uri(test.value),))
        return self._compared(types, parameter, test)

    def _compared(self, types: Sequence[str], parameter: SearchParameter, test: Test) -> Clause:
        """As a search compares the value; the operator is its prefix, where it takes one."""
        kind, operator = parameter.type, test.operator
        prefix = operator if kind in _PREFIXED and operator in _ORDER else ""
        value = self._value(parameter, prefix, test)
        if isinstance(value, Range) and not prefix:
            value = replace(value, prefix=operator)
        found: tuple[Value, ...] = (value,)
        if kind in ("token", "composite"):
            found = tuple(with_implied(types, parameter, found))
        criterion = Criterion(parameter, None, found)
        if operator != "ne" or prefix:
            return criterion
        return Not(criterion) if parameter.code in _ALWAYS else replace(criterion, modifier="ne")

    def _value(self, parameter: SearchParameter, prefix: str, test: Test) -> Value:
        if not test.value:
            raise self._bad(test, "it has no value")
        text = prefix + _ALIASED.get(parameter.type, str)(test.value)
        try:
            if parameter.type == "composite":
                return values.composite(text, self.clauses.base, tuple(each.type for each in components(parameter)))
            return values.READERS[parameter.type](text, self.clauses.base)
        except ValueError as error:
            raise self._bad(test, str(error)) from None

    def _plain(self, types: Sequence[str], name: str, test: Test) -> Clause:
        if test.operator != "eq":
            raise self._bad(test, f"of {name} 'eq' alone is asked")
        one = "\\,".join(values.split(test.value, ","))  # commas stand between values there
        found = self.clauses.read(types, name, one)
        if found is None:
            raise self._bad(test, "it has no value")
        return found

    def _present(self, parameter: SearchParameter, test: Test) -> Clause:
        if test.value not in ("true", "false"):
            raise self._bad(test, "'pr' takes true or false")
        if parameter.code in _ALWAYS:
            raise self._bad(test, f"{parameter.code} is always there")
        return Criterion(parameter, "missing", (Missing(test.value == "false"),))

    def _string(self, test: Test) -> String:
        length = len(fold(test.value))
        if not 0 < length <= LONGEST_STRING:
            raise self._bad(test, f"it takes 1 to {LONGEST_STRING} characters that count, not {length}")
        return String(test.value)

    def _bad(self, test: Test, why: str) -> BadParameter:
        return bad(self.text, f"in {names(test.path)[:80]!r}, {test.operator!r}, {test.value[:80]!r}: {why}")


def _token(value: str) -> str:
    system, bar, code = value.partition("|")
    return f"{_SYSTEMS.get(system, system)}|{code}" if bar else value


def _quantity(value: str) -> str:
    number, bar, unit = value.partition("|")
    return f"{number}|{_token(unit)}" if bar else value


_ALIASED: Mapping[str, Callable[[str], str]] = {"token": _token, "quantity": _quantity}
# Where a filter stands behind them: https://hl7.org/fhir/R4/search_filter.html#params
_ELEMENTS = {"relatesTo": "relationship", "characteristic": "characteristic-value"}
