"""The routes of the operations that take a Parameters resource."""

from __future__ import annotations

from typing import Any

from fhir_blob.api import requests
from fhir_blob.api.binary import Route
from fhir_blob.api.requests import Request
from fhir_blob.interactions import Answer, Context
from fhir_blob.operations.erase import erase
from fhir_blob.operations.expunge import expunge
from fhir_blob.operations.parameters import Parameters, parameters

# Parameters of every request: https://hl7.org/fhir/R4/http.html#parameters
_GENERAL = {"_format", "_pretty", "_summary", "_elements", "_attachments"}


def _given(request: Request, context: Context) -> Parameters:
    """Of the body, where there is one, and of the query."""
    query = [(name, value) for name, value in request.query if name not in _GENERAL]
    return parameters(_document(request, context), query)


def _document(request: Request, context: Context) -> Any:
    if request.method != "POST" or (not request.length and not request.content_type):
        return None
    if request.length == 0:
        return None
    return requests.fhir_body(request, context.services)


def _expunge(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return expunge(context, at["type"], at["id"], _given(request, context))


def _erase(request: Request, context: Context, at: dict[str, str]) -> Answer:
    _given(request, context).only()
    return erase(context, at["id"])


ROUTES: tuple[Route, ...] = (
    ("/<type>/<id>/$expunge", {"POST": ("$expunge", _expunge)}),
    ("/Patient/<id>/$erase", {"POST": ("$erase", _erase)}),
)
