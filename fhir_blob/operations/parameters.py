"""What an operation was given: a Parameters resource, a query, or both.

Source: https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_blob.errors import BadParameter, BadRequest, Invalid
from fhir_blob.fhir.validation import validate

_QUOTED = 60
_MEANT = re.compile(r"[\\,$|]")
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Parameters:
    """By name the values in their order, as JSON has them or, from the query, as texts; resources too."""

    values: dict[str, list[Any]] = field(default_factory=dict)

    def one(self, name: str) -> Any:
        """The only value; None without one, BadParameter for more."""
        found = self.values.get(name, [])
        if len(found) > 1:
            raise BadParameter(f"{name} can be given once, not {len(found)} times.")
        return found[0] if found else None

    def text(self, name: str) -> str:
        found = self.one(name)
        if found is not None and not isinstance(found, str):
            raise BadParameter(f"{name} takes a text, not {_quoted(found)}.")
        return found or ""

    def flag(self, name: str) -> bool:
        found = self.one(name)
        flag = _FLAGS.get(found) if isinstance(found, str) else found
        if flag not in (True, False, None):
            raise BadParameter(f"{name} takes true or false, not {_quoted(found)}.")
        return flag is True

    def number(self, name: str, *, default: int) -> int:
        found = self.one(name)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 10:
            found = int(found)
        if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 1):
            raise BadParameter(f"{name} takes a number from 1 on, not {_quoted(found)}.")
        return default if found is None else found

    def only(self, *names: str) -> None:
        """BadParameter for what the operation does not take."""
        unknown = next((name for name in self.values if name not in names), None)
        if unknown is not None:
            raise BadParameter(f"{unknown[:_QUOTED]!r} is none of the operation's parameters: {', '.join(names)}.")


def parameters(document: Any, query: Sequence[tuple[str, str]] = ()) -> Parameters:
    """BadRequest or Invalid unless the document, where there is one, is a Parameters resource."""
    found: dict[str, list[Any]] = {}
    for name, text in query:
        found.setdefault(name, []).append(text)
    if document is None:
        return Parameters(found)
    if not isinstance(document, dict) or document.get("resourceType") != "Parameters":
        given = document.get("resourceType") if isinstance(document, dict) else "no object"
        raise BadRequest(f"The operation takes a Parameters resource, not {_quoted(given)}.")
    given = document.get("parameter", [])
    hollow = [_hollow(each) for each in given] if isinstance(given, list) else given
    issues = validate({**document, "parameter": hollow}) if given else ()
    if any(issue.severity == "error" for issue in issues):
        raise Invalid("The Parameters are not valid.", issues=issues)
    for each in given:
        found.setdefault(each["name"], []).append(_value(each))
    return Parameters(found)


def as_query(given: Parameters) -> list[tuple[str, str]]:
    """The same as a query would have it: a code by system and code, a reference by its URL."""
    return [(name, _in_query(name, value)) for name, values in given.values.items() for value in values]


def _in_query(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) and isinstance(value.get("coding"), list):
        return ",".join(_in_query(name, each) for each in value["coding"])
    if isinstance(value, dict) and "code" in value:
        return f"{_escaped(value.get('system', ''))}|{_escaped(value['code'])}"
    if isinstance(value, dict) and "reference" in value:
        return str(value["reference"])
    if isinstance(value, dict | list) or value is None:
        raise BadParameter(f"{name[:_QUOTED]} takes a plain value.")
    return str(value)


def _escaped(text: Any) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return _MEANT.sub(r"\\\g<0>", str(text))


def _hollow(parameter: Any) -> Any:
    """A resource in it is not looked into: whether that is valid may be the question."""
    if not isinstance(parameter, dict) or "resource" not in parameter:
        return parameter
    return {name: value for name, value in parameter.items() if name != "resource"} | {"valueBoolean": True}


def _value(parameter: dict[str, Any]) -> Any:
    if "resource" in parameter:
        return parameter["resource"]
    return next((value for name, value in parameter.items() if name.startswith("value")), parameter.get("part"))


def _quoted(value: Any) -> str:
    return "an object" if isinstance(value, dict | list) else repr(str(value)[:_QUOTED])
