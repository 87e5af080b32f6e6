"""From the text of a `_filter` to the tests in it, whatever they mean: https://hl7.org/fhir/R4/search_filter.html

    filter = test | filter ("and" | "or") filter | ["not"] "(" filter ")"
    test   = path operator value
    path   = name | name "." path | name "[" filter "]" "." path | "_has:" type ":" name ":" path

`and` and `or` are taken from left to right, neither before the other. Beyond the specification a name may say
the type that it goes to (`subject:Patient.name`), `not` stand before a test, and `_has` in a path, as in R5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_blob.errors import BadParameter
from fhir_blob.search.grammar.clauses import check_text

LONGEST = 10_000
MOST_TESTS = 200
MOST_LEVELS = 12
OPERATORS = (
    *("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb"),
    *("pr", "po", "ss", "sb", "in", "ni", "re"),
)
_QUOTED = 100
_HAS = re.compile(r"(_has:[A-Za-z]+:[A-Za-z0-9_-]+)():")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?::([A-Za-z]+)(?=[.\[]))?")
_WORD = re.compile(r"[A-Za-z]+(?=[\s(]|$)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?=[\s)\]]|$)')
_TOKEN = re.compile(r'[^\s)\]"][^\s)\]]*')
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Step:
    """A name of a path, the type that it goes to ('' for any), and what has to hold there.

    `_has:Observation:patient` is one: it goes to what refers hither.
    """

    name: str
    type: str = ""
    within: Expression | None = None


@dataclass(frozen=True, slots=True)
class Test:
    path: tuple[Step, ...]
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Logical:
    """`operator` is and, or."""

    operator: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    part: Expression


Expression = Test | Logical | Negation


def parse(text: str) -> Expression:
    """BadParameter that quotes it, and says what was expected where, for what is no filter, or too much of one."""
    if len(text) > LONGEST:
        raise bad(text, f"it has {len(text)} characters; at most {LONGEST} are read")
    parser = _Parser(text)
    found = parser.filter(1)
    if parser.at < len(text):
        raise parser.expected("'and' or 'or'")
    return found


def bad(text: str, why: str) -> BadParameter:
    return BadParameter(f"_filter={text[:_QUOTED]!r} cannot be searched: {why}.")


class _Parser:
    """Goes through the text once; `at` stands behind what was read, and the space after it."""

    def __init__(self, text: str) -> None:
        self._text, self.at, self._tests = text, 0, 0
        self._skip(_SPACE)

    def expected(self, what: str) -> BadParameter:
        here = self._text[self.at : self.at + 40]
        return bad(self._text, f"{what} is expected {f'at {here!r}' if here else 'at its end'}")

    def filter(self, level: int) -> Expression:
        found = self._part(level)
        alternations = 0
        while (operator := self._word("and", "or")) is not None:
            parts = [found]
            part = self._part(level + 1)
            if isinstance(found, Logical) and found.operator == operator and alternations:
                parts = list(found.parts)
            else:
                alternations += 1
            found = Logical(operator, (*parts, part))
            self._check(level + alternations)
        return found

    def _part(self, level: int) -> Expression:
        self._check(level)
        if self._word("not") is not None:
            return Negation(self._part(level + 1))
        if self._mark("("):
            found = self.filter(level + 1)
            if not self._mark(")"):
                raise self.expected("'and', 'or' or ')'")
            return found
        return self._test(level)

    def _check(self, level: int) -> None:
        if level > MOST_LEVELS:
            raise bad(self._text, f"it has more than {MOST_LEVELS} levels, of which each turn from and to or is one")

    def _test(self, level: int) -> Test:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise bad(self._text, f"it has more than {MOST_TESTS} tests")
        path = self._path(level)
        self._skip(_SPACE)
        operator = self._word(*OPERATORS)
        if operator is None:
            raise self.expected(f"an operator ({', '.join(OPERATORS)})")
        return Test(path, operator, self._value())

    def _path(self, level: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            name, type = self._name()
            if name.startswith("_has:"):
                steps.append(Step(name))
                continue
            within = self._within(level)
            steps.append(Step(name, type, within))
            if self._mark(".", skip=False):
                continue
            if within is not None:
                raise self.expected("'.' and a name")
            return tuple(steps)

    def _within(self, level: int) -> Expression | None:
        if not self._mark("["):
            return None
        found = self.filter(level + 1)
        if not self._mark("]", skip=False):
            raise self.expected("'and', 'or' or ']'")
        return found

    def _name(self) -> tuple[str, str]:
        found = _HAS.match(self._text, self.at) or _NAME.match(self._text, self.at)
        if found is None:
            raise self.expected("the name of a search parameter")
        self.at = found.end()
        return found[1], found[2] or ""

    def _value(self) -> str:
        for pattern in (_STRING, _TOKEN):
            found = pattern.match(self._text, self.at)
            if found is not None:
                break
        else:
            raise self.expected('a value, "in quotes" or without blanks')
        value = self._unquoted(found[0]) if pattern is _STRING else found[0]
        self.at = found.end()
        self._skip(_SPACE)
        return value

    def _unquoted(self, text: str) -> str:
        """https://www.rfc-editor.org/rfc/rfc8259#section-7"""
        try:
            value = str(json.loads(text))
        except ValueError:
            raise self.expected("a JSON string") from None
        check_text("_filter", value)
        return value

    def _word(self, *words: str) -> str | None:
        found = _WORD.match(self._text, self.at)
        if found is None or found[0] not in words:
            return None
        self._skip(_WORD)
        self._skip(_SPACE)
        return found[0]

    def _mark(self, mark: str, *, skip: bool = True) -> bool:
        if not self._text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        if skip:
            self._skip(_SPACE)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self.at)
        if found is not None:
            self.at = found.end()


def names(path: Sequence[Step]) -> str:
    """The path as it is quoted."""
    return ".".join(f"{each.name}{each.type and ':'}{each.type}{'[...]' if each.within else ''}" for each in path)
