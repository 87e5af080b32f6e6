"""The XML codec: what R4's examples hold survives it to the letter, and what is no FHIR is refused."""

# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import tarfile
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from lxml import etree

from fhir_blob.errors import NotParseable
from fhir_blob.fhir import codec, xml
from fhir_blob.fhir.validation import validate
from tests.fhir.wrong_examples import WRONG
from tests.services import r4_examples

NS = 'xmlns="http://hl7.org/fhir"'
XHTML = "http://www.w3.org/1999/xhtml"
DIV = f'<div xmlns="{XHTML}">'

# Where fhir.resources itself is wrong: it writes the id of a backbone element as an element, or cannot read its own XML.
NOT_AN_ORACLE = {
    "ActivityDefinition": "its XML reader fails on a choice of code",
    "Evidence": "its R4B is another Evidence",
    "Measure": "it writes Measure.group.id as an element",
    "StructureDefinition": "it writes ElementDefinition.id as an element",
    "TestReport": "it writes TestReport.test.id as an element",
    "TestScript": "it writes TestScript.fixture.id as an element",
}


def examples() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(r4_examples()) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            file = archive.extractfile(member) if name.endswith(".json") and "/" not in name else None
            if file is not None and name[0] != "." and name not in ("package.json", *WRONG):
                yield name, file.read()


def exact(value: Any) -> Any:
    """The value with its decimals as text, so that 1.0 is not 1.00."""
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return f"#{value}" if isinstance(value, Decimal) else value


def refused(text: bytes) -> str:
    with pytest.raises(NotParseable) as caught:
        xml.parse(text)
    return str(caught.value)


def narrated(div: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "text": {"status": "generated", "div": div}}


def test_round_trip() -> None:
    """Each example is the same after it was written as XML and read again: every digit, narratives to the letter."""
    count, different = 0, []
    for name, body in examples():
        resource = codec.parse(body)
        count += 1
        if exact(resource) != exact(xml.parse(xml.dump(resource, pretty=count % 10 == 0))):
            different.append(name)

    assert count > 5000
    assert [] == different


def test_agrees_with_fhir_resources() -> None:
    """fhir.resources reads from our XML what it reads from the JSON, and we from its XML what it had."""
    compared, different = set(), []
    for name, body in examples():
        resource = codec.parse(body)
        type = resource["resourceType"]
        if type in compared or type in NOT_AN_ORACLE or "contained" in resource or len(body) > 20_000:
            continue
        model = _model(type)
        if model is not None:
            compared.add(type)
            expected = model.model_validate_json(body)
            theirs = expected.model_dump_xml()
            ours = codec.dump(xml.parse(theirs if isinstance(theirs, bytes) else theirs.encode()))
            if _bare(model.model_validate_xml(xml.dump(resource))) != _bare(expected):
                different.append(f"written: {name}")
            if _bare(model.model_validate_json(ours)) != _bare(expected):
                different.append(f"read: {name}")

    assert len(compared) > 100
    assert [] == different


def _model(type: str) -> Any:
    try:
        return get_fhir_model_class(type)
    except ValueError:  # R4B has not all of R4's types
        return None


def _bare(model: Any) -> Any:
    """Without the narrative, whose text it rewrites."""
    dumped = model.model_dump()
    dumped.get("text", {}).pop("div", None)
    return dumped


def test_what_it_looks_like() -> None:
    """Elements come in the order of the definition, ids and urls of extensions as attributes."""
    patient = {
        "resourceType": "Patient", "birthDate": "1970", "active": True, "id": "a",
        "_birthDate": {"id": "b", "extension": [{"url": "http://x", "valueDecimal": Decimal("1.00")}]},
        "name": [{"id": "n", "given": ["A", None], "_given": [None, {"extension": [{"url": "http://y", "valueCode": "c"}]}]}],
        "contained": [{"resourceType": "Binary", "contentType": "text/plain"}],
    }  # fmt: skip

    assert (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Patient {NS}><id value="a"/><contained><Binary><contentType value="text/plain"/></Binary></contained>'
        '<active value="true"/><name id="n"><given value="A"/><given><extension url="http://y"><valueCode value="c"/>'
        '</extension></given></name><birthDate value="1970" id="b"><extension url="http://x"><valueDecimal value="1.00"/>'
        "</extension></birthDate></Patient>"
    ) == xml.dump(patient).decode()
    assert exact(patient) == exact(xml.parse(xml.dump(patient)))


def test_pretty() -> None:
    """A line for each element; a narrative stays as it is."""
    patient = narrated(f"{DIV}<p>a</p></div>") | {"name": [{"family": "B"}]}

    assert (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Patient {NS}>\n"
        "  <text>\n"
        '    <status value="generated"/>\n'
        f"    {DIV}<p>a</p></div>\n"
        "  </text>\n"
        "  <name>\n"
        '    <family value="B"/>\n'
        "  </name>\n"
        "</Patient>"
    ) == xml.dump(patient, pretty=True).decode()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\tb\r\nc", "a\tb\r\nc"),
        ("<&>\"'", "<&>\"'"),
        ("Ünal 😀 \x7f", "Ünal 😀 \x7f"),
        ("a\x01b\ufffec\uffffd", "a\ufffdb\ufffdc\ufffdd"),
    ],
)
def test_characters(text: str, read: str) -> None:
    """Every character comes back; of those that XML cannot hold it is told that one was there."""
    assert {"resourceType": "Patient", "language": read} == xml.parse(
        xml.dump({"resourceType": "Patient", "language": text})
    )


@pytest.mark.parametrize("digits", ["0.10", "1E+400", "-0.00", "0E-9", "123456789012345678901234567890", "1.000000000000000000000001"])  # fmt: skip
def test_digits(digits: str) -> None:
    """A decimal has the digits that it came with."""
    text = f'<Observation {NS}><valueQuantity><value value="{digits}"/></valueQuantity></Observation>'
    read = xml.parse(text.encode())

    assert digits == str(read["valueQuantity"]["value"])
    assert f'<value value="{digits}"/>' in xml.dump(read).decode()


def test_prefixes_and_comments() -> None:
    """Prefixes, comments and processing instructions mean nothing, and a byte order mark neither."""
    text = (
        '\ufeff<?xml version="1.0"?><!-- a --><f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">'
        '<f:text><f:status value="generated"/><h:div id="d" xml:lang="en">a<h:b>c&lt;</h:b>d</h:div></f:text><?x y?>'
        '<f:active value="true"/></f:Patient>'
    )

    assert {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": f'{DIV[:-1]} id="d" xml:lang="en">a<b>c&lt;</b>d</div>'},
        "active": True,
    } == xml.parse(text.encode())


def test_namespace_of_the_narrative_around_it() -> None:
    """A div that has its namespace from an element around it has it of its own in JSON."""
    text = f'<f:Patient xmlns="{XHTML}" xmlns:f="http://hl7.org/fhir"><f:text><f:status value="empty"/><div>a<br/></div></f:text></f:Patient>'

    assert f"{DIV}a<br></br></div>" == xml.parse(text.encode())["text"]["div"]


def test_order() -> None:
    """Elements in another order than that of the definition are taken: Postel."""
    text = f'<Patient {NS}><gender value="male"/><name><family value="a"/></name><active value="true"/><name><family value="b"/></name></Patient>'

    assert {
        "resourceType": "Patient",
        "gender": "male",
        "name": [{"family": "a"}, {"family": "b"}],
        "active": True,
    } == xml.parse(text.encode())


@pytest.mark.parametrize(
    ("div", "written"),
    [
        (f"{DIV}a<!-- b -->&#160;<br />\r\n</div>", f"{DIV}a<!-- b -->&#160;<br />\r\n</div>"),
        (f'{DIV}<p xmlns:x="urn:x">a</p></div> ', f'{DIV}<p xmlns:x="urn:x">a</p></div>'),
        (f"<?xml version='1.0' encoding='UTF-16'?> <!-- a -->{DIV}b</div>", f"{DIV}b</div>"),
        ("<div>a</div>", f"{DIV}a</div>"),
        ('<div class="b">a&nbsp;&copy;&amp;</div>', f'{DIV[:-1]} class="b">a&#160;&#169;&amp;</div>'),
        (f"{DIV}a<b>c</div>", f"{DIV}ac</div>"),
        (f"{DIV}a</div><p>b & c &strange;</p>", f"{DIV}ab &amp; c &amp;strange;</div>"),
        (f"{DIV}a<q:b>c</q:b></div>", f"{DIV}ac</div>"),
        (f"{DIV}a\x01</div>", f"{DIV}a</div>"),
        ("<div ", f"{DIV}&lt;div</div>"),
    ],
)
def test_narratives_of_json(div: str, written: str) -> None:
    """What is XML stands as it is; what is not is mended, or its words are kept."""
    text = xml.dump(narrated(div)).decode()

    assert written in text
    assert narrated(written) == xml.parse(text.encode())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"<Patient {NS}>", "The body is not XML in UTF-8: no element found at line 1, column 38."),
        ("", "The body is not XML in UTF-8: no element found at line 1, column 1."),
        (f"<Patient {NS}>\n&nbsp;</Patient>", "The body is not XML in UTF-8: undefined entity at line 2, column 1."),
        (f"<Nothing {NS}/>", "'Nothing' is no resource type of FHIR R4."),
        ("<Patient/>", "The root element 'Patient' is not of the namespace http://hl7.org/fhir."),
        ("<Patient xmlns='urn:a'/>", "The root element 'Patient' is not of the namespace http://hl7.org/fhir."),
        (f"<Patient {NS}><colour value='red'/></Patient>", "Patient: the element 'colour' is unknown here."),
        (f"<Patient {NS}><active xmlns='urn:a' value='true'/></Patient>", "Patient: the element 'active' is unknown here."),
        (f"<Patient {NS}><name><value value='a'/></name></Patient>", "Patient.name: the element 'value' is unknown here."),
        (f"<Patient {NS}><birthDate value='1970'><b/></birthDate></Patient>", "Patient.birthDate: the element 'b' is unknown here."),
        (f"<Patient {NS} id='a'/>", "Patient: the attribute 'id' is unknown here."),
        (f"<Patient {NS}><active value='true' x='1'/></Patient>", "Patient.active: the attribute 'x' is unknown here."),
        (f"<Patient {NS}><name value='a'/></Patient>", "Patient.name: the attribute 'value' is unknown here."),
        (f"<Patient {NS}><contained id='a'><Basic/></contained></Patient>", "Patient.contained: the attribute 'id' is unknown here."),
        (f"<Patient {NS}><birthDate value=''/></Patient>", "Patient.birthDate: the value is empty."),
        (f"<Patient {NS}><birthDate/></Patient>", "Patient.birthDate: there is neither a value nor an extension."),
        (f"<Patient {NS}><name><given/></name></Patient>", "Patient.name.given: there is neither a value nor an extension."),
        (f"<Patient {NS}>text</Patient>", "Patient: text stands between the elements."),
        (f"<Patient {NS}><active value='true'>no</active></Patient>", "Patient.active: text stands between the elements."),
        (f"<Patient {NS}><active value='true'/><active value='false'/></Patient>", "Patient: the element 'active' stands twice."),
        (f"<Patient {NS}><active value='true'/><active><extension url='a'/></active></Patient>", "Patient: the element 'active' stands twice."),
        (f"<Patient {NS}><contained/></Patient>", "Patient.contained: one resource is expected here."),
        (f"<Patient {NS}><contained><Basic/><Basic/></contained></Patient>", "Patient.contained: one resource is expected here."),
        (f"<Patient {NS}><contained><Basics/></contained></Patient>", "Patient.contained: 'Basics' is no resource type of FHIR R4."),
        (f"<Patient {NS}><contained><Basic><a/></Basic></contained></Patient>", "Patient.contained: the element 'a' is unknown here."),
        (f"<Patient {NS}><text><div>a</div></text></Patient>", "Patient.text: the element 'div' is unknown here."),
        (f"<Patient {NS}><text>{DIV}a</div>{DIV}b</div></text></Patient>", "Patient.text: the element 'div' stands twice."),
        (f"<Patient {NS}><text>{DIV}<b xmlns='urn:a'/></div></text></Patient>", f"Patient.text: <b> in the narrative is not of the namespace {XHTML}."),
        (f"<Patient {NS}><text>{DIV}{'<b>' * 5000}", "Patient.text: the narrative is nested deeper than 256 levels."),
        (f"<Patient {NS}>{'<extension>' * 5000}", "The body is nested deeper than 64 levels."),
        (f"<Patient {NS}>{'<contained><Patient>' * 5000}", "The body is nested deeper than 64 levels."),
        (f'<?xml version="1.0" encoding="ISO-8859-1"?><Patient {NS}/>', "The encoding is 'ISO-8859-1': FHIR is written in UTF-8."),
    ],
)  # fmt: skip
def test_refused(text: str, sentence: str) -> None:
    """What is no FHIR in XML is refused with a sentence that says where."""
    assert sentence == refused(text.encode())


BOMB = '[<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]'
DOCTYPE = "The body has a document type: FHIR takes none."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"<!DOCTYPE a {BOMB}><Patient {NS}><id value='&c;'/></Patient>".encode(), DOCTYPE),
        (f"<!-- a --><?b?>\n<!DOCTYPE a><Patient {NS}/>".encode(), DOCTYPE),
        (f'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Patient {NS}/>'.encode(), DOCTYPE),
        (f'<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/">%b;]><Patient {NS}/>'.encode(), DOCTYPE),
        (
            f'<?xml version="1.0" encoding="UTF-7"?>+ADw-!DOCTYPE a {BOMB}><Patient {NS}/>'.encode(),
            "The encoding is 'UTF-7': FHIR is written in UTF-8.",
        ),
    ],
)
def test_document_types(text: bytes, sentence: str) -> None:
    """A document type is refused where it begins, so that no entity is ever known, also where another encoding hides it."""
    assert sentence == refused(text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
def test_other_encodings(encoding: str) -> None:
    """FHIR is written in UTF-8."""
    text = f"<Patient {NS}><text>{DIV}ü</div></text></Patient>"

    assert refused(text.encode(encoding)).startswith("The body is not XML in UTF-8: ")


def test_values_of_another_type_are_refused_as_those_of_json() -> None:
    """They stay texts, which the validation of every resource refuses."""
    text = (
        f'<Observation {NS}><status value="final"/><code><text value="a"/></code><effectiveDateTime value=" 1970"/>'
        '<valueQuantity><value value="1e99999999999999999999"/></valueQuantity>'
        '<component><code><text value="b"/></code><valueInteger value="01"/></component>'
        '<component><code><text value="c"/></code><valueBoolean value="1"/></component></Observation>'
    )

    assert [
        "Observation.effective: ' 1970' is no dateTime.",
        "Observation.value.value: '1e99999999999999999999' is no decimal.",
        "Observation.component[0].value: '01' is no integer.",
        "Observation.component[1].value: '1' is no boolean.",
    ] == [issue.diagnostics for issue in validate(xml.parse(text.encode()))]


def test_depth_is_that_of_json() -> None:
    """What XML may hold can be read again as the JSON that is stored of it."""
    texts = [
        f"<Patient {NS}>" + "<extension url='u'>" * count + "</extension>" * count + "</Patient>" for count in range(64)
    ]
    stored = [codec.dump(resource) for text in texts if (resource := _taken(text))]

    assert 33 == len([codec.parse(body) for body in stored])


def _taken(text: str) -> dict[str, Any] | None:
    try:
        return xml.parse(text.encode())
    except NotParseable:
        return None


def test_refusing_costs_little() -> None:
    """Of 20 MB of strange elements the first is enough to refuse them: nothing is built of the others."""
    text = f"<Patient {NS}>".encode() + b"<a/>" * 5_000_000
    tracemalloc.start()

    sentence = refused(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "Patient: the element 'a' is unknown here." == sentence
    assert peak < 5_000_000


def test_large_data() -> None:
    """A Binary with 10 MB of data."""
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "QUFB" * 2_500_000}

    assert binary == xml.parse(xml.dump(binary))


def test_lxml_agrees() -> None:
    """What is written is the same document for another parser."""
    patient = narrated(f"{DIV}a&#160;<b>c</b></div>") | {"language": 'a\tb\r\n"<&>'}
    root = etree.fromstring(xml.dump(patient))

    assert 'a\tb\r\n"<&>' == root.xpath("string(f:language/@value)", namespaces={"f": "http://hl7.org/fhir"})
    assert "a\xa0c" == root.xpath("string(f:text/h:div)", namespaces={"f": "http://hl7.org/fhir", "h": XHTML})
