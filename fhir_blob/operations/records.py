"""Operations that answer with a searchset: a patient's record, a patient's documents.

Source: https://hl7.org/fhir/R4/operation-patient-everything.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context
from fhir_blob.interactions.read import current
from fhir_blob.interactions.search import answer, compartment, parsed
from fhir_blob.search import Clause, Concerning, Include, Query
from fhir_blob.search.grammar.clauses import Clauses

_PAGING = ("_count", "_cursor", "_total", "_elements", "_summary", "_format", "_pretty", "_attachments")


def everything(context: Context, id: str, pairs: Sequence[tuple[str, str]]) -> Answer:
    """200 with the patient's compartment, page by page, and what it refers to (practitioners, Binaries, ...).

    `start` and `end` bound the date of care of the types that have one, `_since` the last change, `_type`
    the types.
    """
    with context.services.store.read(context.tenant) as reader:
        current(reader, "Patient", id)
    asked = dict(pairs)
    taken = [pair for pair in pairs if pair[0] in (*_PAGING, "_type")]
    if "_since" in asked:
        taken.append(("_lastUpdated", f"ge{asked['_since']}"))
    query = parsed(context, None, taken, (compartment("Patient", id), *_in_care(context, asked)))
    given = [pair for pair in pairs if pair[0] in (*_PAGING, "_type", "_since", "start", "end")]
    referred = Include("*", None)
    return answer(context, f"Patient/{id}/$everything", _with(query, given, (referred,)))


def docref(context: Context, pairs: Sequence[tuple[str, str]]) -> Answer:
    """200 with the current documents of a patient.

    `patient` is required; `start` and `end` bound the time of care, `type` the kind of document.
    Source: https://hl7.org/fhir/us/core/STU3.1.1/OperationDefinition-docref.html
    """
    asked = dict(pairs)
    if not asked.get("patient"):
        raise BadParameter("$docref takes the parameter 'patient', the id of a Patient.")
    if asked.get("on-demand", "false") == "true":
        raise BadParameter("on-demand='true': this server makes no documents on demand.")
    taken = [("patient", asked["patient"]), ("status", "current")]
    taken += [("period", f"{bound}{asked[name]}") for name, bound in (("start", "ge"), ("end", "le")) if name in asked]
    taken += [("type", value) for name, value in pairs if name == "type"]
    taken += [pair for pair in pairs if pair[0] in _PAGING]
    query = parsed(context, "DocumentReference", taken)
    known = (*_PAGING, "patient", "start", "end", "type", "on-demand")
    given = [pair for pair in pairs if pair[0] in known]
    return answer(context, "DocumentReference/$docref", _with(query, given, ()))


def _with(query: Query, given: Sequence[tuple[str, str]], includes: tuple[Include, ...]) -> Query:
    return replace(query, given=tuple(given), includes=includes)


def _in_care(context: Context, asked: dict[str, str]) -> list[Clause]:
    """Types with a search parameter `date` have to meet the bounds; others have no date of care."""
    types = tuple(type for type in definitions().types if _has_date(type))
    found: list[Clause] = []
    for name, bound in (("start", "ge"), ("end", "le")):
        if name in asked:
            clause = Clauses(context.base).read(types, "date", f"{bound}{asked[name]}")
            if clause is None:
                raise BadParameter(f"{name} takes a date, not {asked[name][:60]!r}.")
            found.append(Concerning(types, clause))
    return found


def _has_date(type: str) -> bool:
    parameter = definitions().search_parameters(type).get("date")
    return parameter is not None and parameter.type == "date"
