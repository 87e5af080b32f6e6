"""OperationOutcome: https://hl7.org/fhir/R4/operationoutcome.html"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from fhir_blob.errors import Issue


def outcome(issues: Iterable[Issue]) -> bytes:
    """The issues as an OperationOutcome in JSON."""
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]})


def _issue(issue: Issue) -> dict[str, object]:
    told: dict[str, object] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.diagnostics,
    }
    if issue.expression:
        told["expression"] = [issue.expression]
    return told
