"""What belongs to a patient: for each resource that names the patient, which of its versions have to go.

Source: https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.references import local_references
from fhir_blob.interactions import Context
from fhir_blob.operations.removing import BINARY, secured, security, versions
from fhir_blob.search.extraction import extract
from fhir_blob.store import Reader, Version

PATIENT = "Patient"
_ANOTHERS = "It is another patient's record."


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a resource as long as `version` is its current one.

    `whole`: all of it goes; else the versions `going`, in that order. `kept` are names with reasons,
    `referrers` what names the patient and stays.
    """

    type: str
    id: str
    version: int
    whole: bool = False
    going: tuple[int, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    referrers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Belonging:
    """`reader` sees what is decided on; `id` is the patient's."""

    context: Context
    reader: Reader
    id: str

    def plan(self, type: str, id: str, numbers: Sequence[int]) -> Plan | None:
        """`numbers` are the versions that name the patient; None for what is not there."""
        current = self.reader.current(type, id)
        if current is None:
            return None
        if type == BINARY:
            return self._of_binary(current, numbers)
        kept, referrers = list[tuple[str, str]](), list[str]()
        if current.version in numbers:
            rows = self.reader.index_rows([current.rid])[current.rid].get("reference", ())
            why = self._why_kept(type, rows)
            if self._is_placed(type, rows) and not why:
                return Plan(type, id, current.version, whole=True)
            if self._is_placed(type, rows):
                kept.append((f"{type}/{id}", why))
            if self._is_named(current, rows):
                referrers.append(f"{type}/{id}")
        going = []
        for version in self._superseded(current, numbers):
            name, rows = f"{type}/{id}/_history/{version.version}", self._rows(version)
            why = self._why_kept(type, rows)
            if self._is_placed(type, rows) and not why:
                going.append(version.version)
            elif self._is_placed(type, rows):
                kept.append((name, why))
            elif self._is_named(version, rows):
                referrers.append(name)
        if going and current.deleted:
            going = [*self._unclaimed(current, numbers), *going]
        return Plan(type, id, current.version, False, tuple(going), tuple(kept), tuple(referrers))

    def _of_binary(self, current: Version, numbers: Sequence[int]) -> Plan | None:
        """It belongs to whom it is secured for now."""
        bodies = [current, *self._superseded(current, numbers)]
        naming = [each for each in bodies if (PATIENT, self.id) in security(self.context, each.body)]
        if not naming:
            return None
        why = secured(self.context, self.reader, current, f"{PATIENT}/{self.id}")
        whole = not why
        going = tuple(each.version for each in naming if each is not current)
        kept = () if whole else ((f"{BINARY}/{current.id}", why),)
        return Plan(BINARY, current.id, current.version, whole, () if whole else going, kept)

    def _superseded(self, current: Version, numbers: Sequence[int]) -> Iterator[Version]:
        for number in numbers:
            version = self.reader.version(current.type, current.id, number)
            if version is not None and number != current.version:
                yield version

    def _unclaimed(self, current: Version, numbers: Sequence[int]) -> Iterator[int]:
        """Versions of what is deleted and was the patient's, which name no other: they go before those that tell so."""
        for version in versions(self.reader, current.type, current.id):
            is_new = version.version not in (current.version, *numbers)
            if is_new and not (version.body and self._why_kept(version.type, self._rows(version))):
                yield version.version

    def _rows(self, version: Version) -> Sequence[Any]:
        return extract(codec.parse(version.body), base=self.context.base).get("reference", ())

    def _is_placed(self, type: str, rows: Iterable[Sequence[Any]]) -> bool:
        return any(row[3] == self.id for row in _placing(type, rows))

    def _is_named(self, version: Version, rows: Iterable[Sequence[Any]]) -> bool:
        """A text may well have the same words."""
        if any((row[2], row[3], row[5]) == (PATIENT, self.id, "") for row in rows):
            return True
        references = local_references(codec.parse(version.body), base=self.context.base)
        return any((each.type, each.id) == (PATIENT, self.id) for each in references)

    def _why_kept(self, type: str, rows: Iterable[Sequence[Any]]) -> str:
        """'' for what is this patient's alone; `rows` are of the reference index."""
        if type == PATIENT:
            return _ANOTHERS
        others = sorted({row[3] for row in _placing(type, rows) if row[3] != self.id})
        for each in others:
            other = self.reader.current(PATIENT, each)
            if other is not None and not other.deleted:
                return f"It is in the compartment of Patient/{each} too."
        return ""


def _placing(type: str, rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows that put a resource of the type into a patient's compartment."""
    codes = definitions().compartment(PATIENT).get(type, ())
    return [row for row in rows if row[0] in codes and row[2] == PATIENT and not row[5]]
