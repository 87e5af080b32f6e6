"""Resources that hypothesis makes of the definitions survive XML; what XML cannot hold is left out and told."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_blob.fhir import codec, xml
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.elements import Field, fields
from fhir_blob.fhir.primitives import CHECKS

NS = 'xmlns="http://hl7.org/fhir"'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
TYPES = sorted(set(definitions().types) - {"Bundle", "Parameters"})
TEXTS = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\ufffe\uffff").filter(
        lambda each: each >= " " or each in "\t\n\r"
    ),
    min_size=1,
    max_size=12,
)
Draw = Callable[[st.SearchStrategy[Any]], Any]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "positiveInt": st.integers(1, 2**31 - 1),
    "unsignedInt": st.integers(0, 2**31 - 1),
    "xhtml": TEXTS.map(lambda text: f"{DIV}<p title='>'/>{text.translate(str.maketrans('&<>]', '    '))}</div>"),
}


@st.composite
def resources(draw: Draw) -> dict[str, Any]:
    """A resource of the right shape: each element of its type, its values arbitrary ones of theirs."""
    type = draw(st.sampled_from(TYPES))
    return {"resourceType": type, **made(draw, type, 3)}


def made(draw: Draw, type: str, depth: int) -> dict[str, Any]:
    """An element with one child at least; each choice has one type."""
    known = [(name, field) for name, field in fields(type).items() if depth or field.type in CHECKS]
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique_by=lambda each: each[1].stem))
    found: dict[str, Any] = {}
    for name, field in chosen:
        found |= one(draw, type, name, field, depth)
    return found


def one(draw: Draw, type: str, name: str, field: Field, depth: int) -> dict[str, Any]:
    is_primitive = field.type in CHECKS and field.type != "xhtml"
    count = draw(st.integers(1, 3)) if field.is_list else 1
    values = [content(draw, field, depth) for _ in range(count)]
    if not is_primitive or name == "url" or (name == "id" and type not in definitions().types):
        return {name: values if field.is_list else values[0]}
    besides = [draw(st.none() | st.just("x")) and made(draw, "Element", min(depth, 1)) for _ in values]
    kept = [None if beside and draw(st.booleans()) else each for each, beside in zip(values, besides, strict=True)]
    pairs = {name: kept, f"_{name}": besides}
    given = {key: each for key, each in pairs.items() if any(one is not None for one in each)}
    return given if field.is_list else {key: each[0] for key, each in given.items()}


def content(draw: Draw, field: Field, depth: int) -> Any:
    if field.type == "Resource":
        return {"resourceType": "Basic", **made(draw, "Basic", 0)}
    if field.type in CHECKS:
        return draw(VALUES.get(field.type, TEXTS))
    return made(draw, field.type, max(depth - 1, 0))


def exact(value: Any) -> Any:
    """The value with its decimals as texts, so that 1.0 is not 1.00."""
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return f"#{value}" if isinstance(value, Decimal) else value


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(resources(), st.booleans())
def test_round_trip(resource: dict[str, Any], pretty: bool) -> None:
    """JSON, XML and JSON again are equal, in any characters and digits, with whatever stands beside a primitive."""
    stored = codec.parse(codec.dump(resource))
    written = xml.write(stored, pretty=pretty)

    assert (exact(stored), ()) == (exact(xml.parse(written.text)), written.left_out)


@pytest.mark.parametrize(
    ("members", "written", "left_out"),
    [
        ({"colour": "red", "active": True}, '<active value="true"/>', ("Patient.colour",)),
        ({"_name": [{"id": "x"}], "active": True}, '<active value="true"/>', ("Patient._name",)),
        ({"name": [{"shade": {"a": 1}}]}, "", ("Patient.name.shade",)),
        ({"name": [{"shade": 1}, {"text": "a"}]}, '<name><text value="a"/></name>', ("Patient.name.shade",)),
        ({"_birthDate": {"id": "x", "foo": 1}}, '<birthDate id="x"/>', ("Patient.birthDate.foo",)),
        ({"name": [{"resourceType": "x", "text": "a"}]}, '<name><text value="a"/></name>', ("Patient.name.resourceType",)),
        ({"name": [{"id": "i", "_id": {"id": "x"}}]}, '<name id="i"/>', ("Patient.name._id",)),
        ({"extension": [{"url": "u", "_url": {"id": "x"}, "valueCode": "c"}]}, '<extension url="u"><valueCode value="c"/></extension>', ("Patient.extension._url",)),
        ({"text": {"div": f"{DIV}a</div>", "_div": {"id": "x"}}}, f"<text>{DIV}a</div></text>", ("Patient.text._div",)),
        ({"contained": [{"resourceType": "Basic", "x": 1}]}, "<contained><Basic/></contained>", ("Patient.contained.x",)),
        ({f"a{number}": 1 for number in range(20)}, "", tuple(f"Patient.a{number}" for number in range(10))),
    ],
)  # fmt: skip
def test_left_out(members: dict[str, Any], written: str, left_out: tuple[str, ...]) -> None:
    """Lenient validation lets in what has no form in XML: it is left out with what is empty then, and named."""
    done = xml.write({"resourceType": "Patient", "gender": "male", **members})

    body = done.text.decode().removeprefix(f'<?xml version="1.0" encoding="UTF-8"?><Patient {NS}>')
    assert (written, left_out) == (body.replace('<gender value="male"/>', "").removesuffix("</Patient>"), done.left_out)
