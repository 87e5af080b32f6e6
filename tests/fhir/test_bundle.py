"""What the entries of a transaction call each other."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_blob.fhir import bundle
from fhir_blob.fhir.bundle import Names

OLD = "https://old.example/fhir/"
NAMES = Names({f"{OLD}Patient/1": "Patient/new", "urn:uuid:a": "Binary/b"}, {"Patient?x=y": "Patient/found"})


def renamed(resource: dict[str, Any], base: str = OLD) -> dict[str, Any]:
    for mention in bundle.mentions(resource, NAMES.full_urls, base):
        NAMES.apply(mention, base)
    return resource


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (f"{OLD}Patient/1", "Patient/new"),
        ("Patient/1", "Patient/new"),
        ("Patient/1#part", "Patient/new#part"),
        ("Patient?x=y", "Patient/found"),
        (f"{OLD}Patient/1/_history/2", f"{OLD}Patient/1/_history/2"),
        ("Patient/2", "Patient/2"),
        ("#Patient/1", "#Patient/1"),
    ],
)
def test_a_reference_gets_the_name_of_its_entry(text: str, meaning: str) -> None:
    """Absolute, or relative to the entry's own base; what names a version, or none of them, stays."""
    resource = renamed({"resourceType": "Observation", "subject": {"reference": text}})

    assert meaning == resource["subject"]["reference"]


def test_elements_of_uri_types_alone_are_renamed() -> None:
    """Attachment.url, a valueUri beside a primitive and an identifier's system; no string, code or canonical."""
    resource = {
        "resourceType": "DocumentReference",
        "implicitRules": "urn:uuid:a",
        "meta": {"profile": ["urn:uuid:a"]},
        "description": "urn:uuid:a",
        "_description": {"extension": [{"url": "urn:x", "valueUri": "urn:uuid:a"}]},
        "masterIdentifier": {"system": "urn:uuid:a", "value": "urn:uuid:a"},
        "content": [{"attachment": {"url": "urn:uuid:a"}}],
    }

    assert {
        **resource,
        "implicitRules": "Binary/b",
        "_description": {"extension": [{"url": "urn:x", "valueUri": "Binary/b"}]},
        "masterIdentifier": {"system": "Binary/b", "value": "urn:uuid:a"},
        "content": [{"attachment": {"url": "Binary/b"}}],
    } == renamed(resource)


def test_entries_of_a_bundle_within_have_names_of_their_own() -> None:
    """What a document refers to is in the document."""
    inner = {"resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:a"}}}

    assert [] == bundle.mentions({"resourceType": "Bundle", "type": "document", "entry": [inner]}, {"urn:uuid:a"}, "")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Patient?identifier=a|b", ("Patient", "identifier=a|b")),
        (f"{OLD}Patient?identifier=a|b", ("Patient", "identifier=a|b")),
        ("https://else.example/Patient?identifier=a", None),
        ("Nobody?identifier=a", None),
        ("Patient/1", None),
        ("Patient?", None),
    ],
)
def test_conditional_references_are_those_to_this_server(text: str, meaning: tuple[str, str] | None) -> None:
    """A type of R4 and a query."""
    assert meaning == bundle.conditional(text, OLD.rstrip("/"))


@pytest.mark.parametrize(
    ("full_url", "base"),
    [(f"{OLD}Patient/1", OLD), ("urn:uuid:a", ""), ("https://old.example/some/thing", ""), ("Patient/1", ""), ("", "")],
)
def test_the_base_of_an_entry(full_url: str, base: str) -> None:
    """That of a RESTful URL alone."""
    assert base == bundle.base_of(full_url)
