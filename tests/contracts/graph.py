"""A ward of resources that refer to one another, searches that follow the references, and what they mean.

The meaning is the specification's, applied to every resource; nothing of it is shared with the server.
Source: https://hl7.org/fhir/R4/search.html#chaining, #has, #list
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.contracts import naive

Resource = dict[str, Any]
Pairs = list[tuple[str, str]]
WORDS = ["liver", "Herz", "fine", "Größe", "discharge", "x"]
DATES = ["2013", "2013-01", "2013-01-14", "2014-01-01"]
CODES = ["a", "b", "c"]
GENDER = "http://hl7.org/fhir/administrative-gender"


def ward(seed: int) -> list[Resource]:
    """Some sixty resources in the order in which they are made."""
    chance = random.Random(seed)
    found: list[Resource] = []

    def add(type: str, count: int, make: Callable[[], Resource]) -> None:
        found.extend({"resourceType": type, "id": f"n{number}", **make()} for number in range(count))

    def to(*types: str) -> dict[str, str]:
        known = [f"{each['resourceType']}/{each['id']}" for each in found if each["resourceType"] in types]
        return {"reference": chance.choice([*known, f"{types[0]}/nowhere", f"https://ehr.example/fhir/{known[0]}"])}

    def maybe(**content: Callable[[], Any]) -> Resource:
        return {name: make() for name, make in content.items() if chance.random() < 0.7}

    def concept() -> Resource:
        return {"coding": [{"system": chance.choice(["http://a", "http://b"]), "code": chance.choice(CODES)}]}

    def narrative() -> Resource:
        return {
            "status": "generated",
            "div": f"<div>{' '.join(chance.sample(WORDS, 2))} <b>{chance.choice(WORDS)}</b></div>",
        }

    def name() -> str:
        return chance.choice(["North", "Nörth Ward", "South", "south east"])

    add("Organization", 3, lambda: {"name": name()})
    add("Organization", 4, lambda: maybe(name=name, partOf=lambda: to("Organization")))
    found[3:] = [{**each, "id": f"n{number}"} for number, each in enumerate(found[3:], 3)]
    add("Patient", 8, lambda: maybe(
        name=lambda: [{"family": chance.choice(["Smith", "Smyth", "Østergård"])}],
        gender=lambda: chance.choice(["female", "male"]), birthDate=lambda: chance.choice(DATES[:3]),
        managingOrganization=lambda: to("Organization"), text=narrative,
    ))  # fmt: skip
    add("Group", 2, lambda: {"type": "person", "actual": True, "code": concept()})
    add("Observation", 16, lambda: {"status": "final", "code": concept(), **maybe(
        subject=lambda: to("Patient", "Group"), effectiveDateTime=lambda: chance.choice(DATES),
        performer=lambda: [to("Organization")],
    )})  # fmt: skip
    add("DocumentReference", 14, lambda: {
        "status": "current", "content": [{"attachment": {"title": chance.choice(WORDS)}}],
        **maybe(subject=lambda: to("Patient"), type=concept, description=lambda: chance.choice(WORDS), text=narrative,
                custodian=lambda: to("Organization")),
    })  # fmt: skip
    add("List", 3, lambda: {
        "status": "current", "mode": "working",
        "entry": [{"item": to("Patient", "Observation")} for _ in range(chance.randrange(1, 4))],
    })  # fmt: skip
    return found


# By type and code: kind, where its values are, the types that it refers to.
def _references(*path: str) -> Callable[[Resource], list[str]]:
    def read(resource: Resource) -> list[str]:
        values: list[Any] = [resource]
        for step in path:
            values = [inner for each in values for inner in _listed(each.get(step))]
        return [each["reference"].removeprefix("https://ehr.example/fhir/") for each in values]

    return read


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _codings(name: str) -> Callable[[Resource], list[tuple[str, str]]]:
    return lambda resource: [
        (each["system"], each["code"]) for concept in _listed(resource.get(name)) for each in concept["coding"]
    ]


def _strings(read: Callable[[Resource], list[str]]) -> Callable[[Resource], list[str]]:
    return read


def _plain(name: str) -> Callable[[Resource], list[Any]]:
    return lambda resource: _listed(resource.get(name))


def _code(name: str, system: str) -> Callable[[Resource], list[tuple[str, str]]]:
    return lambda resource: [(of, each) for each in _listed(resource.get(name)) for of in ("", system)]


def _patients(read: Callable[[Resource], list[str]]) -> Callable[[Resource], list[str]]:
    return lambda resource: [each for each in read(resource) if each.startswith("Patient/")]


SUBJECT = _references("subject")
PARAMETERS: dict[str, dict[str, tuple[str, Callable[[Resource], list[Any]], tuple[str, ...]]]] = {
    "Organization": {
        "name": ("string", _plain("name"), ()),
        "partof": ("reference", _references("partOf"), ("Organization",)),
    },
    "Patient": {
        "family": ("string", lambda each: [name["family"] for name in each.get("name", [])], ()),
        "gender": ("token", _code("gender", GENDER), ()),
        "birthdate": ("date", _plain("birthDate"), ()),
        "organization": ("reference", _references("managingOrganization"), ("Organization",)),
    },
    "Group": {"code": ("token", _codings("code"), ())},
    "Observation": {
        "code": ("token", _codings("code"), ()),
        "date": ("date", _plain("effectiveDateTime"), ()),
        "subject": ("reference", SUBJECT, ("Patient", "Group")),
        "patient": ("reference", _patients(SUBJECT), ("Patient",)),
        "performer": ("reference", _references("performer"), ("Organization",)),
    },
    "DocumentReference": {
        "type": ("token", _codings("type"), ()),
        "description": ("string", _plain("description"), ()),
        "subject": ("reference", SUBJECT, ("Patient",)),
        "custodian": ("reference", _references("custodian"), ("Organization",)),
    },
    "List": {
        "status": ("token", _code("status", "http://hl7.org/fhir/list-status"), ()),
        "item": ("reference", _references("entry", "item"), ("Patient", "Observation")),
    },
}
COMPARTMENT = {"Observation": ["subject", "performer"], "DocumentReference": ["subject"], "List": []}
TYPES = list(PARAMETERS)
OWN = ("_has", "_id", "_list", "_text", "_content")  # of every type


def search(resources: Sequence[Resource], types: Sequence[str], pairs: Pairs, patient: str = "") -> list[str]:
    """'Type/id' of what matches, in the order in which it was made."""
    world = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    return [
        name
        for name, each in world.items()
        if each["resourceType"] in types
        and (not patient or _in_compartment(each, patient))
        and all(_matches(world, each, *pair) for pair in pairs)
    ]


def included(resources: Sequence[Resource], matches: Sequence[str], includes: Pairs) -> set[str]:
    """'Type/id' of what comes with those matches: again and again of what came, where it iterates."""
    world = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    found: set[str] = set()
    for name, text in includes:
        found |= _brought(world, matches, name, text)
    size = -1
    while size != len(found):
        size = len(found)
        for name, text in includes:
            if name.endswith((":iterate", ":recurse")):
                found |= _brought(world, [*matches, *found], name, text)
    return found - set(matches)


def _brought(world: dict[str, Resource], of: Sequence[str], name: str, text: str) -> set[str]:
    """`Type:parameter:target`, each of them maybe `*`, of these resources."""
    source, code, target = [*text.split(":"), "*", "*"][:3]
    links = [
        (f"{type}/{each['id']}", to)
        for each in world.values()
        for type in [each["resourceType"]]
        if source in ("*", type)
        for known, (kind, read, _) in PARAMETERS[type].items()
        if kind == "reference" and code in ("*", known)
        for to in read(each)
        if to in world and target in ("*", to.partition("/")[0])
    ]
    if name.startswith("_revinclude"):
        return {this for this, to in links if to in of}
    return {to for this, to in links if this in of}


def _in_compartment(resource: Resource, patient: str) -> bool:
    type = resource["resourceType"]
    codes = COMPARTMENT.get(type, [])
    return f"{type}/{resource['id']}" == patient or any(
        patient in PARAMETERS[type][code][1](resource) for code in codes
    )


def _matches(world: dict[str, Resource], resource: Resource, name: str, text: str) -> bool:
    type = resource["resourceType"]
    if name == "_id":
        return resource["id"] in text.split(",")
    if name in ("_text", "_content"):
        return any(set(_words(each)) <= set(_told(resource, name)) for each in text.split(","))
    if name == "_list":
        listed = (world.get(f"List/{each}") for each in text.split(","))
        here = f"{type}/{resource['id']}"
        return any(here in PARAMETERS["List"]["item"][1](each) for each in listed if each is not None)
    if name.startswith("_has:"):
        _, source, code, rest = name.split(":", 3)
        here = f"{type}/{resource['id']}"
        return any(
            each["resourceType"] == source
            and here in PARAMETERS[source][code][1](each)
            and _matches(world, each, rest, text)
            for each in world.values()
        )
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    kind, read, targets = PARAMETERS[type][code]
    if dot:
        followed = (world[each] for each in read(resource) if each in world)
        return any(
            each["resourceType"] in ([modifier] if modifier else targets)
            and rest.partition(":")[0].partition(".")[0] in (*PARAMETERS[each["resourceType"]], *OWN)
            and _matches(world, each, rest, text)
            for each in followed
        )
    if modifier == "missing":
        return bool(read(resource)) != (text == "true")
    found = any(_KINDS[kind](value, each, modifier) for each in text.split(",") for value in read(resource))
    return found != (modifier == "not")


def _told(resource: Resource, name: str) -> list[str]:
    narrative = re.sub(r"<[^>]*>", " ", resource.get("text", {}).get("div", ""))
    if name == "_text":
        return _words(narrative)
    return _words(f"{narrative} {' '.join(_texts({**resource, 'text': resource.get('text', {}).get('status', '')}))}")


def _texts(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in _texts(each, key)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each, name)]
    return [] if name in ("reference", "system", "id", "resourceType") or not isinstance(value, str) else [value]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", naive.folded(text))


def _token(value: tuple[str, str], text: str, modifier: str) -> bool:
    return naive.token([value], text)


def _string(value: str, text: str, modifier: str) -> bool:
    if modifier == "exact":
        return value == text
    inner, outer = naive.folded(text), naive.folded(value)
    return inner in outer if modifier == "contains" else outer.startswith(inner)


def _date(value: str, text: str, modifier: str) -> bool:
    prefix, rest = (text[:2], text[2:]) if text[:2] in naive.PREFIXES else ("eq", text)
    return naive.compared_spans(prefix, naive.when(rest), naive.when(value))


def _reference(value: str, text: str, modifier: str) -> bool:
    wanted = f"{modifier}/{text}" if modifier else text
    return value == wanted if "/" in wanted else value.partition("/")[2] == wanted


_KINDS: dict[str, Callable[[Any, str, str], bool]] = {
    "token": _token, "string": _string, "date": _date, "reference": _reference,
}  # fmt: skip


@st.composite
def criterion(draw: st.DrawFn, type: str, links: int = 2) -> tuple[str, str]:
    """One parameter of a search for that type; chains and _has go on for so many links."""
    ways = ["plain", "plain", "chain", "has", "own"] if links else ["plain"]
    way = draw(st.sampled_from(ways))
    codes = PARAMETERS[type]
    linking = [code for code, (kind, _, _) in codes.items() if kind == "reference"]
    if way == "chain" and linking:
        code = draw(st.sampled_from(linking))
        target = draw(st.sampled_from(codes[code][2]))
        is_typed = len(codes[code][2]) > 1 or draw(st.booleans())
        name, text = draw(criterion(target, links - 1))
        return f"{code}{f':{target}' if is_typed else ''}.{name}", text
    if way == "has":
        sources = [
            (source, code) for source, known in PARAMETERS.items() for code, (_, _, to) in known.items() if type in to
        ]
        if sources:
            source, code = draw(st.sampled_from(sources))
            name, text = draw(criterion(source, links - 1))
            return f"_has:{source}:{code}:{name}", text
    if way == "own":
        return draw(st.sampled_from([
            ("_list", "n0"), ("_list", "n1,n2"), ("_id", "n1,n2,x"),
            *((name, text) for name in ("_text", "_content") for text in ("LIVER", "grosse,herz", "fine x", "größe")),
        ]))  # fmt: skip
    code = draw(st.sampled_from(list(codes)))
    return draw(_plain_criterion(code, codes[code][0], codes[code][2]))


@st.composite
def _plain_criterion(draw: st.DrawFn, code: str, kind: str, targets: tuple[str, ...]) -> tuple[str, str]:
    if draw(st.integers(0, 5)) == 0:
        return f"{code}:missing", draw(st.sampled_from(["true", "false"]))
    if kind == "token":
        text = draw(
            st.sampled_from(
                ["a", "b,c", "http://a|a", "http://b|", "|a", "female", "male", f"{GENDER}|male", "current"]
            )
        )
        return f"{code}{draw(st.sampled_from(['', '', ':not']))}", text
    if kind == "string":
        text = draw(st.sampled_from(["north", "No", "South", "sm", "öster", "st", "Liver", "e"]))
        return f"{code}{draw(st.sampled_from(['', ':exact', ':contains']))}", text
    if kind == "date":
        return code, draw(st.sampled_from([*naive.PREFIXES[:6], ""])) + draw(st.sampled_from(DATES))
    target = draw(st.sampled_from(targets))
    id = f"n{draw(st.integers(0, 3))}"
    return draw(st.sampled_from([(code, id), (code, f"{target}/{id}"), (f"{code}:{target}", id)]))


@st.composite
def include(draw: st.DrawFn, type: str) -> tuple[str, str]:
    """An _include or _revinclude; mostly one that has to do with that type."""
    name = draw(st.sampled_from(["_include", "_revinclude"]))
    source = draw(st.sampled_from([type, *TYPES])) if name == "_include" else draw(st.sampled_from(TYPES))
    known = [(code, to) for code, (kind, _, to) in PARAMETERS[source].items() if kind == "reference"]
    modifier = draw(st.sampled_from(["", ":iterate", ":recurse"]))
    if not known or draw(st.integers(0, 6)) == 0:
        return f"{name}{modifier}", "*"
    if draw(st.integers(0, 3)) == 0:
        return f"{name}{modifier}", f"{source}:*{draw(st.sampled_from(['', ':Patient', ':Organization']))}"
    code, targets = draw(st.sampled_from(known))
    target = draw(st.sampled_from(["", "", *(f":{each}" for each in targets)]))
    return f"{name}{modifier}", f"{source}:{code}{target}"
