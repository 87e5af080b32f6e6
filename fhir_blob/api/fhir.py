"""The FHIR routes: a table of URL patterns, and the one way from a request to its answer.

Source: https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Request, Response, request

from fhir_blob.access import Request as Asked
from fhir_blob.access import authorise
from fhir_blob.access.credentials import Credentials
from fhir_blob.api import binary, negotiation, requests
from fhir_blob.api.binary import Handler, Route
from fhir_blob.api.responses import respond
from fhir_blob.errors import UnknownType
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context, Services
from fhir_blob.interactions.capabilities import capabilities
from fhir_blob.interactions.create import create
from fhir_blob.interactions.delete import delete
from fhir_blob.interactions.history import history
from fhir_blob.interactions.read import read, vread
from fhir_blob.interactions.search import search
from fhir_blob.interactions.update import update


def _capabilities(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return capabilities(context)


def _create(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return create(context, at["type"], requests.json_body(request, context.services))


def _read(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return read(context, at["type"], at["id"])


def _vread(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return vread(context, at["type"], at["id"], at["version"])


def _update(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource = requests.json_body(request, context.services)
    return update(context, at["type"], at["id"], resource, if_match=requests.if_match(request))


def _delete(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return delete(context, at["type"], at["id"], if_match=requests.if_match(request))


def _history(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return history(context, at.get("type"), at.get("id"), requests.pairs(request, context.services))


def _search(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return search(context, at["type"], requests.pairs(request, context.services))


# URL pattern -> method -> (interaction, handler). A pattern that names a type goes before the general one.
ROUTES: tuple[Route, ...] = (
    ("/metadata", {"GET": ("capabilities", _capabilities)}),
    ("/_history", {"GET": ("history-system", _history)}),
    *binary.ROUTES,
    ("/<type>", {"GET": ("search-type", _search), "POST": ("create", _create)}),
    ("/<type>/_search", {"POST": ("search-type", _search)}),
    ("/<type>/_history", {"GET": ("history-type", _history)}),
    ("/<type>/<id>", {"GET": ("read", _read), "PUT": ("update", _update), "DELETE": ("delete", _delete)}),
    ("/<type>/<id>/_history", {"GET": ("history-instance", _history)}),
    ("/<type>/<id>/_history/<version>", {"GET": ("vread", _vread)}),
)


def blueprint(services: Services, credentials: Credentials) -> Blueprint:
    """The routes of the FHIR base."""
    made = Blueprint("fhir", __name__)
    for pattern, methods in ROUTES:
        fixed = {"type": binary.TYPE} if pattern.startswith(f"/{binary.TYPE}") else {}
        view = _view(services, credentials, methods, fixed)
        made.add_url_rule(pattern, f"fhir{pattern}".replace(".", "_"), view, methods=list(methods))
    return made


def _view(
    services: Services, credentials: Credentials, methods: dict[str, tuple[str, Handler]], fixed: dict[str, str]
) -> Callable[..., Response]:
    def view(**at: str) -> Response:
        interaction, handler = methods["GET" if request.method == "HEAD" else request.method]
        return perform(request, services, credentials, interaction, handler, fixed | at)

    return view


def perform(
    request: Request,
    services: Services,
    credentials: Credentials,
    interaction: str,
    handler: Handler,
    at: dict[str, str],
) -> Response:
    """Who asks, whether they may, what comes of it: every FHIR request goes through here."""
    principal = credentials.identify(request.headers.get("Authorization"))
    request.environ["fhir_blob.did"] = interaction
    type = at.get("type")
    if type is not None and type not in definitions().types:
        raise UnknownType(f"{type[:80]!r} is no resource type of FHIR R4.")
    authorise(principal, Asked(interaction, type, at.get("id")))
    preferred = requests.preferences(request.headers.get("Prefer", ""), request.args.get("_attachments", ""))
    context = requests.context_of(request, services, principal, preferred)
    if at.get("type") != binary.TYPE:
        negotiation.fhir_type(request.headers.get("Accept", ""), request.args.get("_format", ""))
    return respond(request, context, preferred, handler(request, context, at))
