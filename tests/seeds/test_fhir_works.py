"""FHIR Works on AWS' walk: POST metadata, PUT by presignedPutUrl, GET, the same bytes."""

from __future__ import annotations

import os

import requests

from tests.client import Client
from tests.services.server import StartServer


def test_the_walk(start_server: StartServer) -> None:
    """With the plain properties on, a client of FHIR Works needs no change."""
    fhir = Client(start_server(plain_url_properties="true").base, Accept="application/json")
    image = os.urandom(3000)

    posted = fhir("POST", "Binary", json={"resourceType": "Binary", "contentType": "image/jpeg"})
    put = requests.put(posted.json()["presignedPutUrl"], data=image, timeout=60)
    got = fhir.get(f"Binary/{posted.json()['id']}").json()
    version = fhir.get(f"Binary/{posted.json()['id']}/_history/1").json()

    assert (201, 200) == (posted.status_code, put.status_code)
    assert image == requests.get(got["presignedGetUrl"], timeout=60).content
    assert image == requests.get(version["presignedGetUrl"], timeout=60).content
    assert 204 == fhir("DELETE", f"Binary/{posted.json()['id']}").status_code
    assert 410 == fhir.get(f"Binary/{posted.json()['id']}").status_code
