"""Conditional create, update and delete: https://hl7.org/fhir/R4/http.html#ccreate, #cond-update and #3.1.0.7.1

What the criteria match is decided in the transaction that writes, on its own rows. Who decides for a type
holds it, so that of two that race on one criterion the second finds what the first made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_blob.access import Request as Asked
from fhir_blob.access import authorise
from fhir_blob.errors import BadRequest, Conflict, PreconditionFailed
from fhir_blob.interactions import Answer, Context, binary, drafts, incoming, integrity
from fhir_blob.interactions.binary import Upload
from fhir_blob.interactions.delete import delete_in
from fhir_blob.interactions.read import answer
from fhir_blob.interactions.update import Written, replaced, same_id
from fhir_blob.search import Query
from fhir_blob.search.grammar.parser import parse_query
from fhir_blob.store import Reader, Transaction, Version

BINARY = "Binary"
Criteria = Sequence[tuple[str, str]]

_TRIES = 10
_QUOTED = 200
# Of what the criteria match no more than this is deleted at once.
_MOST_DELETED = 1000


class Moved(Conflict):
    """Between the preparation and the transaction something else came to match."""


def matches(context: Context, reader: Reader, type: str, criteria: Criteria, *, most: int = 2) -> tuple[Version, ...]:
    """What the criteria match, `most` at most. PreconditionFailed or BadParameter for criteria that select nothing."""
    query = asked(context, type, criteria, most)
    return context.services.rows.search(reader, query).matches


def one(context: Context, transaction: Transaction, type: str, criteria: Criteria) -> Version | None:
    """The one match, which no other conditional interaction of the type can change meanwhile.

    PreconditionFailed where there are several. In one transaction take the types in alphabetical order.
    """
    transaction.hold(f"{type}?")
    return only(type, criteria, matches(context, transaction, type, criteria))


def asked(context: Context, type: str, criteria: Criteria, most: int = 2) -> Query:
    """The Query of criteria that select something; PreconditionFailed or BadParameter for others."""
    authorise(context.principal, Asked("search-type", type))
    query = parse_query(
        type,
        criteria,
        base=context.base,
        strict=True,
        default_count=most,
        max_count=most,
        principal=context.principal.name,
    )
    if not criteria:
        raise PreconditionFailed(f"There is no criterion, and no id either: it would match every {type}.")
    if not query.criteria:
        raise PreconditionFailed(f"{told(type, criteria)!r} has no criterion: it would match every {type}.")
    return replace(query, count=most, total="none", sort=(), cursor=None, includes=())


def told(type: str, criteria: Criteria) -> str:
    """The criteria as they came, cut."""
    return f"{type}?{'&'.join(f'{name}={value}' for name, value in criteria)}"[:_QUOTED]


def only(type: str, criteria: Criteria, found: Sequence[Version]) -> Version | None:
    """The one of those found, None where there is none. PreconditionFailed where there are several."""
    if len(found) > 1:
        raise PreconditionFailed(f"{told(type, criteria)!r} matches more than one {type}.")
    return found[0] if found else None


def _guess(context: Context, type: str, criteria: Criteria) -> Version | None:
    """The one match by now, to prepare for; the transaction decides."""
    with context.services.store.read(context.tenant) as reader:
        return only(type, criteria, matches(context, reader, type, criteria))


def create(context: Context, type: str, resource: dict[str, Any], criteria: Criteria) -> Answer:
    """201; 200 with what is there already where the criteria of If-None-Exist match it."""
    incoming.checked(context, resource, type)
    found = _guess(context, type, criteria)
    if found is not None:
        return _existing(context, found)
    drafted = incoming.draft(context, resource, context.services.new_id())

    def work(transaction: Transaction) -> Written:
        found = one(context, transaction, type, criteria)
        if found is not None:
            return Written(found, created=False)
        version = drafts.put(transaction, drafted, None, context.services.clock(), "POST")
        return Written(version, True, integrity.check(context, transaction, (drafted,)))

    done = drafts.stored(context, drafted, work)
    if not done.created:
        drafts.abandon(context, drafted.made)
        return _existing(context, done.version)
    return done.answered(answer(context, done.version, status=201, made=drafted.blobs))


def create_binary(context: Context, given: dict[str, Any] | Upload, criteria: Criteria) -> Answer:
    """The same of a Binary; the bytes that came for nothing are erased."""
    if not isinstance(given, Upload):
        binary.checked(context, given)
    found = _guess(context, BINARY, criteria)
    if found is not None:
        return _existing(context, found)
    taken = binary.take(context, given, context.services.new_id(), is_new=True)

    def work(transaction: Transaction) -> Written:
        found = one(context, transaction, BINARY, criteria)
        if found is not None:
            return Written(found, created=False)
        version = binary.create_in(context, transaction, taken)
        return Written(version, True, integrity.check(context, transaction, (taken,)))

    done = binary.kept(context, taken, work)
    if not done.created:
        binary.give_up(context, taken)
        return _existing(context, done.version)
    return done.answered(answer(context, done.version, status=201, made=taken.blobs))


def _existing(context: Context, found: Version) -> Answer:
    location = f"{context.base}/{found.type}/{found.id}/_history/{found.version}"
    return replace(answer(context, found, status=200), headers={"Location": location})


def update(
    context: Context, type: str, resource: dict[str, Any], criteria: Criteria, *, if_match: int | None = None
) -> Answer:
    """200 with the next version of the one match, 201 where there is none."""
    incoming.checked(context, resource, type)
    return _tried(lambda: _update(context, type, copy.deepcopy(resource), criteria, if_match))


def update_binary(
    context: Context, given: dict[str, Any] | Upload, criteria: Criteria, *, if_match: int | None = None
) -> Answer:
    """The same of a Binary. Raw bytes come once: Conflict where another writer was faster."""
    if isinstance(given, Upload):
        return _update_binary(context, given, criteria, if_match)
    binary.checked(context, given)
    return _tried(lambda: _update_binary(context, copy.deepcopy(given), criteria, if_match))


def _tried(once: Callable[[], Answer]) -> Answer:
    for _ in range(_TRIES):
        try:
            return once()
        except Moved:
            continue
    raise Conflict("Other writers have been faster, again and again.")


@dataclass(frozen=True, slots=True)
class _Target:
    """What a conditional update writes, as it was guessed; `is_new` where nobody can have its id."""

    type: str
    id: str
    prior: Version | None
    is_new: bool

    def current(
        self, context: Context, transaction: Transaction, criteria: Criteria, if_match: int | None
    ) -> Version | None:
        """What is there now. Moved where the guess was wrong."""
        found = one(context, transaction, self.type, criteria)
        if (found and found.id) != (self.prior and self.prior.id):
            raise Moved("Something else matches by now.")
        is_new = self.is_new and not if_match
        current = None if is_new else replaced(context, transaction, self.type, self.id, if_match)
        if found is None and current is not None and not current.deleted:
            raise taken(self.type, self.id)
        return current


def _target(context: Context, type: str, resource: dict[str, Any], criteria: Criteria) -> _Target:
    """The resource gets its id."""
    prior = _guess(context, type, criteria)
    id = id_of(context, type, resource, prior)
    authorise(context.principal, Asked("update", type, id))
    target = _Target(type, id, prior, is_new=prior is None and "id" not in resource)
    resource["id"] = id
    same_id(resource, id)
    return target


def _update_binary(
    context: Context, given: dict[str, Any] | Upload, criteria: Criteria, if_match: int | None
) -> Answer:
    target = _target(context, BINARY, {} if isinstance(given, Upload) else given, criteria)
    ready = binary.take(context, given, target.id)

    def work(transaction: Transaction) -> Written:
        is_new = target.current(context, transaction, criteria, if_match) is None
        version, created = binary.update_in(context, transaction, ready, None, is_new=is_new)
        return Written(version, created, integrity.check(context, transaction, (ready,)))

    done = binary.kept(context, ready, work)
    return done.answered(answer(context, done.version, status=201 if done.created else 200))


def _update(context: Context, type: str, resource: dict[str, Any], criteria: Criteria, if_match: int | None) -> Answer:
    target = _target(context, type, resource, criteria)
    drafted = incoming.draft(context, resource, target.id, prior=target.prior)

    def work(transaction: Transaction) -> Written:
        current = target.current(context, transaction, criteria, if_match)
        created = current is None or current.deleted
        version = drafts.put(transaction, drafted, current, context.services.clock(), "PUT")
        return Written(version, created, integrity.check(context, transaction, (drafted,)))

    done = drafts.stored(context, drafted, work)
    made = answer(context, done.version, status=201 if done.created else 200, made=drafted.blobs)
    return done.answered(made)


def id_of(context: Context, type: str, resource: dict[str, Any], found: Version | None) -> str:
    """The id of a conditional update: of the match; of the body, where nothing matches and it has one that is
    unused; else a new one.
    """
    given = resource.get("id")
    if found is not None:
        if given not in (None, found.id):
            raise BadRequest(f"The body's id is {given[:80]!r}, but the match's is {found.id!r}.", expression="id")
        return found.id
    if given is None:
        return context.services.new_id()
    with context.services.store.read(context.tenant) as reader:
        there = reader.current(type, given)
    if there is not None and not there.deleted:
        raise taken(type, given)
    return str(given)


def taken(type: str, id: str) -> Conflict:
    """What a conditional update fails with that would make what is there already."""
    return Conflict(f"Nothing matches, but {type}/{id}, which the body's id names, is there already.")


def delete(context: Context, type: str, criteria: Criteria, *, if_match: int | None = None) -> Answer:
    """204, also where nothing matches. Several matches are deleted where the setting allows it."""
    now = context.services.clock()

    def work(transaction: Transaction) -> Version | None:
        deleted = [
            delete_in(context, transaction, type, found.id, if_match=if_match, now=now)
            for found in to_delete(context, transaction, type, criteria)
        ]
        integrity.check(context, transaction, deleted=[(type, each.id) for each in deleted if each is not None])
        return deleted[0] if len(deleted) == 1 else None

    version = context.services.store.write(context.tenant, work)
    return Answer(204, headers={} if version is None else {"ETag": f'W/"{version.version}"'})


def to_delete(context: Context, transaction: Transaction, type: str, criteria: Criteria) -> Sequence[Version]:
    """What a conditional delete deletes, in the transaction."""
    if context.services.settings.conditional_delete == "single":
        found = one(context, transaction, type, criteria)
        chosen: Sequence[Version] = () if found is None else (found,)
    else:
        transaction.hold(f"{type}?")
        chosen = matches(context, transaction, type, criteria, most=_MOST_DELETED + 1)
    if len(chosen) > _MOST_DELETED:
        raise PreconditionFailed(f"{told(type, criteria)!r} matches more than {_MOST_DELETED}: say less at once.")
    for each in chosen:
        authorise(context.principal, Asked("delete", type, each.id))
    return chosen
