"""The XML codec: what R4's examples hold survives it, and what is no FHIR is refused."""

# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from fhir_blob.errors import NotParseable
from fhir_blob.fhir import codec, xml
from tests.fhir.wrong_examples import WRONG
from tests.services import r4_examples

NS = 'xmlns="http://hl7.org/fhir"'


def examples() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(r4_examples()) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            file = archive.extractfile(member) if name.endswith(".json") and "/" not in name else None
            if file is not None and name[0] != "." and name not in ("package.json", *WRONG):
                yield name, file.read()


def same(value: Any) -> str:
    """The value as text, whatever the order of its keys: a decimal by its digits, a narrative by its meaning."""
    return json.dumps(canonical(value), sort_keys=True)


def canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: canonical(each) for name, each in value.items()}
    if isinstance(value, list):
        return [canonical(each) for each in value]
    if isinstance(value, str) and value.lstrip().startswith("<div"):
        return etree.canonicalize(value)
    return f"#{value}" if isinstance(value, Decimal) else value


def test_round_trip() -> None:
    """Each example is the same after it was written as XML and read again, every decimal with its digits."""
    different = [
        name for name, body in examples() if same(codec.parse(body)) != same(xml.parse(xml.dump(codec.parse(body))))
    ]

    assert [] == different


def test_what_it_looks_like() -> None:
    """Elements come in the order of the definition, ids and urls of extensions as attributes."""
    patient = {
        "resourceType": "Patient", "birthDate": "1970", "active": True, "id": "a",
        "_birthDate": {"id": "b", "extension": [{"url": "http://x", "valueDecimal": Decimal("1.00")}]},
        "name": [{"id": "n", "given": ["A", None], "_given": [None, {"extension": [{"url": "http://y", "valueCode": "c"}]}]}],
        "contained": [{"resourceType": "Binary", "contentType": "text/plain"}],
    }  # fmt: skip

    assert (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        f'<Patient {NS}><id value="a"/><contained><Binary><contentType value="text/plain"/></Binary></contained>'
        '<active value="true"/><name id="n"><given value="A"/><given><extension url="http://y"><valueCode value="c"/>'
        '</extension></given></name><birthDate value="1970" id="b"><extension url="http://x"><valueDecimal value="1.00"/>'
        "</extension></birthDate></Patient>"
    ) == xml.dump(patient).decode()
    assert same(patient) == same(xml.parse(xml.dump(patient)))


def test_prefixes_and_comments() -> None:
    """Prefixes, comments and processing instructions mean nothing."""
    text = (
        '<?xml version="1.0"?><!-- a --><f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">'
        '<f:text><f:status value="generated"/><h:div>a<h:b>c</h:b>d</h:div></f:text><?x y?>'
        '<f:active value="true"/></f:Patient>'
    )

    assert {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a<b>c</b>d</div>'},
        "active": True,
    } == xml.parse(text.encode())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"<Patient {NS}>", "The body is not XML in UTF-8: line 1, column"),
        (f"<Nothing {NS}/>", "'Nothing' is no resource type of FHIR R4."),
        ("<Patient/>", "The root element 'Patient' is not of the namespace http://hl7.org/fhir."),
        (f"<Patient {NS}><colour value='red'/></Patient>", "Patient: the element 'colour' is unknown here."),
        (f"<Patient {NS} id='a'/>", "Patient: the attribute 'id' is unknown here."),
        (f"<Patient {NS}><active value='true' x='1'/></Patient>", "Patient.active: the attribute 'x' is unknown here."),
        (f"<Patient {NS}>text</Patient>", "Patient: text stands between the elements."),
        (f"<Patient {NS}><active value='true'/><active value='false'/></Patient>", "The element 'active' stands twice"),
        (f"<Patient {NS}><contained/></Patient>", "Patient.contained: one resource is expected here."),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Patient xmlns="http://hl7.org/fhir"/>', "The body has a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><Patient xmlns="http://hl7.org/fhir"/>', "The body has a document type"),
        (f"<Patient {NS}>" + "<extension url='x'>" * 80 + "</extension>" * 80 + "</Patient>", "nested deeper than 64"),
    ],
)  # fmt: skip
def test_refused(text: str, sentence: str) -> None:
    """What is no FHIR in XML is refused with a sentence that says where."""
    with pytest.raises(NotParseable) as caught:
        xml.parse(text.encode())

    assert sentence in str(caught.value)


def test_other_encodings() -> None:
    """FHIR is written in UTF-8, in which a document type cannot hide."""
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><Patient xmlns="http://hl7.org/fhir"/>'

    with pytest.raises(NotParseable):
        xml.parse(text.encode("utf-16"))
