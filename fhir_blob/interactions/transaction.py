"""The transaction interaction, all or nothing: https://hl7.org/fhir/R4/http.html#transaction

The entries are stored in the order DELETE, POST, PUT and PATCH, whatever their order in the Bundle; what
their criteria match is decided first, what conditional references mean last: #trules.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fhir_blob.errors import BadRequest, Conflict, Invalid, Issue, PreconditionFailed
from fhir_blob.interactions import (
    Answer,
    Context,
    Found,
    binary,
    conditional,
    drafts,
    integrity,
    outgoing,
    parallel,
    planned,
)
from fhir_blob.interactions.conditional import Moved
from fhir_blob.interactions.delete import delete_in
from fhir_blob.interactions.entries import Action, Criteria, Deadline, Mistakes, at_entry
from fhir_blob.interactions.planned import BINARY, Learned, Plan
from fhir_blob.interactions.prepared import Preparation, Write
from fhir_blob.interactions.readings import readings
from fhir_blob.interactions.update import replaced
from fhir_blob.store import Method, Reader, Transaction, Version

_TRIES = 10
_ANSWERED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Done:
    """What an entry came to; `made` are the blobs that came with it."""

    status: int
    version: Version | None
    made: tuple[str, ...] = ()
    warnings: tuple[Issue, ...] = ()

    @property
    def has_body(self) -> bool:
        return self.version is not None and not self.version.deleted


class _Learned(Moved):
    """Something else matches than was guessed."""

    def __init__(self, learned: Learned) -> None:
        super().__init__("Something else matches by now.")
        self.learned = learned


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the entries came to, by their numbers: those that write, and those that read."""

    dones: Mapping[int, Done]
    found: Mapping[int, Found]


def transaction(context: Context, actions: Callable[[], Sequence[Action]]) -> Outcome:
    """What the entries came to; whatever fails fails them all.

    `actions` gives the entries anew each time that it is called: storing them uses them up. What is read is
    found in the transaction, after all is written, but for what no transaction can find: see readings.
    """
    learned = Learned()
    for attempt in range(_TRIES):
        time.sleep(random.uniform(0, 0.05 * attempt))
        given = actions()
        planned.check(context, given)
        try:
            return _once(context, given, learned)
        except _Learned as moved:
            learned.names.update(moved.learned.names)
            learned.matches.update(moved.learned.matches)
        except Moved:
            continue
    raise Conflict("Other writers have been faster, again and again.")


def _once(context: Context, actions: Sequence[Action], learned: Learned) -> Outcome:
    with context.services.store.read(context.tenant) as reader:
        plan = planned.plan(context, reader, actions, learned)
    prepared = Preparation(context, plan, actions)
    try:
        prepared.run()
        return context.services.store.write(
            context.tenant, lambda transaction: _Work(context, transaction, actions, plan, prepared.writes).run()
        )
    except BaseException:
        for write in prepared.writes:
            write.give_up(context)
        raise


class _Work:
    """The writing, in its one transaction."""

    def __init__(
        self,
        context: Context,
        transaction: Transaction,
        actions: Sequence[Action],
        plan: Plan,
        writes: Sequence[Write],
    ) -> None:
        self._context, self._transaction = context, transaction
        self._actions, self._plan, self._writes = actions, plan, writes
        self._now = context.services.clock()
        self._done: dict[int, Done] = {}
        self._deadline = Deadline(context)

    def run(self) -> Outcome:
        deleted = self._delete()
        self._decide_criteria()
        for write in self._writes:
            if write.action.interaction == "create":
                with at_entry(write.action.number):
                    self._done[write.action.number] = self._create(write)
        changed = (write for write in self._writes if write.action.interaction != "create")
        for write in sorted(changed, key=lambda write: (write.type != BINARY, write.type, write.id)):
            with at_entry(write.action.number):
                self._done[write.action.number] = self._update(write)
        self._find()
        self._check_criteria()
        self._check_references()
        self._check_integrity(deleted)
        return Outcome(self._done, readings(self._context, self._transaction, self._actions, self._deadline))

    def _decide_criteria(self) -> None:
        """In the alphabetical order of types, so that two transactions wait for each other and not for ever."""
        learned = Learned()
        for action in sorted(self._actions, key=lambda action: action.type):
            if action.number not in self._plan.found or action.criteria is None:
                continue
            with at_entry(action.number):
                self._deadline.check()
                found = conditional.one(self._context, self._transaction, action.type, action.criteria)
            guess = self._plan.found[action.number]
            if (found and found.id) != (guess and guess.id):
                learned.matches[action.type, action.criteria] = found
        if learned.matches:
            raise _Learned(learned)

    def _delete(self) -> list[tuple[Action, str]]:
        """Binaries last: what refers to them may go in the same transaction."""
        written, deleted = {(write.type, write.id) for write in self._writes}, []
        deletions = [action for action in self._actions if action.interaction == "delete"]
        for action in sorted(deletions, key=lambda action: (action.type == BINARY, action.type, action.id)):
            with at_entry(action.number):
                versions = []
                for id in self._to_delete(action):
                    if (action.type, id) in written:
                        raise BadRequest(f"{action.type}/{id} is written by another entry, and cannot be deleted too.")
                    versions.append(self._delete_one(action, id))
                    deleted.append((action, id))
                self._done[action.number] = Done(204, versions[0] if len(versions) == 1 else None)
        return deleted

    def _to_delete(self, action: Action) -> Sequence[str]:
        if action.criteria is None:
            return (action.id,)
        found = conditional.to_delete(self._context, self._transaction, action.type, action.criteria)
        return sorted(version.id for version in found)

    def _delete_one(self, action: Action, id: str) -> Version | None:
        return delete_in(self._context, self._transaction, action.type, id, now=self._now, if_match=action.if_match)

    def _create(self, write: Write) -> Done:
        if write.taken is not None:
            return Done(201, binary.create_in(self._context, self._transaction, write.taken), write.blobs)
        assert write.draft is not None
        version = drafts.put(self._transaction, write.draft, None, self._now, "POST")
        return Done(201, version, write.blobs)

    def _update(self, write: Write) -> Done:
        current = self._replaced(write)
        is_patch = write.prior is not None
        if write.taken is not None:
            method: Method = "PATCH" if is_patch else "PUT"
            is_new = current is None
            version, created = binary.update_in(
                self._context, self._transaction, write.taken, None, method, is_new=is_new
            )
            return Done(201 if created else 200, version, write.blobs)
        assert write.draft is not None
        version = drafts.put(self._transaction, write.draft, current, self._now, "PATCH" if is_patch else "PUT")
        return Done(201 if current is None or current.deleted else 200, version, write.blobs)

    def _replaced(self, write: Write) -> Version | None:
        """What is there now, as the entry wants it to be."""
        action = write.action
        if action.number in self._plan.fresh and not action.if_match:
            return None
        current = replaced(self._context, self._transaction, write.type, write.id, action.if_match)
        there = current is not None and not current.deleted
        if write.prior is not None and (current is None or current.version != write.prior.version):
            raise Moved(f"{write.type}/{write.id} was changed meanwhile.")
        if there and action.interaction == "update" and action.criteria and self._plan.found[action.number] is None:
            raise conditional.taken(write.type, write.id)
        return current

    def _find(self) -> None:
        """The conditional creates of what was there already, or was made by another entry."""
        for number, found in self._plan.found.items():
            if number not in self._done and found is not None:
                current = self._transaction.current(found.type, found.id)
                self._done[number] = Done(200, current)
        for number, first in self._plan.same_as.items():
            self._done[number] = Done(200, self._done[first].version)

    def _check_criteria(self) -> None:
        """Once all is stored they match one resource at most: else it depended on the order of the entries."""
        numbers = {write.action.number for write in self._writes}
        written = Counter(write.type for write in self._writes)
        for action in self._actions:
            decided = action.interaction in ("create", "update") and action.number in self._plan.found
            others = written[action.type] - (action.number in numbers)
            if decided and others and action.criteria is not None:
                with at_entry(action.number):
                    self._deadline.check()
                    self._check_one(action.type, action.criteria)

    def _check_one(self, type: str, criteria: Criteria) -> None:
        if len(conditional.matches(self._context, self._transaction, type, criteria)) > 1:
            told = conditional.told(type, criteria)
            raise PreconditionFailed(f"{told!r} matches more than one {type} once the entries are stored.")

    def _check_references(self) -> None:
        learned = Learned()
        for text, (type, criteria, number) in self._plan.conditional.items():
            with at_entry(number):
                self._deadline.check()
                matches = conditional.matches(self._context, self._transaction, type, criteria)
                found = conditional.only(type, criteria, matches)
                if found is None:
                    raise planned.unmatched(text)
                learned.names[text] = f"{type}/{found.id}"
        if any(self._plan.named.get(text) != name for text, name in learned.names.items()):
            raise _Learned(learned)

    def _check_integrity(self, deleted: Sequence[tuple[Action, str]]) -> None:
        """Once for all; where something is broken, entry by entry, to say where."""
        written = {write.action.number: write.draft or write.taken for write in self._writes}
        stored = {number: each for number, each in written.items() if each is not None}
        try:
            broken = integrity.check(self._context, self._transaction, tuple(stored.values()))
        except Invalid as error:
            broken = error.issues
        if broken:
            mistakes = Mistakes()
            for number, each in stored.items():
                with mistakes.of(number):
                    self._warn(number, integrity.check(self._context, self._transaction, (each,)))
            mistakes.tell()
        for action, id in deleted:
            with at_entry(action.number):
                integrity.check(self._context, self._transaction, deleted=((action.type, id),))

    def _warn(self, number: int, warnings: tuple[Issue, ...]) -> None:
        done = self._done[number]
        self._done[number] = Done(done.status, done.version, done.made, warnings)


def answers(context: Context, dones: Mapping[int, Done], *, bodies: bool) -> Iterator[tuple[int, Answer]]:
    """The answers to the entries, with their bodies if those are wanted, signed after the commit."""
    numbers = list(dones)
    for start in range(0, len(numbers), _ANSWERED_AT_ONCE):
        part = {number: dones[number] for number in numbers[start : start + _ANSWERED_AT_ONCE]}
        shown = [done for done in part.values() if done.has_body]
        texts = iter(_bodies(context, shown) if bodies else ())
        for number, done in part.items():
            body = next(texts) if bodies and done.has_body else b""
            yield number, Answer(done.status, body, done.version, warnings=done.warnings)


def _bodies(context: Context, shown: Sequence[Done]) -> list[bytes]:
    versions = [done.version for done in shown if done.version is not None]
    with context.services.store.read(context.tenant) as reader:
        blobs = _blobs(reader, versions)
    made = {id for done in shown for id in done.made}
    old = {key: blob for key, blob in blobs.items() if blob.id not in made}  # of new ones nothing can be there
    return _read_at_once(context, versions, {**blobs, **outgoing.settle(context, old)})


def _read_at_once(context: Context, versions: Sequence[Version], blobs: outgoing.Blobs) -> list[bytes]:
    """What came with data is answered with it, read from S3."""
    texts = [b""] * len(versions)

    def read(number: int) -> None:
        texts[number] = outgoing.bodies(context, (versions[number],), blobs)[0]

    with_slots = [number for number, version in enumerate(versions) if version.slots]
    parallel.each(read, with_slots)
    for number in set(range(len(versions))).difference(with_slots):
        read(number)
    return texts


def _blobs(reader: Reader, versions: Sequence[Version]) -> outgoing.Blobs:
    blobs = outgoing.blobs_of(reader, versions)
    for version in versions:
        if version.type == BINARY and version.version > 1:
            blobs = outgoing.with_offer(blobs, version.id, reader.offered(version.id))
    return blobs
