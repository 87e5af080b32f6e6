"""The reference: a Flask application that answers the same 1.6 kB of JSON to every request."""

from __future__ import annotations

from flask import Flask, Response

app = Flask("bare")
_BODY = b'{"resourceType":"Patient","text":"' + b"x" * 1_560 + b'"}'


@app.get("/fhir/<type>/<id>")
def read(type: str, id: str) -> Response:
    return Response(_BODY, content_type="application/fhir+json")
