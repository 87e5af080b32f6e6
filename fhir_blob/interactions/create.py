"""The create interaction: https://hl7.org/fhir/R4/http.html#create"""

from __future__ import annotations

from typing import Any

from fhir_blob.interactions import Answer, Context, drafts, incoming, integrity
from fhir_blob.interactions.read import answer
from fhir_blob.interactions.update import Written
from fhir_blob.store import Transaction


def create(context: Context, type: str, resource: dict[str, Any]) -> Answer:
    """201 with the resource under a new id; what its own id was does not count."""
    incoming.checked(context, resource, type)
    drafted = incoming.draft(context, resource, context.services.new_id())

    def work(transaction: Transaction) -> Written:
        version = drafts.put(transaction, drafted, None, context.services.clock(), "POST")
        return Written(version, True, integrity.check(context, transaction, (drafted,)))

    done = drafts.stored(context, drafted, work)
    return done.answered(answer(context, done.version, status=201, made=drafted.blobs))
