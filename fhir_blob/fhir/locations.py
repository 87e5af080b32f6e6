"""Where the elements stand that a FHIRPath names, so that they can be changed.

Of FHIRPath the paths that lead to elements: names, indices, where(), extension(), ofType(), first() and the
like. What where() asks may be any expression. Source: https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_blob.errors import Unprocessable
from fhir_blob.fhir.elements import Spot, children, root
from fhir_blob.fhir.nodes import ANY, Path
from fhir_blob.fhir.paths import read_path, text_of

_LONGEST = 1000
_QUOTED = 100
_NAME = re.compile(r"\s*(?:([A-Za-z_]\w*)|`([^`]+)`|(%resource|\$this))\s*")
_INDEX = re.compile(r"\[\s*([0-9]{1,9})\s*\]\s*")
_STRING = re.compile(r"\s*('(?:[^'\\]|\\.)*')\s*\Z")
_IN_PARENTHESES = re.compile(r"'(?:[^'\\]|\\.)*'|[()]")


@dataclass(frozen=True, slots=True)
class _Step:
    """`name`, `name(argument)` where the argument is not None, or an index."""

    name: str
    argument: str | None = None
    index: int | None = None


_Found = list[Spot]
_Function = Callable[[_Found, str, Spot], _Found]


def locate(resource: dict[str, Any], expression: str) -> list[Spot]:
    """The elements that the path names, in their order; Unprocessable for what is no path to elements."""
    return _walk(root(resource), _steps(expression), expression)


def collection(resource: dict[str, Any], expression: str) -> tuple[list[Spot], str]:
    """The elements that own the list which the path names, which need not be there yet, and its name."""
    *steps, last = _steps(expression)
    if last.argument is not None or last.index is not None or not steps:
        raise _no_path(expression, "it has to end in the name of a list")
    return _walk(root(resource), steps, expression), last.name


def _walk(start: Spot, steps: list[_Step], expression: str) -> _Found:
    first, rest = steps[0], steps[1:]
    is_start = first.argument is None and first.name in (start.type, *ANY, "%resource", "$this")
    found = [start]
    for step in rest if is_start else steps:
        if step.index is not None:
            found = found[step.index : step.index + 1]
        elif step.argument is None:
            found = [child for each in found for child in children(each, step.name)]
        elif step.name in _FUNCTIONS:
            found = _FUNCTIONS[step.name](found, step.argument, start)
        else:
            raise _no_path(expression, f"{step.name[:40]}() leads to no element")
    return found


def _steps(expression: str) -> list[_Step]:
    if len(expression) > _LONGEST:
        raise _no_path(expression, f"it is longer than {_LONGEST} characters")
    steps: list[_Step] = []
    at = 0
    while True:
        match = _NAME.match(expression, at)
        if match is None:
            raise _no_path(expression, f"at character {at} a name has to stand")
        name, at = match[1] or match[2] or match[3], match.end()
        argument = None
        if expression[at : at + 1] == "(":
            end = _closing(expression, at)
            argument, at = expression[at + 1 : end], end + 1
        steps.append(_Step(name, argument))
        while (index := _INDEX.match(expression, at)) is not None:
            steps.append(_Step("", None, int(index[1])))
            at = index.end()
        if at == len(expression):
            return steps
        if expression[at] != ".":
            raise _no_path(expression, f"at character {at} a '.' has to stand")
        at += 1


def _closing(expression: str, at: int) -> int:
    depth = 0
    for each in _IN_PARENTHESES.finditer(expression, at):
        depth += {"(": 1, ")": -1}.get(each[0], 0)
        if depth == 0:
            return each.start()
    raise _no_path(expression, "a parenthesis is not closed")


def _no_path(expression: str, why: str) -> Unprocessable:
    return Unprocessable(f"{expression[:_QUOTED]!r} is no path that a patch can take: {why}.")


def _where(found: _Found, argument: str, start: Spot) -> _Found:
    _check_condition(argument)
    condition = read_path(argument)
    return [each for each in found if _holds(argument, condition, each, start)]


def _check_condition(argument: str) -> None:
    """It is asked of each element, so that it may not be what takes a while: patterns, unions, all descendants."""
    bare = _IN_QUOTES.sub("``", argument)
    strange = next((name for name in _CALLED.findall(bare) if name not in _ASKED), None) or _COSTLY.search(bare)
    if strange:
        told = f"{strange[:40]}()" if isinstance(strange, str) else repr(strange[0])
        raise _no_path(argument, f"{told} is not taken in a condition")


_IN_QUOTES = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`")
_CALLED = re.compile(r"([A-Za-z_]\w*|``)\s*\(")
_COSTLY = re.compile(r"[|~%]|/[/*]")
_ASKED = frozenset(
    """all and as contains count div empty endsWith exists extension first hasExtension hasValue iif implies in indexOf
    is last length lower mod not ofType or resolve single skip startsWith substring tail take toString today now
    type upper where xor""".split()  # noqa: SIM905 - quotes would hide the names
)


def _holds(argument: str, path: Path, spot: Spot, start: Spot) -> bool:
    try:
        values = path((spot.value, spot.type), (start.value, start.type))
    except ValueError as error:
        raise _no_path(argument, "the condition cannot be evaluated") from error
    return len(values) == 1 and values[0][0] is True


def _extension(found: _Found, argument: str, start: Spot) -> _Found:
    match = _STRING.match(argument)
    if match is None:
        raise _no_path(argument, "extension() takes a string")
    url = text_of(match[1])
    extensions = [child for each in found for child in children(each, "extension")]
    return [each for each in extensions if isinstance(each.value, dict) and each.value.get("url") == url]


def _of_type(found: _Found, argument: str, start: Spot) -> _Found:
    wanted = argument.strip().removeprefix("FHIR.").removeprefix("System.")
    return [each for each in found if each.type == wanted]


def _counted(pick: Callable[[_Found, int], _Found]) -> _Function:
    def run(found: _Found, argument: str, start: Spot) -> _Found:
        text = argument.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise _no_path(argument, "a number has to stand here")
        return pick(found, int(text))

    return run


def _plain(pick: Callable[[_Found], _Found]) -> _Function:
    def run(found: _Found, argument: str, start: Spot) -> _Found:
        if argument.strip():
            raise _no_path(argument, "nothing may stand here")
        return pick(found)

    return run


_FUNCTIONS: Mapping[str, _Function] = {
    "where": _where,
    "extension": _extension,
    "ofType": _of_type,
    "as": _of_type,
    "first": _plain(lambda found: found[:1]),
    "last": _plain(lambda found: found[-1:]),
    "tail": _plain(lambda found: found[1:]),
    "single": _plain(lambda found: found),
    "skip": _counted(lambda found, count: found[count:]),
    "take": _counted(lambda found, count: found[:count]),
}
