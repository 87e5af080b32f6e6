"""The patch interaction, of an id and of criteria: https://hl7.org/fhir/R4/http.html#patch

The stored resource is patched, without what answers add to it. Where another writer was faster, and the client
named no version, it is read and patched anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from fhir_blob.access import Request as Asked
from fhir_blob.access import authorise
from fhir_blob.errors import BadRequest, Conflict, NotFound, PreconditionFailed, Unprocessable
from fhir_blob.fhir import codec
from fhir_blob.interactions import Answer, Context, binary, conditional, drafts, incoming, integrity, read
from fhir_blob.interactions.conditional import Criteria, Moved
from fhir_blob.interactions.update import Written
from fhir_blob.store import Transaction, Version

_TRIES = 20


class Change(Protocol):
    """What makes another resource of one: fhir.patch.Patch does."""

    def apply(self, resource: Any) -> Any: ...


def patch(context: Context, type: str, id: str, change: Change, *, if_match: int | None = None) -> Answer:
    """200 with the next version. NotFound, Gone, PreconditionFailed, or what the patch is refused for."""

    def prior() -> Version:
        with context.services.store.read(context.tenant) as reader:
            return read.current(reader, type, id)

    return _tried(lambda: _patch(context, prior(), change, if_match, None))


def conditional_patch(
    context: Context, type: str, criteria: Criteria, change: Change, *, if_match: int | None = None
) -> Answer:
    """The same of the one match. NotFound where there is none."""

    def prior() -> Version:
        with context.services.store.read(context.tenant) as reader:
            found = conditional.matches(context, reader, type, criteria)
        if len(found) > 1:
            raise PreconditionFailed(f"{conditional.told(type, criteria)!r} matches more than one {type}.")
        if not found:
            raise NotFound(f"{conditional.told(type, criteria)!r} matches nothing.")
        authorise(context.principal, Asked("patch", type, found[0].id))
        return found[0]

    return _tried(lambda: _patch(context, prior(), change, if_match, criteria))


def patched(context: Context, prior: Version, change: Change) -> dict[str, Any]:
    """The valid resource that the patch makes of that version; Invalid with every problem."""
    type, id = prior.type, prior.id
    resource = change.apply(codec.parse(prior.body))
    if not isinstance(resource, dict) or resource.get("resourceType") != type:
        raise Unprocessable(f"The patch makes something else of the {type}.", expression="resourceType")
    if resource.get("id") != id:
        raise Unprocessable(f"The patch changes the id of {type}/{id}.", expression="id")
    try:
        resource = codec.parse(codec.dump(resource))
    except (BadRequest, TypeError) as error:  # nested too deeply for JSON's writer or reader
        raise Unprocessable(f"The patch makes no FHIR resource of {type}/{id}.") from error
    return incoming.checked(context, resource, type)


def _tried(once: Callable[[], Answer]) -> Answer:
    for attempt in range(_TRIES):
        try:
            return once()
        except Moved:
            time.sleep(random.uniform(0, 0.01 * attempt))
    raise Conflict("Other writers have been faster, again and again.")


def _patch(context: Context, prior: Version, change: Change, if_match: int | None, criteria: Criteria | None) -> Answer:
    if if_match is not None and prior.version != if_match:
        raise _other_version(prior, if_match)
    resource = patched(context, prior, change)
    if prior.type == "Binary":
        return _patch_binary(context, prior, resource, if_match)
    drafted = incoming.draft(context, resource, prior.id, prior=prior)

    def work(transaction: Transaction) -> Written:
        if criteria is not None and not _still_matches(context, transaction, prior, criteria):
            raise Moved("Something else matches by now.")
        current = transaction.lock(prior.type, prior.id)
        if current is None or current.version != prior.version:
            raise Moved(f"{prior.type}/{prior.id} was changed meanwhile.")
        version = drafts.put(transaction, drafted, current, context.services.clock(), "PATCH")
        return Written(version, False, integrity.check(context, transaction, (drafted,)))

    done = drafts.stored(context, drafted, work)
    return done.answered(read.answer(context, done.version, status=200, made=drafted.blobs))


def _still_matches(context: Context, transaction: Transaction, prior: Version, criteria: Criteria) -> bool:
    found = conditional.one(context, transaction, prior.type, criteria)
    return found is not None and found.id == prior.id


def _patch_binary(context: Context, prior: Version, resource: dict[str, Any], if_match: int | None) -> Answer:
    try:
        return binary.update(context, "Binary", prior.id, resource, if_match=prior.version, method="PATCH")
    except PreconditionFailed as error:
        if if_match is None:
            raise Moved(f"Binary/{prior.id} was changed meanwhile.") from error
        raise


def _other_version(prior: Version, if_match: int) -> PreconditionFailed:
    return PreconditionFailed(f'If-Match is W/"{if_match}", but {prior.type}/{prior.id} is W/"{prior.version}".')
