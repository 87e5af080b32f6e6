"""`$expunge`: the versions of a resource that are not current, and their bytes, taken away for good.

The parameters are HAPI's: https://smilecdr.com/docs/fhir_repository/deleting_data.html
"""

from __future__ import annotations

import math

from fhir_blob.errors import BadParameter, Conflict, NotFound
from fhir_blob.fhir import codec
from fhir_blob.interactions import Answer, Context
from fhir_blob.operations.parameters import Parameters
from fhir_blob.operations.removing import BINARY, Removal, binaries, versions, whose
from fhir_blob.store import Transaction, Version

_LIMIT = 1000


def expunge(context: Context, type: str, id: str, given: Parameters) -> Answer:
    """200 with Parameters: `count` versions went, the oldest first, at most `limit`.

    Conflict for what is current and not deleted, and for a Binary that something refers to. Of what is
    deleted the deletion stays, without a body.
    """
    given.only("limit", "expungeDeletedResources", "expungePreviousVersions")
    of_deleted, previous = given.flag("expungeDeletedResources"), given.flag("expungePreviousVersions")
    limit = given.number("limit", default=_LIMIT)
    if not of_deleted and not previous:
        raise BadParameter("$expunge takes expungeDeletedResources or expungePreviousVersions, or both, as true.")

    def work(transaction: Transaction) -> int:
        current = transaction.lock(type, id)
        if current is None:
            raise NotFound(f"{type}/{id[:80]} is not known.")
        if not current.deleted and not previous:
            raise Conflict(f"{type}/{id} is not deleted: delete it first, or ask for expungePreviousVersions.")
        removal = Removal(context, transaction, context.services.clock(), until=math.inf)
        return _of_binary(removal, current, limit) if type == BINARY else _of_other(removal, current, limit)

    count = context.services.store.write(context.tenant, work)
    answer = {"resourceType": "Parameters", "parameter": [{"name": "count", "valueInteger": count}]}
    return Answer(200, codec.dump(answer))


def _of_binary(removal: Removal, current: Version, limit: int) -> int:
    """The bytes of a version are those of the highest blob version up to it."""
    transaction, id = removal.transaction, current.id
    blobs = transaction.lock_binary(id)
    referrers = transaction.referrers(id)
    if referrers:
        raise Conflict(f"Binary/{id} is referred to by {', '.join(referrers[:5])}: its versions stay.")
    going, staying = _parted(transaction, current, limit)
    count = transaction.purge(BINARY, id, [each.version for each in going])
    kept = [each.version for each in staying if not each.deleted]
    lowest = max((blob.version or 0 for blob in blobs if (blob.version or 0) <= min(kept)), default=0) if kept else None
    for blob in blobs:
        if lowest is None or (blob.version is not None and blob.version < lowest):
            removal.bytes(blob)
    return count


def _of_other(removal: Removal, current: Version, limit: int) -> int:
    """With a version go the Binaries that the server had made for the resource and nothing else names."""
    transaction, own = removal.transaction, f"{current.type}/{current.id}"
    going, staying = _parted(transaction, current, limit)
    named = set[str]().union(*(binaries(removal.context, each) for each in going))
    named -= set[str]().union(*(binaries(removal.context, each) for each in staying))
    count = transaction.purge(current.type, current.id, [each.version for each in going])
    for binary_id in sorted(named):
        blobs = transaction.lock_binary(binary_id)
        if whose(blobs) == {own} and not transaction.referrers(binary_id):
            while not removal.binary(binary_id):
                pass
    return count


def _parted(transaction: Transaction, current: Version, limit: int) -> tuple[list[Version], list[Version]]:
    oldest_first = list(versions(transaction, current.type, current.id))[::-1]
    going = [each for each in oldest_first if each.version != current.version][:limit]
    gone = {each.version for each in going}
    return going, [each for each in oldest_first if each.version not in gone]
