"""Logic of three values, None being what is not known: https://hl7.org/fhirpath/N1/#boolean-logic

Of the answers no more are asked for than decide.
"""

from __future__ import annotations

from collections.abc import Iterable


def any_of(answers: Iterable[bool | None]) -> bool | None:
    """True where one is, else None where one is, else False."""
    return _decided(answers, by=True)


def all_of(answers: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is, else True."""
    return _decided(answers, by=False)


def negated(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _decided(answers: Iterable[bool | None], *, by: bool) -> bool | None:
    found: bool | None = not by
    for each in answers:
        if each is by:
            return by
        found = None if each is None else found
    return found
