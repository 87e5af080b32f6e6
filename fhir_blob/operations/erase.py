"""`Patient/<id>/$erase`: a patient's compartment with all versions and all bytes, taken away for good.

Everything in the database goes in one transaction, which leaves a task for each object in S3: killed before
it nothing has happened, killed after it the tasks are done when the server runs again.
Source: https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_blob.errors import NotFound
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.references import local_references
from fhir_blob.interactions import Answer, Context
from fhir_blob.interactions.search import compartment
from fhir_blob.operations.removing import BINARY, Removal, Removed, binaries
from fhir_blob.search import Query
from fhir_blob.search.extraction import extract
from fhir_blob.search.referrers import referrers
from fhir_blob.store import Reader, Transaction, Version

PATIENT = "Patient"
_PAGE = 500
_NAMED = 100


@dataclass(frozen=True, slots=True)
class _Traces:
    """What no index tells of the patient: old versions in the compartment, Binaries whose security context it is."""

    versions: tuple[tuple[str, str, int], ...]
    binaries: frozenset[str]


@dataclass(slots=True)
class _Report:
    """`kept` by 'Type/id' with the reason, `referrers` are those outside that still name the patient."""

    removed: Removed
    kept: dict[str, str] = field(default_factory=dict)
    referrers: tuple[str, ...] = ()
    waiting: int = 0


def erase(context: Context, id: str) -> Answer:
    """200 with Parameters that tell what went, what was kept and why; the second time nothing goes any more.

    What belongs to another patient too is kept, and so is a Binary that something outside refers to.
    """
    with context.services.store.read(context.tenant) as reader:
        if reader.current(PATIENT, id) is None:
            raise NotFound(f"Patient/{id[:80]} is not known.")
    traces = _traces(context, id)
    report = context.services.store.write(context.tenant, lambda transaction: _erased(context, transaction, id, traces))
    return Answer(200, codec.dump({"resourceType": "Parameters", "parameter": list(_told(report))}))


def _erased(context: Context, transaction: Transaction, id: str, traces: _Traces) -> _Report:
    now = context.services.clock()
    removal = Removal(context, transaction, now)
    report = _Report(removal.removed)
    transaction.lock(PATIENT, id)
    named = set(traces.binaries)
    for type, member in _members(context, transaction, id, report):
        named |= removal.resource(type, member)
    named |= removal.resource(PATIENT, id)
    for type, member, number in traces.versions:
        named |= _trace(removal, type, member, number)
    for binary_id in sorted(named):
        transaction.lock_binary(binary_id)
        outside = transaction.referrers(binary_id)
        if outside:
            report.kept[f"{BINARY}/{binary_id}"] = f"{outside[0]} refers to it."
        else:
            removal.binary(binary_id)
    report.referrers = referrers(transaction, PATIENT, id, limit=_NAMED)
    report.waiting = transaction.waiting("erase", now=now)
    return report


def _members(context: Context, transaction: Transaction, id: str, report: _Report) -> list[tuple[str, str]]:
    """(type, id) of the compartment, without the patient; what is another's too goes into the report as kept."""
    clause = compartment(PATIENT, id)
    query = Query((), (clause,), count=_PAGE, total="none", principal=context.principal.name)
    found: list[tuple[str, str]] = []
    for matches in _pages(context, transaction, query):
        rows = transaction.index_rows([each.rid for each in matches])
        for each in matches:
            why = _why_kept(transaction, each.type, id, rows[each.rid].get("reference", ()))
            if (each.type, each.id) == (PATIENT, id):
                continue
            if why:
                report.kept[f"{each.type}/{each.id}"] = why
            else:
                found.append((each.type, each.id))
    return sorted(found)


def _pages(context: Context, reader: Reader, query: Query) -> Iterator[tuple[Version, ...]]:
    while True:
        page = context.services.rows.search(reader, query)
        yield page.matches
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


def _why_kept(reader: Reader, type: str, id: str, rows: Iterable[Sequence[Any]]) -> str:
    """'' for what is this patient's alone; `rows` are of the reference index."""
    if type == PATIENT:
        return "It is another patient's record."
    others = sorted({row[3] for row in _placing(type, rows) if row[3] != id})
    for each in others:
        other = reader.current(PATIENT, each)
        if other is not None and not other.deleted:
            return f"It is in the compartment of Patient/{each} too."
    return ""


def _placing(type: str, rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows that put a resource of the type into a patient's compartment."""
    codes = definitions().compartment(PATIENT).get(type, ())
    return [row for row in rows if row[0] in codes and row[2] == PATIENT and not row[5]]


def _traces(context: Context, id: str) -> _Traces:
    """All that was ever written is looked through, stretch by stretch, for the patient's name."""
    found, secured = list[tuple[str, str, int]](), set[str]()
    after: int | None = 0
    while after is not None:
        with context.services.store.read(context.tenant) as reader:
            named, after = reader.naming(f"{PATIENT}/{id}", after=after)
            for type, member, number in named:
                version = reader.version(type, member, number)
                if version is None or (type, member) == (PATIENT, id):
                    continue
                if type == BINARY:
                    secured |= {member} if _is_secured(context, version, id) else set()
                elif _is_in_compartment(context, reader, version, id):
                    found.append((type, member, number))
    return _Traces(tuple(found), frozenset(secured))


def _is_secured(context: Context, version: Version, id: str) -> bool:
    references = local_references(codec.parse(version.body), base=context.base)
    return any((each.type, each.id) == (PATIENT, id) for each in references)


def _is_in_compartment(context: Context, reader: Reader, version: Version, id: str) -> bool:
    rows = extract(codec.parse(version.body), base=context.base).get("reference", ())
    is_member = any(row[3] == id for row in _placing(version.type, rows))
    return is_member and not _why_kept(reader, version.type, id, rows)


def _trace(removal: Removal, type: str, id: str, number: int) -> set[str]:
    """One old version goes; it may have gone with its resource."""
    transaction = removal.transaction
    transaction.lock(type, id)
    version = transaction.version(type, id, number)
    if version is None or not transaction.purge(type, id, [number]):
        return set()
    removal.removed.versions += 1
    if (type, id) not in removal.removed.resources:
        removal.removed.resources.append((type, id))
    return binaries(removal.context, version)


def _told(report: _Report) -> Iterator[dict[str, Any]]:
    removed = report.removed
    counts = Counter(type for type, _ in removed.resources)
    for type in sorted(counts):
        ids = sorted(id for each, id in removed.resources if each == type)
        parts: list[dict[str, Any]] = [{"name": "type", "valueCode": type}]
        parts += [{"name": "count", "valueInteger": counts[type]}]
        parts += [{"name": "id", "valueId": each} for each in ids]
        yield {"name": "erased", "part": parts}
    yield {"name": "versions", "valueInteger": removed.versions}
    yield {"name": "objects", "valueInteger": removed.objects}
    yield {"name": "bytes", "valueDecimal": removed.bytes}
    for name, why in report.kept.items():
        reference = {"name": "resource", "valueReference": {"reference": name}}
        yield {"name": "kept", "part": [reference, {"name": "reason", "valueString": why}]}
    for name in report.referrers:
        yield {"name": "referrer", "valueReference": {"reference": name}}
    yield {"name": "waiting", "valueInteger": report.waiting}
