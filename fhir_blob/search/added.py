"""Search parameters beside those of R4: SearchParameter resources that were added to the store.

Source: https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from fhir_blob.errors import Unprocessable
from fhir_blob.fhir.definitions import Component, SearchParameter, definitions
from fhir_blob.fhir.paths import check_path

# By type and code.
Added = Mapping[str, Mapping[str, SearchParameter]]

_TYPES = ("number", "date", "string", "token", "reference", "composite", "quantity", "uri")


def parameters_of(resource: Mapping[str, Any]) -> Iterator[tuple[str, SearchParameter]]:
    """By type what a SearchParameter resource defines. Unprocessable where its FHIRPath is none."""
    code, type, expression = resource["code"], resource["type"], resource.get("expression", "")
    if type not in _TYPES or (type == "composite" and not resource.get("component")):
        return
    bases = [type for base in resource["base"] for type in _types_of(base)]
    check(resource)
    parts = tuple(_component(each) for each in resource.get("component", ()))
    parameter = SearchParameter(code, type, expression, tuple(resource.get("target", ())), parts, resource["url"])
    yield from ((base, parameter) for base in bases)


def _types_of(base: str) -> Iterator[str]:
    """A base may be abstract: https://hl7.org/fhir/R4/resource.html"""
    for type in definitions().types:
        if base in (type, "Resource") or (base == "DomainResource" and type not in ("Binary", "Bundle", "Parameters")):
            yield type


def _component(part: Mapping[str, Any]) -> Component:
    known = (each for type in definitions().types for each in definitions().search_parameters(type).values())
    type = next((each.type for each in known if each.url == part["definition"]), None)
    if type is None:
        raise Unprocessable(f"The component's definition {str(part['definition'])[:100]!r} is not known.")
    return Component(type, part["expression"])


def check(resource: Mapping[str, Any]) -> None:
    """Unprocessable for a SearchParameter whose expression is no FHIRPath."""
    types = [type for base in resource["base"] for type in _types_of(base)]
    try:
        for type in types[:1] if "expression" in resource else ():
            check_path(resource["expression"], type)
    except ValueError as error:
        raise Unprocessable(
            f"The expression cannot be searched by: {error}.", expression="SearchParameter.expression"
        ) from None


def dumped(known: Added, pending: Collection[tuple[str, str]]) -> str:
    rows = {type: {code: asdict(each) for code, each in codes.items()} for type, codes in known.items()}
    return json.dumps({"added": rows, "pending": sorted(pending)}) if rows else ""


def loaded(text: str) -> tuple[dict[str, dict[str, SearchParameter]], list[tuple[str, str]]]:
    if not text:
        return {}, []
    given = json.loads(text)
    rows = {type: {code: _parameter(each) for code, each in codes.items()} for type, codes in given["added"].items()}
    return rows, [(type, code) for type, code in given["pending"]]


def _parameter(row: Mapping[str, Any]) -> SearchParameter:
    parts = tuple(Component(each["type"], each["expression"]) for each in row["components"])
    return SearchParameter(row["code"], row["type"], row["expression"], tuple(row["targets"]), parts, row["url"])
