"""The update interaction: https://hl7.org/fhir/R4/http.html#update"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from fhir_blob.errors import BadRequest, Issue, MethodNotAllowed, PreconditionFailed
from fhir_blob.interactions import Answer, Context, drafts, incoming, integrity
from fhir_blob.interactions.read import answer
from fhir_blob.store import Transaction, Version


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the version that is there now, whether it made the resource, what is to be told."""

    version: Version
    created: bool
    warnings: tuple[Issue, ...] = ()

    def answered(self, answer: Answer) -> Answer:
        """The answer, with the warnings."""
        return replace(answer, warnings=self.warnings) if self.warnings else answer


# In the place of a version: none may be there, as If-None-Match: * has it.
ABSENT = 0
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


def update(context: Context, type: str, id: str, resource: dict[str, Any], *, if_match: int | None = None) -> Answer:
    """200 with the next version; 201 where the id was not there, or was deleted.

    `if_match` is the version that the client means to replace, or ABSENT: PreconditionFailed if it is not current.
    """
    incoming.checked(context, resource, type)
    same_id(resource, id)
    with context.services.store.read(context.tenant) as reader:
        prior = reader.current(type, id)
    drafted = incoming.draft(context, resource, id, prior=prior if prior and not prior.deleted else None)

    def work(transaction: Transaction) -> Written:
        current = replaced(context, transaction, type, id, if_match)
        version = drafts.put(transaction, drafted, current, context.services.clock(), "PUT")
        warnings = integrity.check(context, transaction, (drafted,))
        return Written(version, current is None or current.deleted, warnings)

    done = drafts.stored(context, drafted, work)
    return done.answered(answer(context, done.version, status=201 if done.created else 200, made=drafted.blobs))


def same_id(resource: dict[str, Any], id: str) -> None:
    """BadRequest unless the body names the id that the URL does."""
    if not _ID.match(id):
        raise BadRequest(f"{id[:80]!r} is no id: it takes 1 to 64 of A-Z, a-z, 0-9, '-' and '.'.")
    if resource.get("id") != id:
        given = repr(str(resource["id"])[:80]) if "id" in resource else "missing"
        raise BadRequest(f"The body's id is {given}, but the URL's is {id!r}.", expression="id")


def replaced(context: Context, transaction: Transaction, type: str, id: str, if_match: int | None) -> Version | None:
    """The version that is replaced, locked; refuses where the client meant another, or may make none."""
    current = transaction.lock(type, id)
    if if_match == ABSENT:
        if current is not None and not current.deleted:
            raise PreconditionFailed(f"If-None-Match is *, but {type}/{id} is there.")
    elif if_match is not None and (current is None or current.deleted or current.version != if_match):
        now = "not there" if current is None or current.deleted else f'W/"{current.version}"'
        raise PreconditionFailed(f'If-Match is W/"{if_match}", but {type}/{id} is {now}.')
    if current is None and not context.services.settings.update_create:
        raise MethodNotAllowed(
            f"{type}/{id} is not there, and this server lets no client choose an id: POST to {type}.",
            headers={"Allow": "GET, HEAD, OPTIONS"},
        )
    return current
