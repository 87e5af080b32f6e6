"""FHIRPath as search parameters use it, compiled to closures; what goes beyond that is left to fhirpathpy.

A value travels with the name of its FHIR type, since `value[x]` and `ofType` turn on it.
Source: https://hl7.org/fhir/R4/fhirpath.html, https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from typing import Any

from fhir_blob.fhir import nodes
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.nodes import Node, Pair
from fhir_blob.fhir.primitives import CHECKS

# From the focus and the resource that it is in to the values.
Path = Callable[[Pair, Pair], list[Pair]]

_TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(%?[A-Za-z_]\w*)|(\d+)|(!=|[.()\[\]|=,]))")


class _Unsupported(Exception):
    """The expression goes beyond what is compiled here."""


@cache
def compile_path(expression: str) -> Path:
    """A closure (focus, resource) -> [(value, type), ...] of a search parameter's expression."""
    return read_path(expression)


def read_path(expression: str) -> Path:
    """The same of an expression that a client sent: nothing of it stays."""
    node = compiled(expression)
    return _by_fhirpathpy(expression) if node is None else lambda focus, resource: node([focus], resource)


def compiled(expression: str) -> Node | None:
    """None for what is left to fhirpathpy."""
    try:
        return _Parser(expression).whole()
    except _Unsupported:
        return None


class _Parser:
    """Recursive descent, one method for each level of precedence."""

    def __init__(self, expression: str) -> None:
        self._tokens = list(_tokens(expression))
        self._at = 0

    def whole(self) -> Node:
        node = self._conjunction()
        if self._peek():
            raise _Unsupported(self._peek())
        return node

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise _Unsupported(token)
        self._at += 1
        return token

    def _taken(self, wanted: str) -> bool:
        if self._peek() != wanted:
            return False
        self._at += 1
        return True

    def _conjunction(self) -> Node:
        node = self._equality()
        while self._taken("and"):
            node = nodes.both(node, self._equality())
        return node

    def _equality(self) -> Node:
        node = self._union()
        if self._peek() in ("=", "!="):
            node = nodes.equals(node, negated=self._take() == "!=", right=self._union())
        return node

    def _union(self) -> Node:
        parts = [self._typed()]
        while self._taken("|"):
            parts.append(self._typed())
        return parts[0] if len(parts) == 1 else nodes.union(tuple(parts))

    def _typed(self) -> Node:
        node = self._postfix()
        while self._peek() in ("as", "is"):
            of_type = nodes.as_type if self._take() == "as" else nodes.is_type
            node = of_type(node, self._type_name())
        return node

    def _type_name(self) -> str:
        name = self._name()
        if name in ("FHIR", "System") and self._taken("."):
            name = self._name()
        return name

    def _name(self) -> str:
        name = self._take()
        if not (name[0].isalpha() or name[0] == "_"):
            raise _Unsupported(name)
        return name

    def _postfix(self) -> Node:
        node = self._primary()
        while self._peek() in (".", "["):
            if self._take() == "[":
                node = nodes.item(node, int(self._take()))
                self._take("]")
            elif self._peek(1) == "(":
                node = self._function(node)
            else:
                node = self._child(node, self._names())
        return node

    def _child(self, node: Node, names: tuple[str, ...]) -> Node:
        """A primitive's extensions stand beside its value."""
        return nodes.child(node, names, beside=self._peek() == "." and self._peek(1) in ("extension", "hasExtension"))

    def _names(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._peek() == "." and self._peek(2) != "(":
            self._take()
            names.append(self._name())
        return tuple(names)

    def _primary(self) -> Node:
        token = self._peek()
        if self._taken("("):
            node = self._conjunction()
            self._take(")")
            return node
        if token.startswith("'") or token in ("true", "false"):
            return nodes.literal(
                (text_of(token), "string") if self._take().startswith("'") else (token == "true", "boolean")
            )
        if token == "%resource":
            self._take()
            return lambda _, resource: [resource]
        if self._peek(1) == "(":
            return self._function(nodes.itself)
        names = self._names()
        if names[0] in definitions().types or names[0] in nodes.ANY:
            return self._child(nodes.root(names[0]), names[1:])
        return self._child(nodes.itself, names)

    def _function(self, node: Node) -> Node:
        name = self._name()
        self._take("(")
        if name == "where":
            made = nodes.where(node, self._conjunction())
        elif name in ("as", "ofType"):
            made = nodes.as_type(node, self._type_name())
        elif name == "is":
            made = nodes.is_type(node, self._type_name())
        elif name in ("extension", "hasExtension"):
            made = nodes.extension(node, text_of(self._take()))
            made = nodes.exists(made) if name == "hasExtension" else made
        elif name in nodes.PLAIN:
            made = nodes.PLAIN[name](node)
        else:
            raise _Unsupported(name)
        self._take(")")
        return made


def _tokens(expression: str) -> Iterator[str]:
    at, text = 0, expression.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Unsupported(text[at:])
        yield found[1] or found[2] or found[3] or found[4]
        at = found.end()


def text_of(token: str) -> str:
    """What a literal in quotes says: https://hl7.org/fhirpath/N1/#string"""
    if not token.startswith("'"):
        raise _Unsupported(token)
    return _ESCAPE.sub(_unescaped, token[1:-1])


_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2])


def _by_fhirpathpy(expression: str) -> Path:
    """Slow: for search parameters that were added and say more than R4's own."""

    @cache
    def parsed() -> Any:
        import fhirpathpy
        from fhirpathpy.engine.nodes import TypeInfo
        from fhirpathpy.models import models

        # Else ofType() finds less until the first `is` of the process.
        TypeInfo.model = models["r4"]  # type: ignore[assignment]
        return fhirpathpy.compile(expression, models["r4"], _OPTIONS)

    def run(focus: Pair, resource: Pair) -> list[Pair]:
        from fhirpathpy.engine.nodes import ResourceNode

        try:
            root = focus[0] if focus[0] is resource[0] else ResourceNode.create_node(*focus)  # type: ignore[no-untyped-call]
            found = parsed()(root, {**_VARIABLES, "resource": resource[0]})
        except Exception as error:  # it raises no other for what cannot be done with a value
            raise ValueError(f"{expression[:100]!r} is not understood: {error}") from error
        return [pair for pair in map(_typed, found) if _is_value(*pair)]

    return run


def _has_value(values: list[Any]) -> list[bool]:
    return [len(values) == 1 and values[0] is not None and not isinstance(values[0], dict)]


def _matches(values: list[Any], pattern: str) -> list[bool]:
    """By RE2, since a pattern of Python's may take for ever: it takes none with look-ahead."""
    return [_pattern(pattern).search(_text(values)) is not None] if values and pattern else []


def _replace_matches(values: list[Any], pattern: Any, by: Any) -> list[str]:
    if not values or pattern == [] or by == []:
        return []
    return [_pattern(pattern).sub(_GROUP.sub(r"\\\1", by.replace("\\", "\\\\")), _text(values))]


def _text(values: list[Any]) -> str:
    if len(values) != 1 or not isinstance(values[0], str):
        raise ValueError("a pattern is matched against one string")
    return str(values[0])


def _pattern(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.dot_nl, options.log_errors = True, False
    return re2.compile(pattern, options)


_GROUP = re.compile(r"\$(\d)")
# What FHIR adds to FHIRPath; and trace() would print what it sees.
_VARIABLES = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_OPTIONS = {
    "returnRawData": True,
    "traceFn": lambda label, values: None,
    "userInvocationTable": {
        "hasValue": {"fn": _has_value, "arity": {0: []}},
        "matches": {"fn": _matches, "arity": {1: ["String"]}},
        "replaceMatches": {"fn": _replace_matches, "arity": {2: ["String", "String"]}},
    },
}


def _typed(node: Any) -> Pair:
    """A node knows its type, but for one that came out of a union; a computed value is no node."""
    value = getattr(node, "data", node)
    if not isinstance(value, _JSON):
        return str(value), next((type for sign, type in _COMPUTED if sign.match(str(value))), "string")
    return value, getattr(node, "path", None) or _guess(value)


def check_path(expression: str, type: str) -> None:
    """ValueError for an expression that is no FHIRPath, or asks for what is not there."""
    opened = [each for each in _QUOTED.sub("", expression) if each in "()[]"]
    if opened.count("(") != opened.count(")") or opened.count("[") != opened.count("]"):
        raise ValueError(f"{expression[:100]!r} leaves a bracket open")
    root = ({"resourceType": type, "id": "x"}, type)
    read_path(expression)(root, root)


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")


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
