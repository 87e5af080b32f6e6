"""Referential integrity: what is referred to is there, and stays: https://hl7.org/fhir/R4/http.html#integrity

Of literal references to this server; the setting `integrity` says whether a broken one is refused, told or let be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from fhir_blob.errors import Conflict, Invalid, Issue
from fhir_blob.fhir.references import LocalReference
from fhir_blob.interactions import Context
from fhir_blob.search.sql.referrers import referrers
from fhir_blob.store import Transaction

_NAMED = 5
_QUOTED = 200


class Referring(Protocol):
    """What was written, and what it refers to: an drafts.Draft, or a binary.Taken."""

    @property
    def references(self) -> tuple[LocalReference, ...]: ...


def check(
    context: Context,
    transaction: Transaction,
    written: Sequence[Referring] = (),
    deleted: Sequence[tuple[str, str]] = (),
) -> tuple[Issue, ...]:
    """Whether all holds together once these were written and those deleted, at the end of their transaction.

    Warnings where the setting is `warn`; where it is `enforce`, Invalid for a reference to nothing and
    Conflict for a deletion of what is referred to.
    """
    mode = context.services.settings.integrity
    if mode == "off":
        return ()
    broken = tuple(_broken(transaction, written, "error" if mode == "enforce" else "warning"))
    if mode == "enforce":
        if broken:
            raise Invalid("What is referred to is not there.", issues=broken)
        for type, id in deleted:
            _check_deleted(transaction, type, id)
    return broken


def _broken(transaction: Transaction, written: Sequence[Referring], severity: str) -> Iterator[Issue]:
    wanted = {(each.type, each.id) for draft in written for each in draft.references if each.type}
    there = transaction.share(wanted) if wanted else {}
    for draft in written:
        for each in draft.references:
            why = _why_broken(transaction, there, each)
            if why:
                told = f"{each.path} is {each.value[:_QUOTED]!r}, {why}."
                yield Issue(severity, "not-found", told, each.path)


def _why_broken(transaction: Transaction, there: dict[tuple[str, str], int], each: LocalReference) -> str:
    if not each.type:
        return "which is not contained"
    current = there.get((each.type, each.id))
    if current is None:
        return "which is not there"
    if not each.version or each.version == str(current):
        return ""
    is_number = each.version.isascii() and each.version.isdigit() and len(each.version) < 19
    version = transaction.version(each.type, each.id, int(each.version)) if is_number else None
    return "" if version is not None and not version.deleted else "a version that is not there"


def _check_deleted(transaction: Transaction, type: str, id: str) -> None:
    current = transaction.current(type, id)
    if current is None or not current.deleted:
        return  # written again in the same transaction
    named = list(_first(_referring(transaction, type, id), _NAMED + 1))
    if named:
        more = " and others" if len(named) > _NAMED else ""
        raise Conflict(f"{type}/{id} is referred to by {', '.join(named[:_NAMED])}{more}: delete that first.")


def _referring(transaction: Transaction, type: str, id: str) -> Iterator[str]:
    """Those that were written under this setting, and those whose search parameters tell."""
    own = f"{type}/{id}"
    yield from (each for each in transaction.referrers(id if type == "Binary" else own) if each != own)
    yield from (each for each in referrers(transaction, type, id, limit=_NAMED + 1) if each != own)


def _first(names: Iterable[str], count: int) -> Iterable[str]:
    found: dict[str, None] = {}
    for each in names:
        found[each] = None
        if len(found) == count:
            break
    return found
