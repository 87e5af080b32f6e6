"""The boolean logic of FHIRPath by its parts: of an invariant only that is evaluated which decides it.

Source: https://hl7.org/fhirpath/N1/#boolean-logic, https://hl7.org/fhirpath/N1/#operator-precedence
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from fhir_blob.fhir.profiling.logic import all_of, any_of, negated

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|//|/\*|[%$]?\w+|\s+|.", re.DOTALL)
_NEGATED = re.compile(r"\s*\.\s*not\s*\(\s*\)\s*\Z")
# From the weakest on; those of one row bind alike.
_LEVELS = (("implies",), ("or", "xor"), ("and",))
_BINDING = frozenset(
    {"=", "!", "<", ">", "~", "|", "+", "-", "*", "/", "&", "is", "as", "in", "contains", "div", "mod"}
)
Told = bool | None


@dataclass(frozen=True, slots=True)
class Condition:
    """An operator and what it stands between, or after; or, without one, a `text` that is none of these."""

    text: str = ""
    operator: str = ""
    parts: tuple[Condition, ...] = ()

    def holds(self, told: Callable[[str], Told]) -> Told:
        """By what is told of each text; None where there is nothing."""
        if not self.operator:
            return told(self.text)
        return _JOINED[self.operator](each.holds(told) for each in self.parts)


def _xor(answers: Iterator[Told]) -> Told:
    left, right = answers
    return None if left is None or right is None else left != right


def _implies(answers: Iterator[Told]) -> Told:
    return any_of(chain([negated(next(answers))], answers))


_JOINED: Mapping[str, Callable[[Iterator[Told]], Told]] = {
    "and": all_of,
    "or": any_of,
    "xor": _xor,
    "implies": _implies,
    "not": lambda answers: negated(next(answers)),
}


@lru_cache(1024)
def condition(expression: str) -> Condition:
    """A text that is not understood is one without an operator."""
    text = expression.strip()
    tokens = list(_outer(text))
    if any(token in ("//", "/*") for _, token in tokens):
        return Condition(text)
    for level in _LEVELS:
        at = [(start, token) for start, token in tokens if token in level]
        if at:
            start, operator = at[-1]
            sides = (text[:start], text[start + len(operator) :])
            return Condition("", operator, tuple(condition(each) for each in sides))
    negated = _NEGATED.search(text)
    if negated is not None and not any(token in _BINDING for _, token in tokens):
        return Condition("", "not", (condition(text[: negated.start()]),))
    return condition(text[1:-1]) if _is_enclosed(tokens, text) else Condition(text)


def _outer(text: str) -> Iterator[tuple[int, str]]:
    """Where each token starts that stands in no bracket, the brackets themselves among them."""
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        depth -= token in ")]}"
        if depth == 0 and not token.isspace():
            yield found.start(), token
        depth += token in "([{"


def _is_enclosed(tokens: list[tuple[int, str]], text: str) -> bool:
    return [token for _, token in tokens] == ["(", ")"] and len(text) > 2
