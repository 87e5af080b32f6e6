"""The writes of a planned transaction made ready: their references resolved, their bytes in S3.

Everything that takes time is done here, so that the database is held for the writing alone.
Source: https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_blob.fhir import attachments, bundle
from fhir_blob.fhir.bundle import Names
from fhir_blob.interactions import Context, binary, drafts, incoming, parallel, read
from fhir_blob.interactions.binary import Taken
from fhir_blob.interactions.drafts import Draft
from fhir_blob.interactions.entries import Action, at_entry
from fhir_blob.interactions.patch import patched
from fhir_blob.interactions.planned import BINARY, Plan
from fhir_blob.store import Blob, Version


@dataclass(frozen=True, slots=True)
class Write:
    """A resource ready to be stored: a Draft, or a Taken for a Binary; `prior` is what a patch was applied to."""

    action: Action
    type: str
    id: str
    draft: Draft | None = None
    taken: Taken | None = None
    prior: Version | None = None

    @property
    def blobs(self) -> tuple[str, ...]:
        return self.draft.blobs if self.draft else self.taken.blobs if self.taken else ()

    def give_up(self, context: Context) -> None:
        """What is in S3 for it goes."""
        if self.draft is not None:
            drafts.abandon(context, self.draft.made)
        if self.taken is not None:
            binary.give_up(context, self.taken)


class Preparation:
    """Makes the writes of a plan; `writes` are those whose bytes are in S3 so far."""

    def __init__(self, context: Context, made: Plan, actions: Sequence[Action]) -> None:
        self.writes: list[Write] = []
        self._context, self._plan, self._actions = context, made, actions
        self._coming: dict[str, Blob | None] = {}
        full_urls = {
            action.full_url: "/".join(made.targets[action.number])
            for action in actions
            if action.full_url and action.number in made.targets
        }
        self._names = Names(full_urls, made.named)

    def run(self) -> None:
        """Binaries first, since others link them; what has bytes for S3 several at once."""
        wanted = [each for each in self._actions if each.number in self._plan.targets and not self._is_there(each)]
        for are_binaries in (True, False):
            actions = [action for action in wanted if (action.type == BINARY) is are_binaries]
            parallel.each(self._add, [action for action in actions if _has_data(action)])
            for action in actions:
                if action.number in self._plan.mentions:  # those that are made have used up theirs
                    self._add(action)
        self.writes.sort(key=lambda write: (write.type != BINARY, write.action.number))

    def _add(self, action: Action) -> None:
        with at_entry(action.number):
            self.writes.append(self._write(action))

    def _is_there(self, action: Action) -> bool:
        """A conditional create of what is there, or is made by another entry."""
        number = action.number
        return number in self._plan.same_as or (
            action.interaction == "create" and self._plan.found.get(number) is not None
        )

    def _write(self, action: Action) -> Write:
        type, id = self._plan.targets[action.number]
        prior = None
        if action.interaction != "create":
            with self._context.services.store.read(self._context.tenant) as reader:
                is_patch = action.interaction == "patch"
                prior = read.current(reader, type, id) if is_patch else reader.current(type, id)
        base = bundle.base_of(action.full_url)
        for mention in self._plan.mentions.pop(action.number):
            self._names.apply(mention, base)
        resource = action.resource
        if action.patch is not None and prior is not None:
            resource = patched(self._context, prior, action.patch)
        patched_one = prior if action.patch is not None else None
        if type == BINARY:
            taken = binary.take(self._context, resource, id, is_new=action.interaction == "create")
            self._coming[id] = None if taken.blob is None else taken.blob.with_(version=taken.blob.version or 1)
            return Write(action, type, id, taken=taken, prior=patched_one)
        there = prior if prior is not None and not prior.deleted else None
        drafted = incoming.draft(self._context, resource, id, prior=there, coming=self._coming)
        resource.clear()  # a large Bundle is held once
        return Write(action, type, id, draft=drafted, prior=patched_one)


def _has_data(action: Action) -> bool:
    if action.type == BINARY:
        return action.resource is not None and "data" in action.resource
    return action.resource is not None and attachments.has_data(action.resource)
