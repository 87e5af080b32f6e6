"""HL7's own test cases of FHIRPath Patch, and those that implementations of JSON Patch share.

Sources: https://github.com/FHIR/fhir-test-cases, r4/patch; https://github.com/json-patch/json-patch-tests
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from lxml import etree

from fhir_blob.errors import FhirError
from fhir_blob.fhir import codec, xml
from fhir_blob.fhir.patch import FHIR_JSON, JSON_PATCH, Patch
from tests.services import fhir_cases, json_patch_cases

LARGEST = 1_000_000
REFUSED = "refused"


def outcome(media_type: str, before: Any, document: Any) -> Any:
    """What the patch makes, with decimals as texts, so that 1.0 is not 1.00, and numbers no booleans."""
    try:
        return exact(Patch(media_type, document, LARGEST).apply(before))
    except FhirError:
        return REFUSED


def exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return f"#{value}" if isinstance(value, Decimal | bool) else value


def test_fhirpath_patch() -> None:
    """Every case of HL7's gives the resource that it says, or is refused where it says so."""
    count, different = 0, []
    for case in etree.parse(fhir_cases() / "patch" / "fhir-patch-tests.xml").getroot().iter("case"):
        parts = {each.tag: xml.parse(etree.tostring(each[0])) for each in case.iterchildren("input", "diff", "output")}
        expected = exact(parts["output"]) if case.find("error") is None else REFUSED
        count += 1
        if expected != outcome(FHIR_JSON, parts["input"], parts["diff"]):
            different.append(case.get("name"))

    assert (True, []) == (count > 30, different)


def test_json_patch_of_hl7() -> None:
    """The cases of RFC 6902's appendix A, as HL7 has them."""
    cases = json.loads((fhir_cases() / "patch" / "json-patch-tests.json").read_bytes(), parse_float=Decimal)

    assert (True, []) == (len(cases) > 10, differing(cases))


def test_json_patch() -> None:
    """The cases of json-patch-tests: what every implementation has to do and to refuse."""
    cases = list(shared_cases())

    assert (True, []) == (len(cases) > 90, differing(cases))


def shared_cases() -> Iterator[dict[str, Any]]:
    with tarfile.open(json_patch_cases()) as package:
        for name in ("package/tests.json", "package/spec_tests.json"):
            file = package.extractfile(name)
            assert file is not None
            cases = json.loads(file.read(), parse_float=Decimal)  # one has a key twice, which the codec refuses
            yield from (case for case in cases if not case.get("disabled"))


def differing(cases: list[dict[str, Any]]) -> list[Any]:
    """A case that expects nothing is one whose tests hold."""
    different = []
    for case in cases:
        expected = REFUSED if "error" in case else exact(case.get("expected", case["doc"]))
        if expected != outcome(JSON_PATCH, case["doc"], case["patch"]):
            different.append(case.get("comment") or case)
    return different


def test_numbers() -> None:
    """A test asks what a number is worth, not its digits; those of the resource stay; true is no 1."""
    resource = codec.parse(b'{"resourceType":"Observation","valueQuantity":{"value":1.00}}')
    tests = [
        (b'{"op":"test","path":"/valueQuantity/value","value":1.0}', True),
        (b'{"op":"test","path":"/valueQuantity","value":{"value":1}}', True),
        (b'{"op":"test","path":"/valueQuantity/value","value":true}', False),
        (b'{"op":"test","path":"/valueQuantity","value":{"value":1.01}}', False),
    ]

    found = [outcome(JSON_PATCH, resource, [codec.parse(b"[%b]" % text)[0]]) for text, _ in tests]

    assert [{"value": "#1.00"} if holds else REFUSED for _, holds in tests] == [
        each if each == REFUSED else each["valueQuantity"] for each in found
    ]
