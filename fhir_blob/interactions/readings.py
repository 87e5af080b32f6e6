"""The entries of a transaction that read, found in it once all is written, and answered after its commit.

What an index outside the database finds, and what operations do, is not the transaction's: see `Action.context`.
Source: https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fhir_blob.errors import TooLarge
from fhir_blob.interactions import Context, Found, history, read, search
from fhir_blob.interactions.entries import Action, Deadline, at_entry, most_answered
from fhir_blob.store import Transaction


def readings(
    context: Context, transaction: Transaction, actions: Sequence[Action], deadline: Deadline
) -> Mapping[int, Found]:
    """By number, of those that can be found there. What is not there fails the transaction."""
    found, left = {}, most_answered(context)
    for action in actions:
        if action.context is None or not _is_found_inside(action.context, action.interaction):
            continue
        with at_entry(action.number):
            deadline.check()
            each = found[action.number] = _FINDERS[action.interaction](action.context, transaction, action)
            left -= each.size
            if left < 0:
                raise TooLarge(f"The entries ask for more than the {most_answered(context)} bytes answered at once.")
    return found


def _is_found_inside(context: Context, interaction: str) -> bool:
    """Whether the transaction itself can find it."""
    is_elsewhere = context.services.external is not None and interaction in _SEARCHES
    return interaction in _FINDERS and not is_elsewhere


def _read(context: Context, transaction: Transaction, action: Action) -> Found:
    return read.find(context, transaction, action.type, action.id)


def _vread(context: Context, transaction: Transaction, action: Action) -> Found:
    return read.find_numbered(context, transaction, action.type, action.id, action.version)


def _history(context: Context, transaction: Transaction, action: Action) -> Found:
    return history.find(context, transaction, action.type or None, action.id or None, action.query)


def _search(context: Context, transaction: Transaction, action: Action) -> Found:
    query = search.parsed(context, action.type or None, action.query)
    return search.find(context, transaction, action.type, query)


_SEARCHES = ("search-type", "search-system")
_FINDERS: Mapping[str, Callable[[Context, Transaction, Action], Found]] = {
    "read": _read,
    "vread": _vread,
    **dict.fromkeys(_SEARCHES, _search),
    **dict.fromkeys(("history-instance", "history-type", "history-system"), _history),
}
