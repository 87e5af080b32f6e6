"""The FHIR routes: a table of URL patterns, and the one way from a request to its answer.

Source: https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from fhir_blob.access import Principal, authorise
from fhir_blob.access import Request as Asked
from fhir_blob.api import binary, bundles, negotiation, operations, requests
from fhir_blob.api.binary import Handler, Route
from fhir_blob.api.limits import Admission, check_path
from fhir_blob.api.requests import Preferences, Request
from fhir_blob.api.responses import respond
from fhir_blob.errors import MethodNotAllowed, NotFound, UnknownType
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context, Services, conditional
from fhir_blob.interactions.capabilities import capabilities
from fhir_blob.interactions.create import create
from fhir_blob.interactions.delete import delete
from fhir_blob.interactions.history import history
from fhir_blob.interactions.patch import conditional_patch, patch
from fhir_blob.interactions.read import read, vread
from fhir_blob.interactions.search import search, search_compartment
from fhir_blob.interactions.update import update
from fhir_blob.operations import jobs, records


def _capabilities(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return capabilities(context)


def _bundle(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return bundles.process(request, context, _find, _ask)


def _create(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource, criteria = requests.fhir_body(request, context.services), requests.create_criteria(request)
    if criteria is None:
        return create(context, at["type"], resource)
    return conditional.create(context, at["type"], resource, criteria)


def _read(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return read(context, at["type"], at["id"])


def _vread(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return vread(context, at["type"], at["id"], at["version"])


def _update(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource = requests.fhir_body(request, context.services)
    return update(context, at["type"], at["id"], resource, if_match=requests.if_match(request))


def _update_where(request: Request, context: Context, at: dict[str, str]) -> Answer:
    resource, match = requests.fhir_body(request, context.services), requests.if_match(request)
    return conditional.update(context, at["type"], resource, request.query, if_match=match)


def _patch(request: Request, context: Context, at: dict[str, str]) -> Answer:
    change = requests.patch(request, context.services)
    return patch(context, at["type"], at["id"], change, if_match=requests.if_match(request))


def _patch_where(request: Request, context: Context, at: dict[str, str]) -> Answer:
    change, match = requests.patch(request, context.services), requests.if_match(request)
    return conditional_patch(context, at["type"], request.query, change, if_match=match)


def _delete(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return delete(context, at["type"], at["id"], if_match=requests.if_match(request))


def _delete_where(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return conditional.delete(context, at["type"], request.query, if_match=requests.if_match(request))


def _history(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return history(context, at.get("type"), at.get("id"), request.query)


def _search(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return search(context, at.get("type"), request.query)


def _search_compartment(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return search_compartment(context, at["compartment"], at["id"], at.get("type"), request.query)


def _everything(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return records.everything(context, at["id"], request.query)


def _reindex(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return jobs.start(context, request.query)


def _reindex_status(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return jobs.state(context, at["id"])


def _docref(request: Request, context: Context, at: dict[str, str]) -> Answer:
    return records.docref(context, request.query)


# What takes its parameters as a form, too.
_FORMS = ("search-system", "search-type", "search-compartment")
# What takes them as a Parameters resource, or as a form.
_PARAMETERS = ("$everything", "$docref", "$reindex", "$presigned-url")
_CONDITIONAL: dict[str, tuple[str, Handler]] = {
    "PUT": ("update", _update_where),
    "PATCH": ("patch", _patch_where),
    "DELETE": ("delete", _delete_where),
}

# URL pattern -> method -> (interaction, handler). A pattern that names a type goes before the general one.
ROUTES: tuple[Route, ...] = (
    ("/", {"GET": ("search-system", _search), "POST": ("transaction", _bundle)}),
    ("/_search", {"POST": ("search-system", _search)}),
    ("/metadata", {"GET": ("capabilities", _capabilities)}),
    ("/_history", {"GET": ("history-system", _history)}),
    *binary.ROUTES,
    ("/<type>", {"GET": ("search-type", _search), "POST": ("create", _create), **_CONDITIONAL}),
    ("/<type>/_search", {"POST": ("search-type", _search)}),
    ("/<type>/_history", {"GET": ("history-type", _history)}),
    (
        "/<type>/<id>",
        {
            "GET": ("read", _read),
            "PUT": ("update", _update),
            "PATCH": ("patch", _patch),
            "DELETE": ("delete", _delete),
        },
    ),
    ("/<type>/<id>/_history", {"GET": ("history-instance", _history)}),
    *operations.ROUTES,
    ("/$reindex", {"POST": ("$reindex", _reindex)}),
    ("/$reindex-status/<id>", {"GET": ("$reindex", _reindex_status)}),
    ("/Patient/<id>/$everything", dict.fromkeys(("GET", "POST"), ("$everything", _everything))),
    ("/DocumentReference/$docref", dict.fromkeys(("GET", "POST"), ("$docref", _docref))),
    ("/<compartment>/<id>/_search", {"POST": ("search-compartment", _search_compartment)}),
    ("/<compartment>/<id>/*", {"GET": ("search-compartment", _search_compartment)}),
    ("/<compartment>/<id>/<type>", {"GET": ("search-compartment", _search_compartment)}),
    ("/<compartment>/<id>/<type>/_search", {"POST": ("search-compartment", _search_compartment)}),
    ("/<type>/<id>/_history/<version>", {"GET": ("vread", _vread)}),
)


class Router:
    """Finds the row of a path. Flask's own matching would cost as much as reading the resource."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], dict[str, tuple[str, Handler]]]]] = {}
        for pattern, methods in routes:
            parts = tuple(pattern[1:].split("/"))
            self._by_length.setdefault(len(parts), []).append((parts, methods))

    def find(self, method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
        """Interaction, handler and what the pattern's names stand for. NotFound, or MethodNotAllowed with Allow."""
        given = path.rstrip("/").split("/")
        asked, allowed = "GET" if method == "HEAD" else method, set()
        for parts, methods in self._by_length.get(len(given), ()):
            at = _match(parts, given)
            if at is not None:
                if asked in methods:
                    interaction, handler = methods[asked]
                    return interaction, handler, at
                allowed |= set(methods)
        if not allowed and given[-1][:1] == "$":
            name = given[-1][:80]
            raise NotFound(
                f"{name!r} is no operation here: the CapabilityStatement, at /metadata, names those that are."
            )
        if not allowed:
            raise NotFound("Nothing is at this URL.")
        names = ", ".join(sorted(allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())))
        raise MethodNotAllowed(f"{method} is not done here; what is: {names}.", headers={"Allow": names})


def _match(parts: tuple[str, ...], given: list[str]) -> dict[str, str] | None:
    at: dict[str, str] = {"type": parts[0]} if parts[0] in definitions().types else {}
    for part, each in zip(parts, given, strict=True):
        if part[:1] == "<":
            if each[:1] in ("_", "$", "*", ""):
                return None  # no type, id or version begins so
            at[part[1:-1]] = each
        elif part != each:
            return None
    return at


def blueprint(services: Services, admission: Admission) -> Blueprint:
    """Everything below the FHIR base."""
    made = Blueprint("fhir", __name__)

    def view(path: str = "") -> Response:
        return perform(Request(request.environ), services, admission, path)

    for rule in ("", "/", "/<path:path>"):
        made.add_url_rule(rule, f"base{len(rule)}", view, methods=_METHODS, provide_automatic_options=False)
    return made


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
_ROUTER = Router(ROUTES)


def perform(request: Request, services: Services, admission: Admission, path: str) -> Response:
    """Who asks, whether they may, what comes of it: every FHIR request goes through here."""
    found = _ROUTER.find(request.method, path)
    request.environ["fhir_blob.did"] = found[0]
    principal = admission.principal(request)
    context, preferred, answer = _answer(request, services, principal, found)
    return respond(request, context, preferred, answer)


def _answer(
    request: Request, services: Services, principal: Principal, found: tuple[str, Handler, dict[str, str]]
) -> tuple[Context, Preferences, Answer]:
    interaction, handler, at = found
    _allow(request, principal, found)
    if request.method == "POST" and interaction in _FORMS:
        requests.take_form(request, services)
    elif request.method == "POST" and interaction in _PARAMETERS:
        operations.take(request, services)
    preferred = requests.preferences(request.header("PREFER") or "", request.parameter("_attachments"))
    context = requests.context_of(request, services, principal, preferred)
    if at.get("type") != binary.TYPE:
        negotiation.fhir_type(request.accept, request.parameter("_format"))
    return context, preferred, handler(request, context, at)


def _allow(request: Request, principal: Principal, found: tuple[str, Handler, dict[str, str]]) -> None:
    interaction, _, at = found
    type = at.get("type")
    if type is not None and type not in definitions().types:
        raise UnknownType(f"{type[:80]!r} is no resource type of FHIR R4.")
    request.environ["fhir_blob.type"] = type
    authorise(principal, Asked(interaction, type, at.get("id")))


def _find(request: Request, context: Context, path: str) -> tuple[str, dict[str, str]]:
    """What an entry of a Bundle is, if it may be."""
    check_path(path)
    found = _ROUTER.find(request.method, path)
    _allow(request, context.principal, found)
    return found[0], found[2]


def _ask(request: Request, context: Context, path: str) -> tuple[Context, Preferences, Answer]:
    """What an entry of a Bundle is answered."""
    return _answer(request, context.services, context.principal, _ROUTER.find(request.method, path))
