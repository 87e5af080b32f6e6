"""Query, and the SearchIndex protocol: what a search asks and what an index answers.

grammar/ makes a Query of an HTTP query, extraction.py the index rows of a resource. sql/ answers from the
database that the resources are in, elasticsearch/ from a cluster beside it that an indexer fills. Search
parameters are data: see fhir.definitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from fhir_blob.fhir.definitions import SearchParameter
from fhir_blob.store import IndexEntries, Reader, Version


@dataclass(frozen=True, slots=True)
class Token:
    """system None: any, '': none; code None: any. In resources of these types alone, () in any."""

    system: str | None
    code: str | None
    types: tuple[str, ...] = ()


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
    """A date (microseconds), number or quantity: `prefix` against [low, high), the precision as written.

    `in_base`: against quantities in UCUM's base units, `code` being such a one.
    """

    prefix: str
    low: float
    high: float
    value: float
    system: str | None = None
    code: str | None = None
    in_base: bool = False


@dataclass(frozen=True, slots=True)
class Near:
    """A place in degrees, and how far from there is near."""

    latitude: float
    longitude: float
    metres: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The value of a parameter with the modifier :missing."""

    missing: bool


@dataclass(frozen=True, slots=True)
class Composite:
    """A part that is Missing(False) is whatever it is."""

    parts: tuple[Value, ...]


Value = Token | String | Reference | Uri | Range | Near | Missing | Composite


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter of the query: it matches when any of the values does.

    The modifier is one of search, or an operator of `_filter`, of one value, where search has none for it.
    """

    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """`subject:Patient.name=x`: a reference of this parameter goes to a resource that one of the ways accepts.

    A way is a target type and what a resource of it has to meet; local references alone are followed. Or what
    refers meets one of `inside`, which are the same of resources that are contained in it.
    """

    parameter: SearchParameter
    ways: tuple[tuple[str, Clause], ...]
    inside: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True)
class Has:
    """`_has:Observation:patient:code=x`: a `source` that meets the clause refers to it by this parameter.

    `_list=42` is the same, asked of a List: `_has:List:item:_id=42`.
    """

    source: str
    parameter: SearchParameter
    clause: Clause


@dataclass(frozen=True, slots=True)
class Compartment:
    """In the compartment of `type`/`id`: one of its type's `members` refers to that, or it is that itself."""

    type: str
    id: str
    members: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Words:
    """`_text` (the narrative) or `_content` (every text): of one of the alternatives all folded words stand in it."""

    parameter: Literal["_text", "_content"]
    alternatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Concerning:
    """Resources of these types have to meet the clause, those of others need not."""

    types: tuple[str, ...]
    clause: Clause


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of the clauses, two at least, is met."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the clauses, two at least, is met."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The clause is not met."""

    clause: Clause


Clause = Criterion | Chain | Has | Compartment | Words | Concerning | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=source:parameter:target`, or `_revinclude`; None is any, as is the source '*'.

    `iterates`: also asked of what was included.
    """

    source: str
    parameter: SearchParameter | None
    target: str | None = None
    iterates: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class SortKey:
    """`place` is where a distance is measured from: that of the parameter `near`."""

    parameter: SearchParameter
    descending: bool = False
    place: Near | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """All criteria must match, in resources of one of the types; no type is every type.

    `given` is what was understood, for the self link; `ignored` what was not, `blank` what had no value.
    `principal` is who asks: a cursor is good for nobody else.
    """

    types: tuple[str, ...]
    criteria: tuple[Clause, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = 20
    total: Literal["none", "accurate"] = "accurate"
    cursor: str | None = None
    includes: tuple[Include, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Matches in order; `cursor` is the key of the next page, None on the last one.

    `behind` says why the index may not have everything that was committed when the search came, '' if it has.
    """

    matches: tuple[Version, ...]
    total: int | None
    cursor: str | None
    behind: str = ""


class SearchIndex(Protocol):
    def search(self, reader: Reader, query: Query) -> Page:
        """One page. BadParameter for a cursor that is not of this query; Unavailable past the time limit."""


@dataclass(frozen=True, slots=True)
class Document:
    """A resource as an index outside the database has it; `entries` is None where it was deleted."""

    tenant: str
    type: str
    id: str
    version: int
    rid: int
    last_updated: int
    entries: IndexEntries | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A resource that the index will never take, and the reason, without a value of the resource in it."""

    tenant: str
    type: str
    id: str
    reason: str


class ExternalIndex(SearchIndex, Protocol):
    """An index outside the database, written after the commit by an indexer: any order, any number of times.

    Each type has one index behind an alias, and while it is rebuilt a second one, behind another alias.
    """

    def write(self, documents: Iterable[Document], *, rebuilding: Collection[str] = ()) -> tuple[Refused, ...]:
        """What it has in a higher version stays. Those of a type in `rebuilding` go into both indices.
        Unavailable where it is out of reach: then nothing is certain."""

    def refresh(self, types: Collection[str]) -> None:
        """Everything written is found from now on."""

    def widen(self, type: str) -> None:
        """Let the type's index take what search parameters ask for that came after it was made."""

    def begin(self, type: str) -> str:
        """An empty second index for the type, by its name; one that was left from before goes."""

    def fill(self, documents: Iterable[Document]) -> tuple[Refused, ...]:
        """As `write`, into the second index of their type alone."""

    def swap(self, type: str, built: str) -> None:
        """The second index takes the first one's place, which goes. Conflict where it is not the one built."""

    def held(self, type: str, *, after_rid: int, limit: int) -> tuple[Document, ...]:
        """What it holds of the type in order of rid, those with rid > after_rid; entries left out ({})."""

    def forget(self, documents: Iterable[Document]) -> None:
        """Take out what the store does not have."""

    def ping(self) -> None:
        """Unavailable where it is out of reach."""
