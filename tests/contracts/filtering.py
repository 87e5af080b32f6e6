"""Filters by the words of the specification: trees of tests, their text, and which resources they are true of.

Nothing of it is shared with the server. Source: https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.contracts import graph, naive
from tests.contracts import readings as read
from tests.contracts.parameters import PARAMETERS, Parameter
from tests.contracts.records import DATES, NUMBERS, SYSTEMS, URIS

Resource = dict[str, Any]
World = dict[str, Resource]
_TEXT = ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le")
_SPAN = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
OPERATORS: dict[str, tuple[str, ...]] = {
    "string": _TEXT, "token": ("eq", "ne"), "uri": ("eq", "ne"), "reference": ("re", "eq"), "number": (*_SPAN, "ap"),
    "quantity": (*_SPAN, "ap"), "date": (*_SPAN, "po", "co"), "composite": ("eq",), "special": ("eq",),
}  # fmt: skip


@dataclass(frozen=True)
class Test:
    """`within` has what stands in brackets, for each step of the path but the last."""

    path: tuple[str, ...]
    operator: str
    value: str
    within: tuple[Node | None, ...] = ()


@dataclass(frozen=True)
class Joined:
    """From left to right, with an operator between two parts."""

    operators: tuple[str, ...]
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    part: Node


Node = Test | Joined | Not


def written(node: Node, chance: random.Random) -> str:
    if isinstance(node, Not):
        inner = written(node.part, chance)
        return f"not {inner}" if isinstance(node.part, Test) and chance.random() < 0.5 else f"not ({inner})"
    if isinstance(node, Joined):
        parts = [written(each, chance) for each in node.parts]
        parts = [f"({each})" if isinstance(of, Joined) else each for each, of in zip(parts, node.parts, strict=True)]
        return parts[0] + "".join(f" {op} {each}" for op, each in zip(node.operators, parts[1:], strict=True))
    brackets = ["" if each is None else f"[{written(each, chance)}]" for each in node.within]
    steps = [name + each for name, each in zip(node.path, [*brackets, ""], strict=True)]
    path = ".".join(steps)
    path = re.sub(r"(_has:\w+:\w+)\.", r"\1:", path)
    return f"{path} {node.operator} {_quoted(node.value, chance)}"


def _quoted(value: str, chance: random.Random) -> str:
    if re.fullmatch(r"[^\s\])\"][^\s\])]*", value) and chance.random() < 0.5:
        return value
    return json.dumps(value, ensure_ascii=chance.random() < 0.5)


def holds(node: Node, test: Callable[[Test], bool]) -> bool:
    if isinstance(node, Not):
        return not holds(node.part, test)
    if isinstance(node, Test):
        return test(node)
    found = holds(node.parts[0], test)
    for operator, part in zip(node.operators, node.parts[1:], strict=True):
        found = (found and holds(part, test)) if operator == "and" else (found or holds(part, test))
    return found


@st.composite
def tree(draw: st.DrawFn, tests: st.SearchStrategy[Node], depth: int = 2) -> Node:
    way = draw(st.sampled_from(["test", "joined", "joined", "not"])) if depth else "test"
    if way == "test":
        return draw(tests)
    if way == "not":
        return Not(draw(tree(tests, depth - 1)))
    parts = draw(st.lists(tree(tests, depth - 1), min_size=2, max_size=4))
    operators = [draw(st.sampled_from(["and", "or"])) for _ in parts[1:]]
    return Joined(tuple(operators), tuple(parts))


def compared(operator: str, ours: str, theirs: str) -> bool:
    """Texts, without case and accents."""
    one, other = naive.folded(ours), naive.folded(theirs)
    if not one:
        return False
    return {
        "eq": one == other, "ne": one != other, "co": other in one, "sw": one.startswith(other),
        "ew": one.endswith(other), "gt": one > other, "ge": one >= other, "lt": one < other, "le": one <= other,
    }[operator]  # fmt: skip


def spans(operator: str, ours: naive.Span, theirs: naive.Span) -> bool:
    if operator == "po":
        return ours[0] < theirs[1] and theirs[0] < ours[1]
    if operator == "co":
        return ours[0] <= theirs[0] and theirs[1] <= ours[1]
    return naive.compared_spans(operator, theirs, ours)


# Of the ward: references, from resource to resource.


def in_ward(resources: Sequence[Resource], type: str, node: Node) -> list[str]:
    """'Type/id' of what the filter is true of."""
    world = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    found = (each for each in world.items() if each[1]["resourceType"] == type)
    return [name for name, each in found if _holds_in_ward(world, each, node)]


def _holds_in_ward(world: World, resource: Resource, node: Node) -> bool:
    return holds(node, lambda test: _followed(world, resource, test))


def _followed(world: World, resource: Resource, test: Test) -> bool:
    here = f"{resource['resourceType']}/{resource['id']}"
    name, *rest = test.path
    if not rest:
        return _met(world, resource, name, test)
    next = Test(tuple(rest), test.operator, test.value, test.within[1:])
    if name.startswith("_has:"):
        _, source, code = name.split(":")
        sources = (each for each in world.values() if each["resourceType"] == source)
        to = [each for each in sources if here in graph.PARAMETERS[source][code][1](each)]
    else:
        code, _, type = name.partition(":")
        _, reads, targets = graph.PARAMETERS[resource["resourceType"]][code]
        to = [world[each] for each in reads(resource) if each in world]
        to = [each for each in to if each["resourceType"] in ([type] if type else targets)]
    within = test.within[0]
    return any(_followed(world, each, next) and (within is None or _holds_in_ward(world, each, within)) for each in to)


def _met(world: World, resource: Resource, code: str, test: Test) -> bool:
    if code in graph.OWN:
        found = graph.search(list(world.values()), [resource["resourceType"]], [(code, test.value)])
        return (f"{resource['resourceType']}/{resource['id']}" in found) != (test.operator == "ne")
    kind, reads, _ = graph.PARAMETERS[resource["resourceType"]][code]
    values = reads(resource)
    if test.operator == "pr":
        return bool(values) == (test.value == "true")
    if kind == "string":
        return any(compared(test.operator, each, test.value) for each in values)
    if kind == "date":
        return any(spans(test.operator, naive.when(each), naive.when(test.value)) for each in values)
    if kind == "token":
        found_token = naive.token(values, test.value)  # of one code, with and without the system that it implies
        return bool(values) and found_token != (test.operator == "ne")
    return any(test.value in (each, each.partition("/")[2]) for each in values)


_VALUES = {
    "string": ["north", "Nörth", "South", "south east", "st", "ward", "e", "sm", "Smith", "ØSTERGÅRD", "x", "größe"],
    "token": ["a", "b", "http://a|a", "http://b|", "|a", "female", f"{graph.GENDER}|male", "current"],
    "date": graph.DATES,
    "reference": ["n0", "n1", "Patient/n0", "Patient/n2", "Organization/n1", "Group/n0"],
}


@st.composite
def of_ward(draw: st.DrawFn, type: str, links: int = 2) -> Node:
    """A test of what is there, of what it refers to, or of what refers to it."""
    codes = graph.PARAMETERS[type]
    way = draw(st.sampled_from(["here", "here", "chain", "has", "own"])) if links else "here"
    ways = [(code, to) for code, (kind, _, targets) in codes.items() if kind == "reference" for to in targets]
    if way == "chain" and ways:
        code, to = draw(st.sampled_from(ways))
        is_typed = len(codes[code][2]) > 1 or draw(st.booleans())
        return _led(f"{code}:{to}" if is_typed else code, draw(of_ward(to, links - 1)), draw(_brackets(to, links)))
    sources = [(of, code) for of, all in graph.PARAMETERS.items() for code, (_, _, to) in all.items() if type in to]
    if way == "has" and sources:
        source, code = draw(st.sampled_from(sources))
        return _led(f"_has:{source}:{code}", draw(of_ward(source, links - 1)), None)
    if way == "own":
        own = [("_id", "eq", "n1"), ("_id", "ne", "n2"), ("_text", "eq", "liver"), ("_content", "eq", "grosse")]
        code, operator, value = draw(st.sampled_from([*own, ("_list", "eq", "n1")]))
        return Test((code,), operator, value)
    code = draw(st.sampled_from(list(codes)))
    kind = codes[code][0]
    if draw(st.integers(0, 5)) == 0:
        return Test((code,), "pr", draw(st.sampled_from(["true", "false"])))
    return Test((code,), draw(st.sampled_from(OPERATORS[kind])), draw(st.sampled_from(_VALUES[kind])))


def _brackets(type: str, links: int) -> st.SearchStrategy[Node | None]:
    return st.one_of(st.none(), tree(of_ward(type, links - 1), 1))


def _led(step: str, test: Node, within: Node | None) -> Node:
    assert isinstance(test, Test)
    return Test((step, *test.path), test.operator, test.value, (within, *test.within))


# Of the records: values of every kind.


def in_records(resources: Sequence[Resource], type: str, node: Node) -> list[str]:
    of_type = (each for each in resources if each["resourceType"] == type)
    return [f"{type}/{each['id']}" for each in of_type if _holds_in_records(each, node)]


def _holds_in_records(resource: Resource, node: Node) -> bool:
    return holds(node, lambda test: _has_value(resource["resourceType"], resource, test))


def _has_value(type: str, resource: Resource, test: Test) -> bool:
    parameter = PARAMETERS[type][test.path[0]]
    values = parameter.read(resource)
    if test.operator == "pr":
        return bool(values) == (test.value == "true")
    return any(_one_meets(parameter, each, test.operator, test.value) for each in values)


def _one_meets(parameter: Parameter, value: Any, operator: str, text: str) -> bool:
    kind = parameter.kind
    if kind == "string":
        return compared(operator, value, text)
    if kind == "date" and operator in ("po", "co"):
        return spans(operator, value, read.when(text))
    if kind == "uri":
        return (value == text) != (operator == "ne")
    if kind == "token" and operator == "ne":
        return bool(value.code) and not read.meets(kind, value, text, "")
    if kind == "composite":
        parts = zip(parameter.parts, value, read.split(text, "$"), strict=True)
        return all(any(read.meets(kind, one, part, "") for one in some) for kind, some, part in parts)
    return read.meets(kind, value, f"{operator}{text}" if kind in ("date", "number", "quantity") else text, "")


@st.composite
def of_records(draw: st.DrawFn, type: str, resources: Sequence[Resource]) -> Node:
    code = draw(st.sampled_from(sorted(PARAMETERS[type])))
    parameter = PARAMETERS[type][code]
    values = [value for each in resources if each["resourceType"] == type for value in parameter.read(each)]
    texts = _texts(parameter.kind, values, parameter.parts)
    if code not in ("_id", "_lastUpdated") and (not texts or draw(st.integers(0, 9)) == 0):
        return Test((code,), "pr", draw(st.sampled_from(["true", "false"])))
    return Test((code,), draw(st.sampled_from(OPERATORS[parameter.kind])), draw(st.sampled_from(texts)))


def _texts(kind: str, values: Sequence[Any], parts: Sequence[str] = ()) -> list[str]:
    """Values of a filter that may find some of these."""
    if kind == "composite":
        chance = random.Random(len(values))
        ends = [_texts(part, [one for each in values for one in each[at]]) for at, part in enumerate(parts)]
        return ["$".join(chance.choice(each) for each in ends) for _ in range(40)] if all(ends) else []
    if kind == "date":
        return [*DATES, "2013-01-14T10:00", "1970", "1970-01-01T00:00:02Z", "2013-01-14T10:00:00.5Z"]
    if kind in ("number", "quantity"):
        units = ("", "||mg", f"|{SYSTEMS[0]}|mg", f"|{read.UCUM}|mg", f"|{read.UCUM}|K")
        numbers = [str(each) for each in NUMBERS if each >= 0]
        return [number + unit for number in numbers for unit in (units if kind == "quantity" else ("",))]
    if kind == "special":
        return [f"{latitude}|{longitude}|{each}" for latitude, longitude in values for each in ("0", "112|m", "20015")]
    found = {text for each in values for text in _written(kind, each) if text.strip()}
    return sorted(each for each in found if kind != "string" or naive.folded(each))


def _written(kind: str, value: Any) -> list[str]:
    if kind == "string":
        return [value, value[:2], value[:4].upper(), value[1:3], value[-2:], value[-5:], naive.folded(value)]
    if kind == "uri":
        return [value, f"{value}/c", *URIS]
    if kind == "reference":
        server, type, id, _ = read.local(value.literal)
        return [value.literal, f"{type}/{id}", id] if type else [server] if server else []
    if not value.code:
        return []
    code, systems = read.escaped(value.code), {value.system, value.implied} - {""}
    return [code, f"|{code}", *(f"{each}|{code}" for each in systems), *(f"{each}|" for each in systems)]
