"""A small FHIR client for tests: requests with the base URL, and what the extensions say."""

from __future__ import annotations

from typing import Any

import requests

CANONICAL = "https://fhir-blob.org/StructureDefinition/"


class Client:
    def __init__(self, base: str, **headers: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.headers.update(headers)

    def __call__(self, method: str, path: str, **given: Any) -> requests.Response:
        return self.session.request(method, f"{self.base}/{path}", timeout=60, **given)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self("GET", path, headers=headers)

    def fhir(self, path: str) -> dict[str, Any]:
        """A resource as FHIR JSON."""
        found = self.get(path, Accept="application/fhir+json")
        assert 200 == found.status_code, found.text
        return dict(found.json())

    def create(self, resource: dict[str, Any], **headers: str) -> dict[str, Any]:
        made = self("POST", resource["resourceType"], json=resource, headers=headers)
        assert 201 == made.status_code, made.text
        return dict(made.json())

    def update(self, resource: dict[str, Any], **headers: str) -> dict[str, Any]:
        path = f"{resource['resourceType']}/{resource['id']}"
        done = self("PUT", path, json=resource, headers=headers)
        assert done.status_code in (200, 201), done.text
        return dict(done.json())

    def uploaded(self, content: bytes, content_type: str = "application/pdf") -> str:
        """The id of a Binary whose bytes went by its PUT URL and were completed."""
        binary = self.create({"resourceType": "Binary", "contentType": content_type})
        assert 200 == requests.put(extension(binary["_data"], "presignedPutUrl"), data=content, timeout=60).status_code
        assert 200 == self("POST", f"Binary/{binary['id']}/$complete").status_code
        return str(binary["id"])


def extension(element: dict[str, Any], name: str) -> Any:
    """The value of one of our extensions; None where it is not there."""
    found = [each for each in element.get("extension", ()) if each["url"] == CANONICAL + name]
    return next((value for each in found for key, value in each.items() if key != "url"), None)


def diagnostics(response: requests.Response) -> list[str]:
    """The sentences of an OperationOutcome."""
    outcome = response.json()
    assert "OperationOutcome" == outcome["resourceType"]
    return [issue["diagnostics"] for issue in outcome["issue"]]
