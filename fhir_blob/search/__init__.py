"""Query, and the SearchIndex protocol: what a search asks and what an index answers.

parser.py makes a Query of an HTTP query, extraction.py the index rows of a resource; sql.py answers
from the database that the resources are in. Search parameters are data: see fhir.definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from fhir_blob.fhir.definitions import SearchParameter
from fhir_blob.store import Reader, Version


@dataclass(frozen=True, slots=True)
class Token:
    """system None: any, '': none; code None: any."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class String:
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """As terms.target takes it apart: type None is any, url the base of another server or what has no type."""

    type: str | None
    id: str
    url: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Uri:
    value: str


@dataclass(frozen=True, slots=True)
class Range:
    """A date (microseconds), number or quantity: `prefix` against [low, high), the precision as written."""

    prefix: str
    low: float
    high: float
    value: float
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """The value of a parameter with the modifier :missing."""

    missing: bool


@dataclass(frozen=True, slots=True)
class Composite:
    parts: tuple[Value, ...]


Value = Token | String | Reference | Uri | Range | Missing | Composite


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter of the query: it matches when any of the values does."""

    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class SortKey:
    parameter: SearchParameter
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """All criteria must match. `given` is what was understood, for the self link; `ignored` what was not."""

    types: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = 20
    total: Literal["none", "estimate", "accurate"] = "accurate"
    cursor: str | None = None
    given: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Matches in order; `cursor` is the key of the next page, None on the last one."""

    matches: tuple[Version, ...]
    total: int | None
    cursor: str | None


class SearchIndex(Protocol):
    def search(self, reader: Reader, query: Query) -> Page:
        """One page. BadParameter for a cursor that is not of this query; Unavailable past the time limit."""
