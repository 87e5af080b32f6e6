"""The boolean logic of FHIRPath by its parts: of an invariant only that is evaluated which decides it.

Source: https://hl7.org/fhirpath/N1/#boolean-logic, https://hl7.org/fhirpath/N1/#operator-precedence
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

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
        left = self.parts[0].holds(told)
        if self.operator == "not":
            return None if left is None else not left
        if left is not None and _DECIDED.get((self.operator, left)) is not None:
            return _DECIDED[self.operator, left]
        return _joined(self.operator, left, self.parts[1].holds(told))


# What the left side alone decides.
_DECIDED = {("or", True): True, ("and", False): False, ("implies", False): True}


def _joined(operator: str, left: Told, right: Told) -> Told:
    """Where the left side alone decides nothing."""
    if operator == "xor":
        return None if left is None or right is None else left != right
    if operator == "and":
        return False if right is False else None if left is None else right
    return True if right is True else None if left is None else right


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
