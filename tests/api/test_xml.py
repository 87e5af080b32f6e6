"""FHIR as XML over HTTP, in and out: https://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

import pytest
from lxml import etree

from tests.client import Client
from tests.services.server import Server

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


def test_what_xml_cannot_be(fhir: Client) -> None:
    """Other types are still refused, both ways."""
    asked = fhir.get("Patient", Accept="text/html")
    sent = fhir("POST", "Patient", data=b"a,b", headers={"Content-Type": "text/csv"})

    assert (406, 415) == (asked.status_code, sent.status_code)
