"""The routes of the operations that take a Parameters resource."""

from __future__ import annotations

from typing import Any

from fhir_blob.api import negotiation, requests
from fhir_blob.api.binary import Handler, Route
from fhir_blob.api.requests import Request
from fhir_blob.errors import NotParseable
from fhir_blob.fhir import outcome
from fhir_blob.interactions import Answer, Context, Services
from fhir_blob.operations import meta
from fhir_blob.operations.erase import erase
from fhir_blob.operations.expunge import expunge
from fhir_blob.operations.parameters import Parameters, as_query, parameters
from fhir_blob.operations.validate import asked, validate

# Parameters of every request: https://hl7.org/fhir/R4/http.html#parameters
_GENERAL = {"_format", "_pretty", "_summary", "_elements", "_attachments"}


def _given(request: Request, context: Context) -> Parameters:
    """Of the body, where there is one, and of the query."""
    query = [(name, value) for name, value in request.query if name not in _GENERAL]
    return parameters(_document(request, context), query)


def take(request: Request, services: Services) -> None:
    """What a Parameters resource says is as good as said in the query, for operations that take plain values."""
    if negotiation.is_json(request.content_type) or negotiation.is_xml(request.content_type):
        request.query = [*request.query, *as_query(parameters(_body(request, services)))]
    else:
        requests.take_form(request, services)


def _document(request: Request, context: Context) -> Any:
    return _body(request, context.services) if request.method == "POST" else None


def _body(request: Request, services: Services) -> Any:
    if request.length == 0 or (not request.length and not request.content_type):
        return None
    return requests.fhir_body(request, services)


def _meta(request: Request, context: Context, at: dict[str, str]) -> Answer:
    _given(request, context).only()
    if "id" in at:
        return meta.of_one(context, at["type"], at["id"], at.get("version"))
    return meta.of_all(context, at.get("type"))


def _meta_add(request: Request, context: Context, at: dict[str, str]) -> Answer:
    given, match = _given(request, context), requests.if_match(request)
    return meta.add(context, at["type"], at["id"], given, if_match=match)


def _meta_delete(request: Request, context: Context, at: dict[str, str]) -> Answer:
    given, match = _given(request, context), requests.if_match(request)
    return meta.delete(context, at["type"], at["id"], given, if_match=match)


def _validate(request: Request, context: Context, at: dict[str, str]) -> Answer:
    """The body is the resource itself, or a Parameters resource with it in it."""
    type = at["type"]
    try:
        document = _document(request, context)
    except NotParseable as error:
        # XML is not read where an element is unknown; the same resource in JSON would be, and be invalid.
        if all(_is_inside(each.expression or "", type) for each in error.issues):
            return Answer(200, outcome.outcome(error.issues))
        raise
    if isinstance(document, dict) and _is_itself(document, type):
        document = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": document}]}
    query = [(name, value) for name, value in request.query if name not in _GENERAL]
    return validate(context, asked(type, at.get("id"), parameters(document, query), requests.if_match(request)))


def _is_inside(path: str, type: str) -> bool:
    """Whether it leads into the resource that is to be validated."""
    first, _, _ = path.partition(".")
    return first == type or (first == "Parameters" and ".resource" in path)


def _is_itself(document: dict[str, Any], type: str) -> bool:
    if document.get("resourceType") != "Parameters":
        return True
    given = document.get("parameter")
    names = [each.get("name") for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return type == "Parameters" and "resource" not in names


def _expunge(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return expunge(context, at["type"], at["id"], _given(request, context))


def _erase(request: Request, context: Context, at: dict[str, str]) -> Answer:
    _given(request, context).only()
    return erase(context, at["id"])


_META: dict[str, tuple[str, Handler]] = dict.fromkeys(("GET", "POST"), ("$meta", _meta))
_VALIDATE: dict[str, tuple[str, Handler]] = dict.fromkeys(("GET", "POST"), ("$validate", _validate))
ROUTES: tuple[Route, ...] = (
    ("/$meta", _META),
    ("/<type>/$meta", _META),
    ("/<type>/<id>/$meta", _META),
    ("/<type>/<id>/_history/<version>/$meta", _META),
    ("/<type>/<id>/$meta-add", {"POST": ("$meta-add", _meta_add)}),
    ("/<type>/<id>/$meta-delete", {"POST": ("$meta-delete", _meta_delete)}),
    ("/<type>/$validate", _VALIDATE),
    ("/<type>/<id>/$validate", _VALIDATE),
    ("/<type>/<id>/$expunge", {"POST": ("$expunge", _expunge)}),
    ("/Patient/<id>/$erase", {"POST": ("$erase", _erase)}),
)
