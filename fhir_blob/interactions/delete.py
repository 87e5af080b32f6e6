"""The delete interaction: https://hl7.org/fhir/R4/http.html#delete"""

from __future__ import annotations

from fhir_blob.errors import Conflict, PreconditionFailed
from fhir_blob.interactions import Answer, Context, integrity
from fhir_blob.store import Transaction, Version


def delete(context: Context, type: str, id: str, *, if_match: int | None = None) -> Answer:
    """204, also where there is nothing to delete. Conflict for what is still referred to: a Binary always,
    anything else by the setting `integrity`.

    The bytes of a Binary go with it, and with a resource go the Binaries that the server made for it.
    """
    now = context.services.clock()

    def work(transaction: Transaction) -> Version | None:
        version = delete_in(context, transaction, type, id, if_match=if_match, now=now)
        integrity.check(context, transaction, deleted=() if version is None else ((type, id),))
        return version

    version = context.services.store.write(context.tenant, work)
    return Answer(204, headers={} if version is None else {"ETag": f'W/"{version.version}"'})


def delete_in(
    context: Context, transaction: Transaction, type: str, id: str, *, now: int, if_match: int | None = None
) -> Version | None:
    """The deletion, in the transaction; None where there was nothing."""
    current = transaction.lock(type, id)
    there = current is not None and not current.deleted
    if if_match is not None and not (there and current is not None and current.version == if_match):
        raise PreconditionFailed(f'If-Match is W/"{if_match}", but that is not the current version of {type}/{id}.')
    if current is None or not there:
        return None
    if type == "Binary":
        _release_bytes(context, transaction, id, now)
    version = transaction.put(_deletion(current, now), {}, expected=current.version)
    transaction.refer(type, id, version.version, ())
    for binary_id in _owned(transaction, f"{type}/{id}"):
        delete_in(context, transaction, "Binary", binary_id, now=now)
    return version


def _deletion(current: Version, now: int) -> Version:
    return Version(current.type, current.id, current.version + 1, now, "DELETE", b"")


def _release_bytes(context: Context, transaction: Transaction, binary_id: str, now: int) -> None:
    transaction.lock_binary(binary_id)
    referrers = transaction.referrers(binary_id)
    if referrers:
        raise Conflict(f"Binary/{binary_id} is referred to by {', '.join(referrers[:5])}: delete that first.")
    context.services.lifecycle.delete(transaction, binary_id, now=now)


def _owned(transaction: Transaction, owner: str) -> list[str]:
    """The Binaries made for the resource that nothing else refers to."""
    owned = sorted({blob.binary_id for blob in transaction.blobs_owned_by(owner)})
    for binary_id in owned:
        transaction.lock_binary(binary_id)
    return [binary_id for binary_id in owned if not transaction.referrers(binary_id)]
