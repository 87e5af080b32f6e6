"""The entries of a batch or transaction: what each asks, what it is answered, and how a failure names it.

Source: https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

import orjson

from fhir_blob.errors import FhirError, Issue, TookTooLong
from fhir_blob.fhir.definitions import definitions
from fhir_blob.fhir.outcome import outcome
from fhir_blob.fhir.patch import Patch
from fhir_blob.interactions import Answer, Context, instant

Returned = Literal["minimal", "representation", "OperationOutcome"]
Criteria = tuple[tuple[str, str], ...]

# The answers to the entries have at most so many times the bytes of the largest request.
_TIMES = 4
# Of a Bundle with more mistakes the first are told.
_MOST = 500


@dataclass(frozen=True, slots=True)
class Action:
    """What the entry of that number asks, in the words of https://hl7.org/fhir/R4/http.html#summary

    `criteria` are those of a conditional interaction, None otherwise.
    `resource` is used up when it is stored. `context` is that of what is read, in the form that its URL asks for.
    """

    number: int
    interaction: str
    type: str = ""
    id: str = ""
    version: str = ""
    full_url: str = ""
    resource: Any = None
    patch: Patch | None = None
    criteria: Criteria | None = None
    if_match: int | None = None
    query: Criteria = ()
    context: Context | None = None


class Deadline:
    """A transaction holds the database as long as one statement may take: nobody else writes to SQLite meanwhile.

    What its entries ask is looked up by this; what they write, their number bounds.
    """

    def __init__(self, context: Context) -> None:
        self._seconds = context.services.settings.statement_timeout
        self._until = time.monotonic() + self._seconds

    def check(self) -> None:
        if time.monotonic() > self._until:
            raise TookTooLong(f"The transaction asks for more than can be found in {self._seconds:g} s.")


def most_answered(context: Context) -> int:
    """Bytes that the answers to the entries of a Bundle may have."""
    return _TIMES * context.services.settings.max_json_bytes


@contextmanager
def at_entry(number: int) -> Iterator[None]:
    """An error from in here names the entry, and the element in its resource."""
    try:
        yield
    except FhirError as error:
        error.issues = tuple(located(issue, number) for issue in error.issues)
        raise


def located(issue: Issue, number: int) -> Issue:
    """'Patient.gender' is 'Bundle.entry[3].resource.gender' there."""
    entry, path = f"Bundle.entry[{number}]", issue.expression
    if path is None:
        return replace(issue, diagnostics=f"{entry}: {issue.diagnostics}", expression=entry)
    first, _, rest = path.partition(".")
    if first == "Attachment":
        rest = ""  # it is not told which
    elif first not in definitions().types:
        rest = path
    place = ".".join(part for part in (entry, "resource", rest) if part)
    told = issue.diagnostics.removeprefix(f"{path}: ")
    return replace(issue, diagnostics=f"{place}: {told}", expression=place)


class Mistakes:
    """Collects what is wrong with each entry, to be told at once."""

    def __init__(self) -> None:
        self._errors: list[FhirError] = []

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        try:
            with at_entry(number):
                yield
        except FhirError as error:
            if error.status >= 500:
                raise
            self._errors.append(error)

    def add(self, error: FhirError) -> None:
        self._errors.append(error)

    def tell(self) -> None:
        """Raise the first error, with the issues of all."""
        if self._errors:
            first = self._errors[0]
            first.issues = tuple(issue for error in self._errors for issue in error.issues)[:_MOST]
            raise first


def answered(context: Context, returned: str, method: str, answer: Answer) -> bytes:
    """The entry of an answer: https://hl7.org/fhir/R4/bundle.html#transaction-response"""
    version, is_write = answer.version, method not in ("GET", "HEAD")
    response: dict[str, Any] = {"status": _status(answer.status)}
    entry: dict[str, Any] = {}
    if version is not None:
        url = f"{version.type}/{version.id}"
        if not version.deleted:
            entry["fullUrl"] = f"{context.base}/{url}"
        if is_write and not version.deleted:
            response["location"] = f"{url}/_history/{version.version}"
        response["etag"] = f'W/"{version.version}"'
        response["lastModified"] = instant(version.last_updated)
    elif "ETag" in answer.headers:
        response["etag"] = answer.headers["ETag"]
    if answer.body and method != "HEAD" and not (is_write and version is not None and returned != "representation"):
        assert isinstance(answer.body, bytes)  # raw bytes are asked of no entry
        entry["resource"] = orjson.Fragment(answer.body)
    issues = answer.warnings
    if is_write and version is not None and returned == "OperationOutcome":
        done = f"{version.type}/{version.id} is stored as version {version.version}."
        issues = (Issue("information", "informational", done), *issues)
    if issues:
        response["outcome"] = orjson.Fragment(outcome(issues))
    return orjson.dumps({**entry, "response": response})


def failed(error: FhirError) -> bytes:
    """The entry of a failure."""
    response: dict[str, Any] = {"status": _status(error.status), "outcome": orjson.Fragment(outcome(error.issues))}
    return orjson.dumps({"response": response})


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def by_number(entries: Mapping[int, bytes]) -> Sequence[bytes]:
    """In the order of the request."""
    return [entries[number] for number in sorted(entries)]
