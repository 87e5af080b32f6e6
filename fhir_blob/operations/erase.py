"""`Patient/<id>/$erase`: a patient's compartment with all versions and all bytes, taken away for good.

It goes step by step, so that nobody who writes meanwhile waits for long. Each step takes a resource and leaves
a task for each of its objects in S3; the patient is the last. That all of it is to go is a task itself, written
first and finished with the patient: killed anywhere, it is gone on with when a server runs again.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fhir_blob.access import Principal
from fhir_blob.errors import FhirError, NotFound
from fhir_blob.fhir import codec
from fhir_blob.interactions import Answer, Context, Services
from fhir_blob.operations.belonging import PATIENT, Belonging, Plan
from fhir_blob.operations.removing import BINARY, Removal, Removed, security
from fhir_blob.store import Task, Transaction

T = TypeVar("T")
_KIND, _SCRUB = "erase-patient", "scrub"
_SECOND = 1_000_000
_LEASE, _BACKOFF = 10 * _SECOND, 5 * _SECOND
# So many plans are made at once; so long others are let in between two steps (seconds).
_BATCH, _PAUSE = 50, 0.002
_SCRUB_TRIES = 20
_NAMED = 1000

_Name = tuple[str, str, int]


@dataclass(slots=True)
class _Report:
    """`kept` by 'Type/id' with the reason, `referrers` are those outside that still name the patient."""

    removed: Removed = field(default_factory=Removed)
    kept: dict[str, str] = field(default_factory=dict)
    referrers: set[str] = field(default_factory=set)
    waiting: int = 0


def erase(context: Context, id: str) -> Answer:
    """200 with Parameters that tell what went, what was kept and why; the second time nothing goes any more.

    What belongs to another patient too is kept, and so is a Binary that something outside refers to. Where it
    fails (Unavailable, StorageFull) the server goes on with it by itself.
    """
    store, now = context.services.store, context.services.clock()
    with store.read(context.tenant) as reader:
        if reader.current(PATIENT, id) is None:
            raise NotFound(f"Patient/{id[:80]} is not known.")
    task = Task(_KIND, json.dumps({"id": id, "base": context.base}), not_before=now + _LEASE)
    number = store.write(context.tenant, lambda transaction: transaction.enqueue(task))
    report = _Erasing(context, id, replace(task, task=number)).run()
    with store.read(context.tenant) as reader:
        now = context.services.clock()
        report.waiting = sum(reader.waiting(kind, now=now) for kind in ("erase", _SCRUB))
    return Answer(200, codec.dump({"resourceType": "Parameters", "parameter": list(_told(report))}))


def run_due(services: Services, report: Callable[..., None]) -> bool:
    """Go on with what a server left that was killed, or could not go on; False where nothing is due."""
    store, now = services.store, services.clock()
    claimed = store.claim((_KIND, _SCRUB), now=now, lease=_LEASE, limit=1)
    for task in claimed:
        try:
            is_done = store.scrub() if task.kind == _SCRUB else _resumed(services, task)
        except FhirError as error:
            report("an erasure waits", error=str(error))
            store.postpone(task, not_before=now + _BACKOFF * task.attempts, error=str(error))
        else:
            if is_done:
                store.finish(task)
            else:
                store.postpone(task, not_before=now + _BACKOFF, error="A reader needs the log.")
    return bool(claimed)


def _resumed(services: Services, task: Task) -> bool:
    given = json.loads(task.payload)
    _Erasing(Context(services, Principal("erase", task.tenant), given["base"]), given["id"], task).run()
    return True


class _Erasing:
    """One try at a patient; `task` is leased for as long as it goes on."""

    def __init__(self, context: Context, id: str, task: Task) -> None:
        self._context, self._id, self._task = context, id, task
        self._store, self._name = context.services.store, f"{PATIENT}/{id}"
        self._report, self._seen = _Report(), set[_Name]()
        self._leased = time.monotonic()

    def run(self) -> _Report:
        """Whoever adds to the compartment meanwhile is looked for again, until nobody did when the patient goes."""
        with self._store.read(self._context.tenant) as reader:
            position = reader.position()
        names: Collection[_Name] = tuple(self._named())
        while True:
            self._take(names)
            names, position, scrubbing = self._step(self._last, position)
            if scrubbing is not None:
                self._scrub(scrubbing)
                self._report.kept |= self._report.removed.kept
                return self._report

    def _named(self) -> Iterator[_Name]:
        """All that was ever written is looked through, stretch by stretch."""
        after: int | None = 0
        while after is not None:
            with self._store.read(self._context.tenant) as reader:
                found, after = reader.naming(self._name, after=after)
            self._hold()
            yield from found

    def _take(self, names: Collection[_Name]) -> None:
        """All versions that name the patient; a resource that was changed between its plan and its turn again."""
        self._seen |= set(names)
        numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
        for type, id, number in names:
            if (type, id) != (PATIENT, self._id):
                numbers[type, id].append(number)
        secured = self._secured(numbers) if numbers else {}
        todo = sorted(numbers)
        while todo:
            batch, todo = todo[:_BATCH], todo[_BATCH:]
            with self._store.read(self._context.tenant) as reader:
                belonging = Belonging(self._context, reader, self._id)
                plans = [belonging.plan(type, id, numbers[type, id]) for type, id in batch]
            changed = self._carry_out([each for each in plans if each is not None], secured)
            todo += changed

    def _secured(self, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], set[str]]:
        """The Binaries whose security context is one of those."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        after: int | None = 0
        while after is not None:
            with self._store.read(self._context.tenant) as reader:
                stretch, after = reader.secured(after=after)
            self._hold()
            for id, body in stretch:
                for each in security(self._context, body):
                    if each in named:
                        found[each].add(id)
        return found

    def _carry_out(self, plans: Sequence[Plan], secured: dict[tuple[str, str], set[str]]) -> list[tuple[str, str]]:
        """What was changed since it was planned."""
        changed: list[tuple[str, str]] = []
        at = 0

        def several(removal: Removal, start: int) -> tuple[int, list[tuple[str, str]]]:
            done, outrun = start, list[tuple[str, str]]()
            while done < len(plans) and not removal.is_over:
                plan = plans[done]
                current = removal.transaction.lock(plan.type, plan.id)
                if current is None or current.version != plan.version:
                    outrun.append((plan.type, plan.id))
                elif not _carried_out(removal, plan, secured.get((plan.type, plan.id), ())):
                    break
                done += 1
            return done, outrun

        while at < len(plans):
            at, outrun = self._step(several, at)
            changed += outrun
        for plan in plans:
            if (plan.type, plan.id) not in changed:
                self._report.kept |= dict(plan.kept)
                self._report.referrers |= set(plan.referrers)
        return changed

    def _last(
        self, removal: Removal, position: tuple[int, int]
    ) -> tuple[tuple[_Name, ...], tuple[int, int], Task | None]:
        """The patient, unless something names it that did not before; with it the task ends, and one is left."""
        transaction = removal.transaction
        current = transaction.lock(PATIENT, self._id)
        now_at = transaction.position()
        found = transaction.naming_since(self._name, position)
        new = tuple(each for each in found if each not in self._seen and each[:2] != (PATIENT, self._id))
        if new:
            return new, now_at, None
        if current is not None and not removal.resource(current):
            return (), position, None
        transaction.finish(self._task.task)
        scrubbing = Task(_SCRUB, "{}", not_before=removal.now)
        return (), position, replace(scrubbing, task=transaction.enqueue(scrubbing))

    def _step(self, work: Callable[[Removal, Any], T], given: Any) -> T:
        def tried(transaction: Transaction) -> tuple[T, Removed]:
            removal = Removal(self._context, transaction, self._context.services.clock(), self._name)
            return work(removal, given), removal.removed

        result, removed = self._store.write(self._context.tenant, tried)
        self._report.removed.add(removed)
        self._hold()
        time.sleep(_PAUSE)
        return result

    def _hold(self) -> None:
        """Nobody else takes the task up while this one is at it."""
        if time.monotonic() - self._leased > _LEASE / _SECOND / 3:
            self._leased = time.monotonic()
            later = self._context.services.clock() + _LEASE
            self._store.postpone(self._task, not_before=later, error="")

    def _scrub(self, task: Task) -> None:
        """Once nobody reads, for which it waits a little; else a server does it later."""
        for _ in range(_SCRUB_TRIES):
            if self._store.scrub():
                return self._store.finish(task)
            time.sleep(_PAUSE * 10)


def _carried_out(removal: Removal, plan: Plan, secured: Collection[str]) -> bool:
    """False where some of it is left."""
    if plan.whole and plan.type == BINARY:
        return removal.binary(plan.id)
    if plan.whole:
        current = removal.transaction.current(plan.type, plan.id)
        return current is None or removal.resource(current, secured)
    return removal.superseded(plan.type, plan.id, plan.going, secured if plan.going else ())


def _told(report: _Report) -> Iterator[dict[str, Any]]:
    removed = report.removed
    counts = Counter(type for type, _ in removed.resources)
    for type in sorted(counts):
        ids = sorted(id for each, id in removed.resources if each == type)
        parts: list[dict[str, Any]] = [{"name": "type", "valueCode": type}]
        parts += [{"name": "count", "valueInteger": counts[type]}]
        parts += [{"name": "id", "valueId": each} for each in ids]
        yield {"name": "erased", "part": parts}
    yield {"name": "versions", "valueInteger": removed.versions}
    yield {"name": "objects", "valueInteger": removed.objects}
    yield {"name": "bytes", "valueDecimal": removed.bytes}
    for name, why in sorted(report.kept.items()):
        reference = {"name": "resource", "valueReference": {"reference": name}}
        yield {"name": "kept", "part": [reference, {"name": "reason", "valueString": why}]}
    for name in sorted(report.referrers)[:_NAMED]:
        yield {"name": "referrer", "valueReference": {"reference": name}}
    yield {"name": "waiting", "valueInteger": report.waiting}
