"""`$validate`: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.access import Request, authorise
from fhir_blob.errors import BadParameter, FhirError, Issue
from fhir_blob.fhir import codec, outcome, profiles
from fhir_blob.fhir.profiling import conformance, constraints, published
from fhir_blob.fhir.profiling.resolving import Read
from fhir_blob.fhir.profiling.value_sets import Find, Terms
from fhir_blob.fhir.references import LocalReference, literal
from fhir_blob.fhir.validation import validate as problems
from fhir_blob.interactions import Answer, Context, binary, drafts, incoming, integrity, read
from fhir_blob.interactions.delete import delete_in
from fhir_blob.interactions.search import parsed
from fhir_blob.interactions.update import replaced
from fhir_blob.operations.parameters import Parameters
from fhir_blob.search import added
from fhir_blob.store import Transaction

MODES = ("create", "update", "delete", "profile")
_ALL_OK = Issue("information", "informational", "All OK.")
_SEVERITIES = ("fatal", "error", "warning", "information")


@dataclass(frozen=True, slots=True)
class Asked:
    """Of a type, or an instance with `id`; `resource` None means the one that is stored."""

    type: str
    id: str | None
    resource: Any
    mode: str
    profile: str
    if_match: int | None = None


def asked(type: str, id: str | None, given: Parameters, if_match: int | None = None) -> Asked:
    """BadParameter for what does not go together. `if_match` is the version that an update or delete would be of."""
    given.only("resource", "mode", "profile")
    resource, mode, profile = given.one("resource"), given.text("mode"), given.text("profile")
    if mode and mode not in MODES:
        raise BadParameter(f"mode takes one of {', '.join(MODES)}, not {mode[:60]!r}.")
    if not profile and (mode == "profile" or "profile" in given.values):
        raise BadParameter("profile takes the canonical URL of a profile, which mode=profile needs.")
    if resource is not None and not isinstance(resource, dict):
        raise BadParameter("resource takes a resource.")
    if id is None and mode in ("update", "delete"):
        raise BadParameter(f"mode={mode} is of one resource: {type}/<id>/$validate takes it.")
    if resource is None and (id is None or mode in ("create", "update")):
        raise BadParameter(f"{type}/$validate takes a resource, and so does any mode=create or mode=update.")
    return Asked(type, id, resource, mode, profile, if_match)


def validate(context: Context, asked: Asked) -> Answer:
    """200 with every problem, errors first; the request itself has not failed. NotFound for an unknown id."""
    stored = None
    if asked.id is not None and (asked.resource is None or asked.mode == "delete"):
        with context.services.store.read(context.tenant) as reader:
            stored = codec.parse(read.current(reader, asked.type, asked.id).body)
    if asked.mode == "delete":
        issues = list(_of_deletion(context, asked))
    else:
        issues = list(_of_resource(context, asked, stored if asked.resource is None else asked.resource))
    ordered = sorted(issues, key=lambda each: _SEVERITIES.index(each.severity))
    return Answer(200, outcome.outcome(ordered or [_ALL_OK]))


def _of_resource(context: Context, asked: Asked, resource: Any) -> Iterator[Issue]:
    found = list(_by_type(context, asked.type, resource))
    yield from found
    yield from _by_mode(context, asked, resource)
    if any(each.severity == "error" for each in found):
        if asked.profile or _names_profiles(resource):
            yield Issue("information", "not-supported", "Profiles were not checked: it is not valid as its type.")
        return
    find, read = Terms(finder(context)), reader(context)
    known = {(each.code, each.expression) for each in found}
    for issue in constraints.check(resource, find):
        known.add((issue.code, issue.expression))
        yield issue
    by_profile = conformance.check(resource, asked.profile, find, read) if asked.profile else []
    for issue in dict.fromkeys([*by_profile, *conformance.check_own(resource, find, read)]):
        if (issue.code, issue.expression) not in known:
            yield issue
    yield from _bytes(context, asked, resource)
    if context.services.settings.integrity != "off":
        written = (_Referring(drafts.references_of(context, resource)),)
        yield from _undone(context, lambda transaction: integrity.check(context, transaction, written))


def _names_profiles(resource: Any) -> bool:
    meta = resource.get("meta") if isinstance(resource, dict) else None
    return isinstance(meta, dict) and "profile" in meta


def _by_type(context: Context, type: str, resource: Any) -> Iterator[Issue]:
    """As a create or an update is checked."""
    if not isinstance(resource, dict) or resource.get("resourceType") != type:
        has_type = isinstance(resource, dict) and "resourceType" in resource
        given = repr(str(resource["resourceType"])[:60]) if has_type else "missing"
        yield Issue("error", "invalid", f"The resource is not a {type}: its resourceType is {given}.", "resourceType")
        return
    try:
        if type == "Binary":
            binary.checked(context, resource)
        issues = problems(resource, lenient=context.services.settings.validation == "lenient")
        yield from issues
        if type == "SearchParameter" and not issues:
            added.check(resource)
    except FhirError as error:
        yield from error.issues


def _bytes(context: Context, asked: Asked, resource: dict[str, Any]) -> Iterator[Issue]:
    """As a create or an update is refused for its Attachments: their bytes are others than they say, or gone."""
    store = context.services.store
    with store.read(context.tenant) as reader:
        prior = None if asked.id is None else reader.current(asked.type, asked.id)
    try:
        named = incoming.tried(context, resource, prior=None if prior and prior.deleted else prior)
    except FhirError as error:
        yield from error.issues
        return
    with store.read(context.tenant) as reader:
        binaries = [reader.current("Binary", each) for each in named]
    for each in binaries:
        if each is not None and each.deleted:
            yield Issue("error", "conflict", f"Binary/{each.id} is deleted, so nothing can refer to it.")


def _by_mode(context: Context, asked: Asked, resource: Any) -> Iterator[Issue]:
    """As a create or an update would be refused; an update is of the resource that the URL names."""
    id, given = asked.id, resource.get("id") if isinstance(resource, dict) else None
    if asked.mode == "update":
        if given is None:
            yield Issue("error", "required", "An update takes a resource with an id.", "id")
            return
        yield from _undone(context, lambda transaction: _replaced(context, transaction, asked))
    if id is not None and asked.mode != "create" and given not in (id, None):
        yield Issue("error", "invalid", f"The resource's id is {str(given)[:80]!r}, but the URL's is {id!r}.", "id")


def _replaced(context: Context, transaction: Transaction, asked: Asked) -> tuple[Issue, ...]:
    replaced(context, transaction, asked.type, str(asked.id), asked.if_match)
    return ()


def _of_deletion(context: Context, asked: Asked) -> Iterator[Issue]:
    """The deletion is done, and undone."""
    now, id = context.services.clock(), str(asked.id)

    def work(transaction: Transaction) -> tuple[Issue, ...]:
        delete_in(context, transaction, asked.type, id, now=now, if_match=asked.if_match)
        return integrity.check(context, transaction, deleted=((asked.type, id),))

    return _undone(context, work)


class _Undone(Exception):
    """Rolls back what was only tried."""

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        self.issues = issues


def _undone(context: Context, work: Callable[[Transaction], tuple[Issue, ...]]) -> Iterator[Issue]:
    """What the transaction tells; nothing of it stays."""

    def tried(transaction: Transaction) -> None:
        raise _Undone(work(transaction))

    try:
        context.services.store.write(context.tenant, tried)
    except (_Undone, FhirError) as ended:
        yield from ended.issues


@dataclass(frozen=True, slots=True)
class _Referring:
    references: tuple[LocalReference, ...]


def finder(context: Context) -> Find:
    """Conformance resources by canonical URL, from the store, the server's own or R4's, of the given version."""

    @lru_cache(None)
    def find(type: str, url: str) -> Mapping[str, Any] | None:
        bare, _, version = url.partition("|")
        query = parsed(context, type, [("url", bare.replace("\\", "\\\\").replace(",", "\\,")), ("_count", "20")])
        with context.services.store.read(context.tenant) as reader:
            matches = context.services.rows.search(reader, query).matches
        stored = [_read(each.body) for each in sorted(matches, key=lambda each: -each.last_updated)]
        given = (each for each in (*stored, *_own(type, bare)) if not version or each.get("version") == version)
        return next(given, None) or published.find(type, url)

    return find


def _read(body: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _kept(body) if len(body) < _KEPT else codec.parse(body)
    return found


@lru_cache(128)  # the same profiles come with every request
def _kept(body: bytes) -> Any:
    return codec.parse(body)


_KEPT = 500_000


@lru_cache(256)
def _own(type: str, url: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(each for each in profiles.resources() if each["resourceType"] == type and each["url"] == url)


def reader(context: Context) -> Read:
    """What a reference leads to in the store, where the client may read it."""

    def find(text: str) -> dict[str, Any] | None:
        match = literal(text, context.base)
        if match is None or match[3] or "#" in text or match[1] == "Binary":
            return None
        try:
            authorise(context.principal, Request("read", match[1], match[2]))
        except FhirError:
            return None
        with context.services.store.read(context.tenant) as reader:
            version = reader.current(match[1], match[2])
        if version is None or version.deleted:
            return None
        found: dict[str, Any] = codec.parse(version.body)
        return found

    return find
