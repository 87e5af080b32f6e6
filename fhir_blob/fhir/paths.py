"""FHIRPath as search parameters use it, compiled to closures; what goes beyond that is left to fhirpathpy.

A value travels with the name of its FHIR type, since `value[x]` and `ofType` turn on it.
Source: https://hl7.org/fhir/R4/fhirpath.html, https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from fhir_blob.fhir import nodes
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.interpreter import interpreted
from fhir_blob.fhir.nodes import Node, Path

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
    return interpreted(expression) if node is None else lambda focus, resource: node([focus], resource)


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


def check_path(expression: str, type: str) -> None:
    """ValueError for an expression that is no FHIRPath, or asks for what is not there."""
    opened = [each for each in _QUOTED.sub("", expression) if each in "()[]"]
    if opened.count("(") != opened.count(")") or opened.count("[") != opened.count("]"):
        raise ValueError(f"{expression[:100]!r} leaves a bracket open")
    root = ({"resourceType": type, "id": "x"}, type)
    read_path(expression)(root, root)


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")
