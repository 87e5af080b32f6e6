"""XML as an attacker sends it: each is refused or read right, in bounded time and memory."""
# ruff: noqa: E501 - a case of a table is one line

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from fhir_blob.errors import NotParseable
from fhir_blob.fhir import xml

NS = 'xmlns="http://hl7.org/fhir"'
XHTML = "http://www.w3.org/1999/xhtml"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
NOT_XML = "The body is not XML in UTF-8: "
ACTIVE = '<active value="true"/>'
MB = 1_000_000


def patient(inside: str) -> bytes:
    return f"<Patient {NS}>{inside}</Patient>".encode()


def value(text: bytes) -> bytes:
    return patient('<language value="#"/>').replace(b"#", text)


def refused(text: bytes) -> str:
    with pytest.raises(NotParseable) as caught:
        xml.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"<Patient {NS}>{ACTIVE}</Patient><?a b?><!-- c -->\n".encode(),
        b"<?xml-stylesheet href='http://127.0.0.1:9/'?>" + patient(ACTIVE),
        b"\xef\xbb\xbf" + patient(ACTIVE),
        b'<?xml version="1.0" encoding="UTF8" standalone="no"?>' + patient(ACTIVE),
        patient(f"<![CDATA[ \n]]>{ACTIVE}<!-- <active/> -->"),
        patient('<active\n\tvalue\n=\n"true"\n></active >'),
        patient(f'<active {XSI} xsi:nil="true" value="true"/>'),
        patient('<f:active xmlns:f="http://hl7.org/fhir" value="&#116;rue"/>'),
    ],
)
def test_means_nothing(text: bytes) -> None:
    """Comments, processing instructions, blank CDATA, XSI and the manner of writing change nothing."""
    assert {"resourceType": "Patient", "active": True} == xml.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (patient(f"<![CDATA[{ACTIVE}]]>"), "Patient: text stands between the elements."),
        (patient("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='file:///etc/passwd'/>"), "Patient: the element 'include' is unknown here."),
        (f'<Patient {NS} xml:base="http://127.0.0.1:9/"/>'.encode(), "Patient: the attribute 'base' is unknown here."),
        (patient('<active xml:lang="en" value="true"/>'), "Patient.active: the attribute 'lang' is unknown here."),
        (patient('<active xmlns:f="http://hl7.org/fhir" f:value="true"/>'), "Patient.active: the attribute 'value' is unknown here."),
        (patient(ACTIVE) * 2, NOT_XML + "junk after document element at line 1, column 70."),
        (b" <?xml version='1.0'?>" + patient(ACTIVE), NOT_XML + "XML or text declaration not at start of entity at line 1, column 2."),
        (patient('<active value="true" value="false"/>'), NOT_XML + "duplicate attribute at line 1, column 59."),
        (b"<f:Patient/>", NOT_XML + "unbound prefix at line 1, column 1."),
        (f"<Patient {NS} xmlns:a=''/>".encode(), NOT_XML + "must not undeclare prefix at line 1, column 1."),
        (value(b"&xxe;"), NOT_XML + "undefined entity at line 1, column 38."),
        (value(b"&#0;"), NOT_XML + "reference to invalid character number at line 1, column 55."),
        (value(b"&#xD800;"), NOT_XML + "reference to invalid character number at line 1, column 55."),
        (value(b"&#99999999999999999999;"), NOT_XML + "reference to invalid character number at line 1, column 55."),
        (value(b"\xc0\xbc"), NOT_XML + "not well-formed (invalid token) at line 1, column 55."),
        (value(b"\xed\xa0\xbd\xed\xb8\x80"), NOT_XML + "not well-formed (invalid token) at line 1, column 55."),
        (b"<?xml version='1.0' encoding='UTF-16'?>" + patient(ACTIVE), "The encoding is 'UTF-16': FHIR is written in UTF-8."),
    ],
)  # fmt: skip
def test_refused(text: bytes, sentence: str) -> None:
    """What would read a file, stand twice, or pass for another character is refused."""
    assert sentence == refused(text)


@pytest.mark.parametrize(
    ("div", "read"),
    [
        ("<h:div/>", f'<div xmlns="{XHTML}"></div>'),
        (f'<div xmlns="{XHTML}" title="a>b"/>', f'<div xmlns="{XHTML}" title="a>b"/>'),
        ('<h:div title="a>b"/>', f'<div xmlns="{XHTML}" title="a&gt;b"></div>'),
        (f'<div xmlns="{XHTML}" title="a" >b="c"/></div>', f'<div xmlns="{XHTML}" title="a" >b="c"/></div>'),
        (f'<div xmlns="{XHTML}">/></div>', f'<div xmlns="{XHTML}">/></div>'),
        (f'<div xmlns="{XHTML}"><!-- </div> --><br/></div\n>', f'<div xmlns="{XHTML}"><!-- </div> --><br/></div\n>'),
        ('<h:div><h:b h:class="x" class="y" xml:lang="z"/></h:div>', f'<div xmlns="{XHTML}"><b class="y" xml:lang="z"></b></div>'),
    ],
)  # fmt: skip
def test_where_a_narrative_ends(div: str, read: str) -> None:
    """A narrative is cut out of the text where it ends, whatever looks like an end; no attribute comes twice."""
    text = f'<Patient {NS} xmlns:h="{XHTML}"><text><status value="generated"/>{div}</text>{ACTIVE}</Patient>'

    assert read == xml.parse(text.encode())["text"]["div"]


TEXT = f'<Bundle {NS} xmlns:h="{XHTML}"'
ENTRY = (
    '<entry><resource><Patient><text><status value="generated"/><h:div>a</h:div></text></Patient></resource></entry>'
)
FEW = "More than 100 namespaces are declared at once."


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: f"<Patient {NS} " + " ".join(f'xmlns:a{number}="u"' for number in range(100_000)) + "/>", FEW),
        (lambda: TEXT + " ".join(f' xmlns:a{number}="u"' for number in range(20_000)) + f">{ENTRY * 1000}</Bundle>", FEW),
        (lambda: f"<Patient {NS} " + " ".join(f'a{number}=""' for number in range(200_000)) + "/>", "Patient: the attribute 'a0' is unknown here."),
        (lambda: f"<Patient {NS}><!--{'a' * 5 * MB}", NOT_XML + "unclosed token at line 1, column 38."),
        (lambda: f"<Patient {NS}>{'<![CDATA[ ]]>' * 300_000}x</Patient>", "Patient: text stands between the elements."),
        (lambda: f"<{'a' * 5 * MB} {NS}/>", f"'{'a' * 80}' is no resource type of FHIR R4."),
        (lambda: f"<Patient {NS}><text><div xmlns='{XHTML}'>{'<b>' * MB}", "Patient.text: the narrative is nested deeper than 256 levels."),
        (lambda: f"<Patient {NS}>{'<extension url=%su%s>' * MB}" % (("'",) * 2 * MB), "The body is nested deeper than 64 levels."),
    ],
    ids=["namespaces", "namespaces-of-narratives", "attributes", "comment", "cdata", "name", "deep-narrative", "deep"],
)  # fmt: skip
def test_floods(made: Callable[[], str], sentence: str) -> None:
    """Some MB of one thing are refused at about the speed at which they are read."""
    body = made().encode()
    began = time.process_time()

    assert sentence == refused(body)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "made",
    [
        lambda: value(b"A" * 20 * MB),
        lambda: value(b"&#65;" * 4 * MB),
        lambda: patient("<!---->" * 2 * MB + '<language value="a"/>'),
        lambda: patient(f"{' ' * 20 * MB}<language value='a'/>"),
        lambda: patient(f"<?a {'b' * 20 * MB}?><language value='a'/>"),
    ],
    ids=["value", "references", "comments", "blanks", "instruction"],
)
def test_largest(made: Callable[[], bytes]) -> None:
    """20 MB of one thing, the largest body by default, take some tenths of a second and little more memory than they are."""
    text = made()
    tracemalloc.start()
    began = time.process_time()

    read = xml.parse(text)

    taken, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {"A", "a"} >= set(read["language"][:3])
    assert (True, True) == (taken < 4, peak < 100 * MB)


def test_a_flood_within_the_bounds() -> None:
    """A hundred declared namespaces cost a thousand narratives little: only those that one names are looked at."""
    declared = " ".join(f'xmlns:a{number}="u"' for number in range(98))
    text = f'{TEXT} {declared}><type value="collection"/>{ENTRY * 1000}</Bundle>'.encode()
    began = time.process_time()

    read = xml.parse(text)

    assert 1000 == len(read["entry"])
    assert time.process_time() - began < 2
