"""Batch and transaction at the edge: what each entry asks is asked as a request of its own.

Source: https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from fhir_blob.api import negotiation, requests
from fhir_blob.api.requests import Preferences, Request
from fhir_blob.api.responses import is_fresh
from fhir_blob.errors import (
    BadRequest,
    FhirError,
    Invalid,
    Issue,
    MethodNotAllowed,
    TooLarge,
)
from fhir_blob.fhir import codec
from fhir_blob.fhir.patch import FHIR_JSON, Patch
from fhir_blob.fhir.validation import validate
from fhir_blob.interactions import Answer, Context, Found
from fhir_blob.interactions.bundles import bundle
from fhir_blob.interactions.entries import (
    Action,
    Mistakes,
    answered,
    at_entry,
    by_number,
    failed,
    most_answered,
)
from fhir_blob.interactions.transaction import answers, transaction

# The interaction that a request at a path is, its type, and what its URL names; refused where it may not be.
Find = Callable[[Request, Context, str], tuple[str, dict[str, str]]]
# The answer to a request at a path.
Ask = Callable[[Request, Context, str], tuple[Context, Preferences, Answer]]

_WRITES = ("create", "update", "patch", "delete")
_KINDS = ("batch", "transaction")
# Of an entry that is a resource alone it is told that it has no request, not that it is empty.
_EMPTY = {"id": "empty"}
_ENTRY = re.compile(r"Bundle\.entry\[([0-9]+)\]")
_QUOTED = 200
# Of the headers of the Bundle's own request those that are its entries' too.
_SHARED = ("HTTP_HOST", "HTTP_PREFER", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "wsgi.url_scheme")
_HEADERS = {
    "ifMatch": "HTTP_IF_MATCH",
    "ifNoneMatch": "HTTP_IF_NONE_MATCH",
    "ifModifiedSince": "HTTP_IF_MODIFIED_SINCE",
    "ifNoneExist": "HTTP_IF_NONE_EXIST",
}


def process(request: Request, context: Context, find: Find, ask: Ask) -> Answer:
    """200 with an answer for each entry. A transaction that fails is an error, with all its mistakes."""
    given = requests.fhir_body(request, context.services)
    kind, problems = _checked(context, given)
    request.environ["fhir_blob.did"] = kind
    work = _batch if kind == "batch" else _transaction
    entries = work(request, context, given, problems, find, ask)
    body = bundle(context, f"{kind}-response", total=None, links={}, entries=by_number(entries))
    return Answer(200, body, signed=True)


def _checked(context: Context, given: Any) -> tuple[str, Mapping[int, Invalid]]:
    """The Bundle's type, and what is wrong with its entries, their resources aside; refused if it is no such Bundle."""
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or given.get("resourceType") != "Bundle":
        raise BadRequest("The body is not a Bundle: [base] takes a Bundle of type batch or transaction.")
    if kind not in _KINDS:
        told = f"The Bundle's type is {str(kind)[:60]!r}: [base] takes batch or transaction"
        raise BadRequest(f"{told}; to keep a Bundle as it is, POST it to Bundle.", expression="Bundle.type")
    entries = given.get("entry", [])
    most = context.services.settings.max_bundle_entries
    if isinstance(entries, list) and len(entries) > most:
        raise TooLarge(f"The Bundle has {len(entries)} entries; at most {most} are taken at once.")
    return kind, _problems(context, given, kind)


def _problems(context: Context, given: dict[str, Any], kind: str) -> Mapping[int, Invalid]:
    """By number of the entry; Invalid where the Bundle itself is not valid."""
    envelope = dict(given)
    if isinstance(given.get("entry"), list):
        envelope["entry"] = [_envelope(entry, kind) for entry in given["entry"]]
    issues = validate(envelope, lenient=context.services.settings.validation == "lenient")
    by_entry: dict[int, list[Issue]] = {}
    for issue in issues:
        match = _ENTRY.match(issue.expression or "")
        if issue.severity == "error":
            by_entry.setdefault(int(match[1]) if match else -1, []).append(issue)
    for number, entry in enumerate(given.get("entry", ())):
        if number not in by_entry and not (isinstance(entry, dict) and "request" in entry):
            told, path = f"Bundle.entry[{number}].request: is missing.", f"Bundle.entry[{number}].request"
            by_entry[number] = [Issue("error", "required", told, path)]
    found = {number: Invalid("The entry is not valid.", issues=tuple(each)) for number, each in by_entry.items()}
    if -1 in found:
        raise found[-1]
    return found


def _envelope(entry: Any, kind: str) -> Any:
    """The entry without its resource, which is checked where it is stored. In a batch fullUrls mean nothing."""
    if not isinstance(entry, dict):
        return entry
    left_out = {"resource", "fullUrl"} if kind == "batch" else {"resource"}
    return {name: value for name, value in entry.items() if name not in left_out} or _EMPTY


def _batch(
    request: Request, context: Context, given: dict[str, Any], problems: Mapping[int, Invalid], find: Find, ask: Ask
) -> dict[int, bytes]:
    """Each entry on its own."""
    answers = _Answers(context)
    for number, entry in enumerate(given.get("entry", ())):
        if number in problems:
            answers.entries[number] = failed(problems[number])
        else:
            answers.add(number, partial(_asked, request, context, number, entry, find, ask))
    return answers.entries


class _Answers:
    """The answers to entries by number, as long as they may be together: the rest is not asked."""

    def __init__(self, context: Context) -> None:
        self.entries: dict[int, bytes] = {}
        self._most = self._left = most_answered(context)

    def add(self, number: int, ask: Callable[[], bytes]) -> None:
        self.entries[number] = ask() if self._left >= 0 else self._refused(number)
        self._left -= len(self.entries[number])

    def _refused(self, number: int) -> bytes:
        entry = f"Bundle.entry[{number}]"
        told = f"{entry}: This was not done: the answers before it have more than the {self._most} bytes sent at once."
        return failed(TooLarge(told, expression=entry))


def _asked(request: Request, context: Context, number: int, entry: dict[str, Any], find: Find, ask: Ask) -> bytes:
    try:
        with at_entry(number):
            each, path = _request(request, context, entry, with_body=True)
            _refuse_nested(find(each, context, path)[0])
            return _answer(each, path, context, ask)
    except FhirError as error:
        return failed(error)


def _answer(each: Request, path: str, context: Context, ask: Ask) -> bytes:
    made, preferred, answer = ask(each, context, path)
    return _shown(each, made, preferred.returned, answer)


def _shown(each: Request, context: Context, returned: str, answer: Answer) -> bytes:
    """The entry of an answer; 304 of what has not changed since."""
    if each.method in ("GET", "HEAD") and answer.status == 200 and is_fresh(each, answer):
        answer = Answer(304, version=answer.version)
    return answered(context, returned, each.method, answer)


def _refuse_nested(interaction: str) -> None:
    if interaction == "transaction":
        raise MethodNotAllowed("A Bundle cannot be processed within another.", headers={"Allow": "GET, HEAD"})


def _transaction(
    request: Request, context: Context, given: dict[str, Any], problems: Mapping[int, Invalid], find: Find, ask: Ask
) -> dict[int, bytes]:
    """All entries or none. What reads is answered last, from what was stored."""
    kept = [codec.dump(given)]

    def actions() -> list[Action]:
        return _actions(request, context, codec.parse(kept[0]), problems, find)

    preferred = requests.preferences(request.header("PREFER") or "", request.parameter("_attachments"))
    methods = [_method(entry) for entry in given.get("entry", ())]
    reads = {
        number: {**entry, "resource": None}
        for number, entry in enumerate(given.get("entry", ()))
        if methods[number] in ("GET", "HEAD")
    }
    given.clear()
    done = transaction(context, actions)
    kept.clear()
    entries = {
        number: answered(context, preferred.returned, methods[number], answer)
        for number, answer in answers(context, done.dones, bodies=preferred.returned == "representation")
    }
    read = _Answers(context)
    for number, entry in reads.items():
        found = done.found.get(number)
        ask_it = partial(_asked, request, context, number, entry, find, ask)
        read.add(number, ask_it if found is None else partial(_found, request, context, number, entry, found))
    return entries | read.entries


def _found(request: Request, context: Context, number: int, entry: dict[str, Any], found: Found) -> bytes:
    """The answer to what was read in the transaction."""
    try:
        with at_entry(number):
            each, _ = _request(request, context, entry, with_body=False)
            return _shown(each, context, "", found.answer())
    except FhirError as error:
        return failed(error)


def _method(entry: Any) -> Any:
    """Of an entry that may be wrong in any way."""
    asked = entry.get("request") if isinstance(entry, dict) else None
    return asked.get("method") if isinstance(asked, dict) else None


def _actions(
    request: Request, context: Context, given: dict[str, Any], problems: Mapping[int, Invalid], find: Find
) -> list[Action]:
    mistakes, found = Mistakes(), []
    for number, entry in enumerate(given.pop("entry", ())):
        if number in problems:
            mistakes.add(problems[number])
            continue
        with mistakes.of(number):
            found.append(_action(request, context, number, entry, find))
    mistakes.tell()
    return found


def _action(request: Request, context: Context, number: int, entry: dict[str, Any], find: Find) -> Action:
    each, path = _request(request, context, entry, with_body=False)
    interaction, at = find(each, context, path)
    _refuse_nested(interaction)
    is_read = each.method in ("GET", "HEAD")
    if not is_read and interaction not in _WRITES:
        raise BadRequest(f"{interaction} is done in a batch or by itself, not in a transaction.")
    by_criteria = interaction in _WRITES[1:] and "id" not in at
    criteria = each.query if by_criteria else requests.create_criteria(each) if interaction == "create" else None
    return Action(
        number,
        interaction,
        at.get("type", ""),
        at.get("id", ""),
        at.get("version", ""),
        entry.get("fullUrl", ""),
        None if interaction == "patch" or is_read else _resource(interaction, entry),
        _patch(context, entry) if interaction == "patch" else None,
        None if criteria is None else tuple(criteria),
        None if is_read else requests.if_match(each),
        tuple(each.query),
        _view(each, context) if is_read else None,
    )


def _view(each: Request, context: Context) -> Context:
    """The Context of an entry that reads: its URL says what is wanted of the resources."""
    preferred = requests.preferences(each.header("PREFER") or "", each.parameter("_attachments"))
    negotiation.fhir_type(each.accept, each.parameter("_format"))
    return requests.context_of(each, context.services, context.principal, preferred)


def _resource(interaction: str, entry: Mapping[str, Any]) -> Any:
    if interaction == "delete":
        return None
    if "resource" not in entry:
        raise BadRequest("The entry has no resource to store.", expression="")
    return entry["resource"]


def _patch(context: Context, entry: Mapping[str, Any]) -> Patch:
    """A Parameters is a FHIRPath Patch; what else there is comes as a Binary: #3.1.0.11.2"""
    media_type, text = _patch_body(entry)
    return Patch(media_type, codec.parse(text), context.services.settings.max_json_bytes)


def _patch_body(entry: Mapping[str, Any]) -> tuple[str, bytes]:
    resource = entry.get("resource")
    type = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource, dict) or type not in ("Parameters", "Binary"):
        raise BadRequest("A PATCH is a Parameters, or a Binary with a JSON Patch.", expression="resourceType")
    if type == "Parameters":
        return FHIR_JSON, codec.dump(resource)
    try:
        return str(resource.get("contentType")), base64.b64decode(str(resource.get("data")))
    except ValueError as error:
        raise BadRequest("The data is no base64.", expression="data") from error


def _request(request: Request, context: Context, entry: Mapping[str, Any], *, with_body: bool) -> tuple[Request, str]:
    """The request that the entry stands for, and its path below the base."""
    asked = entry["request"]
    url = str(asked["url"]).removeprefix(context.base).lstrip("/")
    path, _, query = url.partition("?")
    media_type, body = _body(asked["method"], entry) if with_body else ("", b"")
    environ = {name: request.environ[name] for name in _SHARED if name in request.environ}
    environ |= {header: _environ(str(asked[name])) for name, header in _HEADERS.items() if name in asked}
    environ |= {
        "REQUEST_METHOD": asked["method"],
        "QUERY_STRING": _environ(query),
        "HTTP_ACCEPT": FHIR_JSON,
        "CONTENT_TYPE": media_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return Request(environ), unquote(path)


def _environ(text: str) -> str:
    """As WSGI has it: https://peps.python.org/pep-3333/#unicode-issues"""
    return text.encode().decode("latin-1")


def _body(method: str, entry: Mapping[str, Any]) -> tuple[str, bytes]:
    if method == "PATCH":
        return _patch_body(entry)
    resource = entry.get("resource")
    return (FHIR_JSON, codec.dump(resource)) if resource is not None else ("", b"")
