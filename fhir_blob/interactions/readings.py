"""The entries of a transaction that read, found in it once all is written, and answered after its commit.

What an index outside the database finds, and what operations do, is not the transaction's: see `Action.context`.
Source: https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from fhir_blob.errors import TookTooLong
from fhir_blob.interactions import Context, Found, history, read, search
from fhir_blob.interactions.entries import Action, at_entry
from fhir_blob.store import Transaction


class Readings:
    """Finds as long as one statement may take, all together: nobody else can write to SQLite meanwhile."""

    def __init__(self, context: Context, transaction: Transaction) -> None:
        self._transaction = transaction
        self._seconds = context.services.settings.statement_timeout

    def of(self, actions: Sequence[Action]) -> Mapping[int, Found]:
        """By number, of those that can be found there. What is not there fails the transaction."""
        found, until = {}, time.monotonic() + self._seconds
        for action in actions:
            if action.context is not None and is_found_inside(action.context, action.interaction):
                with at_entry(action.number):
                    if time.monotonic() > until:
                        raise TookTooLong(f"What the transaction reads takes longer than {self._seconds:g} s to find.")
                    found[action.number] = _FINDERS[action.interaction](action.context, self._transaction, action)
        return found


def is_found_inside(context: Context, interaction: str) -> bool:
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
