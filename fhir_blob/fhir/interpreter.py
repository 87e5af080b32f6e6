"""FHIRPath beyond what is compiled, by fhirpathpy: slow, for expressions that were added and say more than R4's own.

What it leaves open is answered here: types of computed values, patterns, variables of FHIR.
Source: https://hl7.org/fhir/R4/fhirpath.html, https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.nodes import Pair, Path
from fhir_blob.fhir.patterns import pattern as compiled
from fhir_blob.fhir.primitives import CHECKS

# From the values that it is called on, and its arguments, to the values; `arity` as fhirpathpy has it.
Functions = Mapping[str, Mapping[str, Any]]


def interpreted(expression: str, functions: Functions | None = None, until: float = math.inf) -> Path:
    """A closure as compile_path() has it; ValueError, when it is called, for what is not understood or takes too long.

    `functions` are known beside those of FHIRPath; `until` is a moment of time.monotonic().
    """

    def run(focus: Pair, resource: Pair) -> list[Pair]:
        import fhirpathpy
        from fhirpathpy.engine.nodes import ResourceNode, TypeInfo
        from fhirpathpy.models import models

        # Else ofType() finds less until the first `is` of the process.
        TypeInfo.model = models["r4"]  # type: ignore[assignment]
        options = {**_OPTIONS, "userInvocationTable": {**_FUNCTIONS, **(functions or {})}}
        try:
            root = focus[0] if focus[0] is resource[0] else ResourceNode.create_node(*focus)  # type: ignore[no-untyped-call]
            variables = {**_VARIABLES, "resource": resource[0]}
            _limit.until = until
            found = fhirpathpy.apply_parsed_path(root, _parsed(expression), variables, models["r4"], options)  # type: ignore[no-untyped-call]
        except Exception as error:  # it raises no other for what cannot be done with a value
            raise ValueError(f"{expression[:100]!r} is not understood: {error}") from error
        return [pair for pair in map(_typed, found) if _is_value(*pair)]

    return run


@lru_cache(512)  # it takes milliseconds, and the invariants of a profile come again
def _parsed(expression: str) -> Any:
    from fhirpathpy.parser import parse

    return _stepwise(parse(expression))  # type: ignore[no-untyped-call]


class _Limit(threading.local):
    """Of the expression that this thread evaluates."""

    until = math.inf


_limit = _Limit()


class _Step(dict[str, Any]):
    """A node of a parsed expression: each time that fhirpathpy comes by, it may be too late."""

    def __getitem__(self, name: str) -> Any:
        if name == "type" and time.monotonic() > _limit.until:
            raise TimeoutError("it takes too long")
        return super().__getitem__(name)


def _stepwise(node: Any) -> Any:
    if isinstance(node, dict):
        return _Step({name: _stepwise(each) for name, each in node.items()})
    return [_stepwise(each) for each in node] if isinstance(node, list) else node


def _has_value(values: list[Any]) -> list[bool]:
    return [len(values) == 1 and values[0] is not None and not isinstance(values[0], dict)]


def _matches(values: list[Any], pattern: str) -> list[bool]:
    """By RE2, since a pattern of Python's may take for ever: it takes none with look-ahead."""
    return [compiled(pattern, dot_nl=True).search(_text(values)) is not None] if values and pattern else []


def _replace_matches(values: list[Any], pattern: Any, by: Any) -> list[str]:
    if not values or pattern == [] or by == []:
        return []
    return [compiled(pattern, dot_nl=True).sub(_GROUP.sub(r"\\\1", by.replace("\\", "\\\\")), _text(values))]


def _text(values: list[Any]) -> str:
    if len(values) != 1 or not isinstance(values[0], str):
        raise ValueError("a pattern is matched against one string")
    return str(values[0])


_GROUP = re.compile(r"\$(\d)")
# What FHIR adds to FHIRPath; and trace() would print what it sees.
_VARIABLES = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_OPTIONS = {"returnRawData": True, "traceFn": lambda label, values: None}
_FUNCTIONS: Functions = {
    "hasValue": {"fn": _has_value, "arity": {0: []}},
    "matches": {"fn": _matches, "arity": {1: ["String"]}},
    "replaceMatches": {"fn": _replace_matches, "arity": {2: ["String", "String"]}},
}


def _typed(node: Any) -> Pair:
    """A node knows its type, but for one that came out of a union; a computed value is no node."""
    value = getattr(node, "data", node)
    if not isinstance(value, _JSON):
        return str(value), next((type for sign, type in _COMPUTED if sign.match(str(value))), "string")
    return value, getattr(node, "path", None) or _guess(value)


_JSON = (str, bool, int, float, Decimal, dict, list, type(None))
_COMPUTED = (
    (re.compile(r"\d{4}(-\d\d){0,2}\Z"), "date"),
    (re.compile(r"\d{4}(-\d\d){0,2}T"), "dateTime"),
    (re.compile(r"\d\d:"), "time"),
)


def _is_value(value: Any, type: str) -> bool:
    """Beside values come those that a primitive lacks, and what stands in place of them."""
    if isinstance(value, dict):
        return type not in CHECKS and not value.keys() <= {"id", "extension"}
    return value is not None


def _guess(value: Any) -> str:
    """The type of a value that came without one."""
    if not isinstance(value, dict):
        return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "decimal"
    if "resourceType" in value:
        return str(value["resourceType"])
    return next((type for names, type in _SIGNS if not names.isdisjoint(value)), "CodeableConcept")


_SIGNS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"reference"}), "Reference"),
    (frozenset({"currency"}), "Money"),
    (frozenset({"rank"}), "ContactPoint"),
    (frozenset({"coding"}), "CodeableConcept"),
    (frozenset({"family", "given"}), "HumanName"),
    (frozenset({"line", "city", "postalCode", "country"}), "Address"),
    (frozenset({"start", "end"}), "Period"),
    (frozenset({"unit"}), "Quantity"),
    (frozenset({"low", "high"}), "Range"),
    (frozenset({"code"}), "Coding"),
    (frozenset({"value"}), "Identifier"),
)
