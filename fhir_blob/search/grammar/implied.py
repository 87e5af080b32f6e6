"""Tokens that name the system which `code` elements have without saying so: `gender=http://hl7.org/...|male`.

Nothing of it is in the index: where the parameter's elements imply the system, what is sought has none.
`|male` still finds a code, which has no system beside it.
Source: https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fhir_blob.fhir.bindings import implied_system
from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Composite, Token, Value
from fhir_blob.search.extraction import components


def with_implied(types: Sequence[str], parameter: SearchParameter, values: Iterable[Value]) -> list[Value]:
    """The values of a token or composite parameter, in a search of these types, as they are to be sought."""
    if parameter.type == "composite":
        parts = [_by_system(types, parameter.code, number) for number in range(len(components(parameter)))]
        return [_composed(value, parts) for value in values if isinstance(value, Composite)]
    implied = _by_system(types, parameter.code)
    return [found for each in values for found in _sought(each, implied)]


# By system the types whose elements imply it, () where those are all types of the search.
_Implied = Mapping[str, tuple[str, ...]]


def _by_system(types: Sequence[str], code: str, part: int | None = None) -> _Implied:
    found: dict[str, tuple[str, ...]] = {}
    asked = tuple(types) or tuple(definitions().types)
    for type in asked:
        system = _system(type, definitions().search_parameters(type)[code], part)
        if system:
            found[system] = (*found.get(system, ()), type)
    return {system: () if of == asked else of for system, of in found.items()}


def _system(type: str, parameter: SearchParameter, part: int | None) -> str:
    if part is None:
        return implied_system(definitions(), type, parameter.expression)
    return implied_system(definitions(), type, components(parameter)[part].expression, parameter.expression)


def _sought(value: Value, implied: _Implied) -> list[Value]:
    if not isinstance(value, Token) or not value.system or value.system not in implied:
        return [value]
    types = implied[value.system]
    without = Token("", value.code, types)
    return [value, without] if types else [without]


def _composed(value: Composite, parts: Sequence[_Implied]) -> Composite:
    """Where every type of the search implies the system: a part of an element knows no type."""
    found = (_sought(each, implied) for each, implied in zip(value.parts, parts, strict=True))
    return Composite(tuple(one[0] for one in found))
