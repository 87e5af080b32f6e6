"""Resources right or wrong in one point, by R4 or by a profile: the server's validation and HAPI's agree."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from fhir_blob.fhir import codec
from fhir_blob.fhir.profiling import conformance, constraints, published
from fhir_blob.fhir.validation import validate
from tests.validator.cases import CASES
from tests.validator.conformance import RESOURCES

KNOWN = {(each["resourceType"], each["url"]): codec.parse(json.dumps(each).encode()) for each in RESOURCES}
# Where HAPI 8.4 says nothing of what is wrong, or calls wrong what is right.
DEVIATIONS = {
    "range-date-less": "HAPI holds numbers and quantities against minValue and maxValue, but no dates",
    "range-time-more": "the same of a dateTime",
    "bound-second": "HAPI's terminology in memory wants of several codings each to be in the value set, R4 one",
    "unknown-profile": "HAPI has an error, the server a warning: it need not have every profile that a resource names",
    "questionnaire-deep": "HAPI reads the contentReference of a profile as that of R4's own Questionnaire",
    "at-end-other": "HAPI does not look at openAtEnd: http://hl7.org/fhir/resource-slicing-rules",
    "by-type-other": "HAPI's snapshot leaves out that the slicing of value[x] is closed",
    "by-target": "HAPI takes the type of a target from the target alone, here it is read off 'Patient/1' too",
    "of-patients-other": "the same of a targetProfile",
    "guide-either-target-other": "the same of two",
    "document-part": "HAPI counts a document's entries, sections and references from 1 on",
    "target": "the same of R4's own targets",
    "guide-shortcut-none": "HAPI's snapshot leaves out what stands below valueQuantity, short for a slice of value[x]",
    "guide-lab-code": "the same beside another such",
    "guide-lab-text": "the same of valueCodeableConcept",
    "guide-no-quantity": "HAPI takes a valueQuantity of a differential for the only type, though nobody says so",
    "guide-category": "HAPI has the slice a/b beside a: by R4's profiling.html#reslicing it is a part of a",
    "guide-category-none": "the same",
    "guide-category-many": "the same",
}
_NOT_IN_A_PATH = re.compile(r"/\*.*?\*/|\[url='[^']*'\]|\.ofType\(\w+\)|\[0\]")
_LAST = re.compile(r"\.[^.]+\Z")


def find(type: str, url: str) -> Mapping[str, Any] | None:
    return KNOWN.get((type, url.partition("|")[0])) or published.find(type, url)


def wrong(name: str) -> list[str | None]:
    """The elements with errors, as $validate tells them."""
    resource = codec.parse(json.dumps(CASES[name][0]).encode())
    issues = [
        *validate(resource),
        *constraints.check(resource, find),
        *conformance.check_own(resource, find),
    ]
    return [each.expression for each in issues if each.severity == "error"]


@pytest.mark.parametrize("name", CASES)
def test_ours(name: str) -> None:
    """Nothing is wrong but the one point that is meant."""
    element = CASES[name][1]

    assert ([element] if element else []) == wrong(name)


def test_as_hapi(found: list[tuple[str, str, str]]) -> None:
    """HAPI finds errors in the same resources, at the same element or at the one that holds it.

    It tells of what is missing, too much or in the wrong place at the holder.
    """
    theirs: dict[str, set[str]] = {name: set() for name in CASES}
    for file, place, _ in found:
        if file.startswith("case-"):
            theirs[file.removeprefix("case-").removesuffix(".json")].add(_NOT_IN_A_PATH.sub("", place))
    differing = {name for name, (_, element) in CASES.items() if not _agree(theirs[name], element)}

    assert set(DEVIATIONS) == differing


def _agree(theirs: set[str], element: str) -> bool:
    ours = _NOT_IN_A_PATH.sub("", element)
    return theirs <= {ours, _LAST.sub("", ours)} if element and theirs else not element and not theirs
