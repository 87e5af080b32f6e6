"""FHIR as XML over HTTP, in and out: https://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

import pytest
from lxml import etree

from tests.client import Client, diagnostics
from tests.services.server import Server, StartServer

XML = {"Content-Type": "application/fhir+xml"}
PATIENT = '<Patient xmlns="http://hl7.org/fhir"><active value="true"/><name><family value="Ünal"/></name></Patient>'
F = {"f": "http://hl7.org/fhir"}


@pytest.fixture(scope="module")
def fhir(server: Server) -> Client:
    return Client(server.base)


def values(text: bytes, path: str) -> list[str]:
    return [str(each) for each in etree.fromstring(text).xpath(f"{path}/@value", namespaces=F)]


def test_in_and_out(fhir: Client) -> None:
    """What came as XML is read as JSON, and the other way."""
    made = fhir("POST", "Patient", data=PATIENT.encode(), headers={**XML, "Accept": "application/fhir+xml"})
    id = values(made.content, "f:id")[0]
    read = fhir.get(f"Patient/{id}", Accept="application/xml")

    assert (201, "application/fhir+xml; charset=utf-8") == (made.status_code, made.headers["Content-Type"])
    assert [{"family": "Ünal"}] == fhir.fhir(f"Patient/{id}")["name"]
    assert ("application/xml; charset=utf-8", ["Ünal"]) == (
        read.headers["Content-Type"],
        values(read.content, "f:name/f:family"),
    )
    assert len(read.content) == int(fhir("HEAD", f"Patient/{id}?_format=xml").headers["Content-Length"])


def test_bundles(fhir: Client) -> None:
    """Searchsets and histories are answered as XML, and a transaction is taken as XML."""
    made = fhir.create({"resourceType": "Patient", "name": [{"family": "Xmlsearch"}]})
    found = fhir.get("Patient?family=Xmlsearch&_format=xml&_pretty=true")
    history = fhir.get(f"Patient/{made['id']}/_history?_format=application/fhir+xml")
    bundle = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource>'
        f"{PATIENT}</resource><request><method value='POST'/><url value='Patient'/></request></entry></Bundle>"
    )
    batch = fhir("POST", "", data=bundle.encode(), headers={**XML, "Accept": "application/fhir+xml"})

    assert ([made["id"]], ["history"]) == (
        values(found.content, "f:entry/f:resource/f:Patient/f:id"),
        values(history.content, "f:type"),
    )
    assert ["201 Created"] == [each[:11] for each in values(batch.content, "f:entry/f:response/f:status")]


def test_errors(fhir: Client) -> None:
    """An error is answered in the form that was asked for; what is not FHIR is refused by sentence."""
    unknown = fhir.get("Patient/none?_format=xml")
    strange = fhir("POST", "Patient", data=PATIENT.replace("active", "actve").encode(), headers=XML)
    bomb = fhir("POST", "Patient", data=b'<!DOCTYPE a [<!ENTITY b "c">]><Patient/>', headers=XML)
    wrong = fhir("POST", "Patient", data=PATIENT.replace("true", "maybe").encode(), headers=XML)

    assert (404, ["error"]) == (unknown.status_code, values(unknown.content, "f:issue/f:severity"))
    assert (400, True) == (strange.status_code, "the element 'actve' is unknown here" in strange.text)
    assert (400, True) == (bomb.status_code, "document type" in bomb.text)
    assert (422, True) == (wrong.status_code, "Patient.active" in wrong.text)


def test_binary(fhir: Client) -> None:
    """A Binary in XML is a resource; other XML is its bytes; and it is answered in XML with its presigned URL."""
    resource = '<Binary xmlns="http://hl7.org/fhir"><contentType value="text/plain"/><data value="aGk="/></Binary>'
    made = fhir("POST", "Binary", data=resource.encode(), headers=XML)
    raw = fhir("POST", "Binary", data=b"<note>hi</note>", headers={"Content-Type": "application/xml"})
    offered = fhir("POST", "Binary?_format=xml", json={"resourceType": "Binary", "contentType": "text/plain"})

    url = "f:data/f:extension[@url='https://fhir-blob.org/StructureDefinition/presignedPutUrl']/f:valueUrl"
    assert b"hi" == fhir.get(f"Binary/{made.json()['id']}", Accept="text/plain").content
    assert b"<note>hi</note>" == fhir.get(f"Binary/{raw.json()['id']}", Accept="application/xml").content
    assert values(offered.content, url)[0].startswith("http")


def test_pretty(fhir: Client) -> None:
    """_pretty breaks the lines of XML too."""
    made = fhir.create({"resourceType": "Patient", "active": True})
    read = fhir.get(f"Patient/{made['id']}?_format=xml&_pretty=true")

    assert b'\n  <active value="true"/>\n</Patient>' == read.content[-36:]


def test_capabilities(fhir: Client) -> None:
    """The CapabilityStatement says that XML is taken, also in XML."""
    statement = fhir.get("metadata?_format=xml")

    assert ["json", "application/fhir+json", "xml", "application/fhir+xml"] == values(statement.content, "f:format")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/fhir+xml;q=0.9, application/fhir+json", "application/fhir+json"),
        ("application/fhir+xml, application/fhir+json;q=0.9", "application/fhir+xml"),
        ("application/fhir+xml, application/fhir+json", "application/fhir+json"),
        ("text/xml", "text/xml"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/xml"),
        ("*/*", "application/fhir+json"),
    ],
)
def test_accept(fhir: Client, accept: str, content_type: str) -> None:
    """What is liked better is answered; JSON where both are liked the same."""
    answered = fhir.get("Patient?_count=1", Accept=accept)
    refused = fhir.get("Patient/none", Accept=accept)

    assert [f"{content_type}; charset=utf-8"] * 2 == [each.headers["Content-Type"] for each in (answered, refused)]


def test_hidden_document_type(fhir: Client) -> None:
    """An encoding in which a document type does not look like one is refused."""
    bomb = (
        '<?xml version="1.0" encoding="UTF-7"?>+ADw-!DOCTYPE a [<!ENTITY b "c">]><Patient xmlns="http://hl7.org/fhir"/>'
    )
    refused = fhir("POST", "Patient", data=bomb.encode(), headers=XML)

    assert (400, ["The encoding is 'UTF-7': FHIR is written in UTF-8."]) == (refused.status_code, diagnostics(refused))


def test_characters_that_xml_cannot_hold(fhir: Client) -> None:
    """They are told as U+FFFD, in what is stored as in what is refused."""
    stored = fhir.create({"resourceType": "Patient", "name": [{"text": "a\ufffeb"}]})
    read = fhir.get(f"Patient/{stored['id']}?_format=xml")
    refused = fhir.get("Patient?_format=xml&_summary=%01")

    assert ["a\ufffdb"] == values(read.content, "f:name/f:text")
    assert (400, True) == (refused.status_code, bool(values(refused.content, "f:issue/f:diagnostics")))


def test_as_deep_as_allowed(fhir: Client) -> None:
    """The deepest resource that is taken is answered in every form, alone and in a Bundle."""
    extensions = "<extension url='urn:a'>" * 31 + "<valueCode value='b'/>" + "</extension>" * 31
    patient = f'<Patient xmlns="http://hl7.org/fhir">{extensions}<name><family value="Deep"/></name></Patient>'
    made = fhir("POST", "Patient", data=patient.encode(), headers=XML)
    paths = (f"Patient/{made.json()['id']}", "Patient?family=Deep", f"Patient/{made.json()['id']}/_history")
    forms = ("_format=json", "_format=xml", "_pretty=true", "_format=xml&_pretty=true")
    answers = [fhir.get(f"{path}{'&' if '?' in path else '?'}{form}") for path in paths for form in forms]

    assert 201 == made.status_code
    assert [200] * 12 == [each.status_code for each in answers]
    assert [31] * 12 == [each.text.count("urn:a") for each in answers]


def test_narrative_is_kept(fhir: Client) -> None:
    """A narrative is the same in JSON and XML, to the letter."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><!-- a --><p>b&#160;<br />c</p></div>'
    text = f'<Patient xmlns="http://hl7.org/fhir"><text><status value="generated"/>{div}</text></Patient>'
    id = fhir("POST", "Patient", data=text.encode(), headers=XML).json()["id"]

    assert div == fhir.fhir(f"Patient/{id}")["text"]["div"]
    assert div in fhir.get(f"Patient/{id}?_format=xml").text


def test_binary_that_only_looks_like_one(fhir: Client) -> None:
    """Other FHIR as XML is bytes, as is a document type; what says that it is FHIR and cannot be read is refused."""
    patient = fhir("POST", "Binary", data=PATIENT.encode(), headers=XML)
    broken = fhir("POST", "Binary", data=b"<Binary", headers=XML)
    typed = b"<!DOCTYPE a><a/>"
    raw = fhir("POST", "Binary", data=typed, headers={"Content-Type": "text/xml"})

    assert PATIENT.encode() == fhir.get(f"Binary/{patient.json()['id']}").content
    assert 400 == broken.status_code
    assert typed == fhir.get(f"Binary/{raw.json()['id']}", Accept="text/xml").content


def test_what_xml_cannot_be(fhir: Client) -> None:
    """Other types are still refused, both ways."""
    asked = fhir.get("Patient", Accept="text/html")
    sent = fhir("POST", "Patient", data=b"a,b", headers={"Content-Type": "text/csv"})

    assert (406, 415) == (asked.status_code, sent.status_code)


def test_what_has_no_form_in_xml(start_server: StartServer) -> None:
    """An element that lenient validation let in is left out of XML, and a Warning names it, cut down to letters."""
    fhir = Client(start_server(validation="lenient").base)
    made = fhir.create({"resourceType": "Patient", "active": True, "_name": [{"id": "a"}], 'co"l\r\nour': "red"})
    read = fhir.get(f"Patient/{made['id']}?_format=xml")
    found = fhir.get(f"Patient?_id={made['id']}&_format=xml")

    told = '199 - "Left out, having no form in XML: '
    assert (200, ["true"]) == (read.status_code, values(read.content, "f:active"))
    assert f'{told}Patient._name, Patient.co?l??our"' == read.headers["Warning"]
    assert f'{told}Bundle.entry.resource._name, Bundle.entry.resource.co?l??our"' == found.headers["Warning"]
    assert "red" == fhir.fhir(f"Patient/{made['id']}")['co"l\r\nour']
