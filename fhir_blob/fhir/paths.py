"""FHIRPath as search parameters use it, compiled to closures; what goes beyond that is left to fhirpathpy.

A value travels with the name of its FHIR type, since `value[x]` and `ofType` turn on it.
Source: https://hl7.org/fhir/R4/fhirpath.html, https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fhir_blob.fhir.definitions import definitions

# A value and its FHIR type; backbone elements have their path as type ('Patient.contact').
Pair = tuple[Any, str]
# From the focus and the resource that it is in to the values.
Path = Callable[[Pair, Pair], list[Pair]]
_Node = Callable[[list[Pair], Pair], list[Pair]]

_TRUE: list[Pair] = [(True, "boolean")]
_FALSE: list[Pair] = [(False, "boolean")]
_ANY = frozenset({"Resource", "DomainResource"})
_QUANTITIES = frozenset({"Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"})
_TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(%?[A-Za-z_]\w*)|(\d+)|(!=|[.()\[\]|=,]))")
_REFERENCE_TYPE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?$")


class _Unsupported(Exception):
    """The expression goes beyond what is compiled here."""


@cache
def compile_path(expression: str) -> Path:
    """A closure (focus, resource) -> [(value, type), ...] of a search parameter's expression."""
    try:
        node = _Parser(expression).whole()
    except _Unsupported:
        return _by_fhirpathpy(expression)
    return lambda focus, resource: node([focus], resource)


class _Parser:
    """Recursive descent, one method for each level of precedence."""

    def __init__(self, expression: str) -> None:
        self._tokens = list(_tokens(expression))
        self._at = 0

    def whole(self) -> _Node:
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

    def _conjunction(self) -> _Node:
        node = self._equality()
        while self._taken("and"):
            node = _and(node, self._equality())
        return node

    def _equality(self) -> _Node:
        node = self._union()
        if self._peek() in ("=", "!="):
            node = _equals(node, negated=self._take() == "!=", right=self._union())
        return node

    def _union(self) -> _Node:
        nodes = [self._typed()]
        while self._taken("|"):
            nodes.append(self._typed())
        return nodes[0] if len(nodes) == 1 else _union(tuple(nodes))

    def _typed(self) -> _Node:
        node = self._postfix()
        while self._peek() in ("as", "is"):
            of_type = _as if self._take() == "as" else _is
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

    def _postfix(self) -> _Node:
        node = self._primary()
        while self._peek() in (".", "["):
            if self._take() == "[":
                node = _item(node, int(self._take()))
                self._take("]")
            elif self._peek(1) == "(":
                node = self._function(node)
            else:
                node = _child(node, self._names())
        return node

    def _names(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._peek() == "." and self._peek(2) != "(":
            self._take()
            names.append(self._name())
        return tuple(names)

    def _primary(self) -> _Node:
        token = self._peek()
        if self._taken("("):
            node = self._conjunction()
            self._take(")")
            return node
        if token.startswith("'") or token in ("true", "false"):
            return _literal(self._take())
        if token == "%resource":
            self._take()
            return lambda nodes, resource: [resource]
        if self._peek(1) == "(":
            return self._function(_itself)
        names = self._names()
        if names[0] in definitions().types or names[0] in _ANY:
            return _child(_root(names[0]), names[1:])
        return _child(_itself, names)

    def _function(self, node: _Node) -> _Node:
        name = self._name()
        self._take("(")
        if name == "where":
            made = _where(node, self._conjunction())
        elif name in ("as", "ofType"):
            made = _as(node, self._type_name())
        elif name == "is":
            made = _is(node, self._type_name())
        elif name in ("extension", "hasExtension"):
            made = _extension(node, _text(self._take()))
            made = _exists(made) if name == "hasExtension" else made
        elif name in _PLAIN:
            made = _PLAIN[name](node)
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


def _text(token: str) -> str:
    if not token.startswith("'"):
        raise _Unsupported(token)
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _itself(nodes: list[Pair], resource: Pair) -> list[Pair]:
    return nodes


def _root(name: str) -> _Node:
    if name in _ANY:
        return _itself
    return lambda nodes, resource: nodes if nodes and nodes[0][1] == name else []


def _literal(token: str) -> _Node:
    pair: Pair = (_text(token), "string") if token.startswith("'") else (token == "true", "boolean")
    return lambda nodes, resource: [pair]


class _Children(dict[str, tuple[tuple[str, str], ...]]):
    """By the type of an element: the JSON names of one of its children, with their types."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, type: str) -> tuple[tuple[str, str], ...]:
        elements, name = definitions().structure(type), self._name
        found: tuple[tuple[str, str], ...] = ()
        if name in elements:
            found = ((name, elements[name].types[0]),)
        elif f"{name}[x]" in elements:
            found = tuple((name + each[0].upper() + each[1:], each) for each in elements[f"{name}[x]"].types)
        self[type] = found
        return found


def _child(inner: _Node, names: tuple[str, ...]) -> _Node:
    tables = tuple(_Children(name) for name in names)

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        nodes = inner(nodes, resource)
        for table in tables:
            if not nodes:
                return nodes
            found: list[Pair] = []
            for value, type in nodes:
                if value.__class__ is dict:
                    for key, child in table[type]:
                        content = value.get(key)
                        if content is not None:
                            _add(found, content, child)
            nodes = found
        return nodes

    return run


def _add(found: list[Pair], content: Any, type: str) -> None:
    if type == "Resource":
        items = content if isinstance(content, list) else [content]
        found += [(each, str(each.get("resourceType"))) for each in items]
    elif content.__class__ is list:
        found += [(each, type) for each in content if each is not None]
    else:
        found.append((content, type))


def _union(inner: tuple[_Node, ...]) -> _Node:
    return lambda nodes, resource: [pair for each in inner for pair in each(nodes, resource)]


def _item(inner: _Node, index: int) -> _Node:
    return lambda nodes, resource: inner(nodes, resource)[index : index + 1]


def _matches(type: str, wanted: str) -> bool:
    return (
        type.lower() == wanted.lower()  # R4 itself writes DateTime for dateTime
        or (wanted == "Quantity" and type in _QUANTITIES)
        or (wanted in _ANY and type in definitions().types)
    )


def _as(inner: _Node, wanted: str) -> _Node:
    """On a collection too: R4's expressions mean it so."""
    return lambda nodes, resource: [pair for pair in inner(nodes, resource) if _matches(pair[1], wanted)]


def _is(inner: _Node, wanted: str) -> _Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        found = inner(nodes, resource)
        return [(_matches(found[0][1], wanted), "boolean")] if found else []

    return run


def _where(inner: _Node, condition: _Node) -> _Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        return [pair for pair in inner(nodes, resource) if _is_true(condition([pair], resource))]

    return run


def _is_true(nodes: list[Pair]) -> bool:
    return len(nodes) == 1 and nodes[0][0] is True


def _and(left: _Node, right: _Node) -> _Node:
    """Three-valued: false wins over empty."""

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        sides = (left(nodes, resource), right(nodes, resource))
        if any(side and side[0][0] is False for side in sides):
            return _FALSE
        return _TRUE if all(sides) else []

    return run


def _equals(left: _Node, *, negated: bool, right: _Node) -> _Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        ours = [value for value, _ in left(nodes, resource)]
        theirs = [value for value, _ in right(nodes, resource)]
        if not ours or not theirs:
            return []
        return _TRUE if (ours == theirs) != negated else _FALSE

    return run


def _exists(inner: _Node) -> _Node:
    return lambda nodes, resource: _TRUE if inner(nodes, resource) else _FALSE


def _empty(inner: _Node) -> _Node:
    return lambda nodes, resource: _FALSE if inner(nodes, resource) else _TRUE


def _extension(inner: _Node, url: str) -> _Node:
    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        return [
            (each, "Extension")
            for value, _ in inner(nodes, resource)
            if isinstance(value, dict)
            for each in value.get("extension", ())
            if each.get("url") == url
        ]

    return run


def _resolve(inner: _Node) -> _Node:
    """What a reference points at, as far as its type: nothing but the contained is read."""

    def run(nodes: list[Pair], resource: Pair) -> list[Pair]:
        types = (referenced_type(value, resource[0]) for value, _ in inner(nodes, resource))
        return [({"resourceType": type}, type) for type in types if type]

    return run


def referenced_type(reference: Any, resource: Any) -> str:
    """The type that a Reference or uri points at, '' where it does not say so."""
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if not isinstance(text, str):
        return str(reference.get("type", "")) if isinstance(reference, dict) else ""
    if text.startswith("#"):
        contained = (each["resourceType"] for each in resource.get("contained", ()) if each.get("id") == text[1:])
        return str(next(contained, ""))
    found = _REFERENCE_TYPE.search(text)
    if found is not None and found[1] in definitions().types:
        return found[1]
    return str(reference.get("type", "")) if isinstance(reference, dict) else ""


_PLAIN: dict[str, Callable[[_Node], _Node]] = {
    "exists": _exists,
    "empty": _empty,
    "first": lambda inner: _item(inner, 0),
    "resolve": _resolve,
}


def _by_fhirpathpy(expression: str) -> Path:
    """Slow and untyped: for search parameters that were added and say more than R4's own."""

    def run(focus: Pair, resource: Pair) -> list[Pair]:
        import fhirpathpy
        from fhirpathpy.models import models

        context = {"resource": resource[0]}
        return [(value, _guess(value)) for value in fhirpathpy.evaluate(focus[0], expression, context, models["r4"])]

    return run


def _guess(value: Any) -> str:
    """The type of a value that came without one."""
    if not isinstance(value, dict):
        return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "decimal"
    if "resourceType" in value:
        return str(value["resourceType"])
    return next((type for names, type in _SIGNS if not names.isdisjoint(value)), "CodeableConcept")


_SIGNS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"reference"}), "Reference"),
    (frozenset({"coding"}), "CodeableConcept"),
    (frozenset({"family", "given"}), "HumanName"),
    (frozenset({"line", "city", "postalCode", "country"}), "Address"),
    (frozenset({"start", "end"}), "Period"),
    (frozenset({"unit"}), "Quantity"),
    (frozenset({"low", "high"}), "Range"),
    (frozenset({"code"}), "Coding"),
    (frozenset({"value"}), "Identifier"),
)
