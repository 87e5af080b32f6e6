"""Is a resource what R4 says its type is? Every problem is listed, by its FHIRPath, in one sentence.

Each structure is compiled once to a table of its elements; a resource is one walk along these tables.
Source: https://hl7.org/fhir/R4/validation.html and each type's StructureDefinition
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_blob.errors import Issue
from fhir_blob.fhir import invariants
from fhir_blob.fhir.definitions import Element, definitions
from fhir_blob.fhir.primitives import CHECKS, Check

_MOST = 100
_QUOTED = 60
_ALL_CODES = 12


@dataclass(frozen=True, slots=True)
class _Field:
    """A JSON property: `check` for a primitive, `type` to go on with for anything else.

    `choice` is the stem of a value[x], which may be there in one form only.
    """

    name: str
    type: str
    check: Check | None
    is_list: bool
    choice: str
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Structure:
    """`required`: for each element that has to be there, the properties that will do."""

    fields: Mapping[str, _Field]
    required: tuple[tuple[str, tuple[str, ...]], ...]
    invariants: tuple[invariants.Invariant, ...]


# Where in the resource: the place above, the element's name, its index in a list or -1.
_At = tuple[Any, str, int]


def validate(resource: Any, *, lenient: bool = False, type: str | None = None) -> tuple[Issue, ...]:
    """What is wrong with the resource; () where it is valid.

    `lenient` makes warnings of unknown elements and of codes outside a required binding. `type`
    is the one it has to be.
    """
    walk = _Walk("warning" if lenient else "error")
    if type is not None and isinstance(resource, dict) and resource.get("resourceType") != type:
        walk.tell((None, type, -1), "structure", f"the resource is no {type}.")
    else:
        walk.resource(resource, None, "")
    return tuple(walk.issues)


class _Walk:
    def __init__(self, soft: str) -> None:
        self.issues: list[Issue] = []
        self._soft = soft

    def tell(self, at: _At, code: str, sentence: str, *, severity: str = "error") -> None:
        if len(self.issues) < _MOST:
            path = _path(at)
            self.issues.append(Issue(severity, code, f"{path}: {sentence}", path))

    def resource(self, value: Any, at: _At | None, name: str) -> None:
        """A resource of its own: the root, a contained one, one in a Bundle or in Parameters."""
        type = value.get("resourceType") if isinstance(value, dict) else None
        here: _At = at or (None, type if isinstance(type, str) and type else "Resource", -1)
        if not isinstance(value, dict):
            self.tell(here, "structure", "a resource has to be a JSON object.")
        elif not isinstance(type, str) or type not in definitions().types:
            self.tell(here, "structure", f"resourceType is {_quoted(type)}, which is no resource type of R4.")
        else:
            self.object(value, type, here, is_resource=True)
            for told in invariants.of_resource(value, is_contained=name == "contained"):
                self._broken(told, here)

    def object(self, value: Any, type: str, at: _At, *, is_resource: bool = False) -> None:
        if not isinstance(value, dict):
            self.tell(at, "structure", f"{_quoted(value)} is no {type}: it has to be a JSON object.")
            return
        if not value:
            self.tell(at, "structure", "an object may not be empty.")
            return
        structure = _structure(type)
        fields, chosen = structure.fields, None
        for name, each in value.items():
            field = fields.get(name)
            if field is None:
                if not (is_resource and name == "resourceType"):
                    self._extended(value, name, each, fields, at)
                continue
            if field.choice:
                chosen = self._choose(chosen, field, at)
            if field.is_list:
                self._list(value, each, field, at)
            else:
                self._one(each, field, (at, field.choice or name, -1))
        for name, properties in structure.required:
            if not any(each in value for each in properties):
                self.tell((at, name, -1), "required", "is missing.")
        for invariant in structure.invariants:
            told = invariant(value)
            if told is not None:
                self._broken(told, at)

    def _choose(self, chosen: dict[str, str] | None, field: _Field, at: _At) -> dict[str, str]:
        chosen = chosen or {}
        first = chosen.setdefault(field.choice, field.name)
        if first != field.name:
            self.tell((at, field.choice, -1), "structure", f"{first} and {field.name} cannot both be there.")
        return chosen

    def _list(self, owner: Mapping[str, Any], value: Any, field: _Field, at: _At) -> None:
        if not isinstance(value, list):
            self.tell((at, field.name, -1), "structure", f"{_quoted(value)} has to be a list.")
            return
        if not value:
            self.tell((at, field.name, -1), "structure", "a list may not be empty.")
        for index, each in enumerate(value):
            if each is None and field.check is not None:
                self._null(owner, field.name, index, at)
            else:
                self._one(each, field, (at, field.name, index))

    def _null(self, owner: Mapping[str, Any], name: str, index: int, at: _At) -> None:
        """In a list null holds the place of a value that has extensions only."""
        beside = owner.get(f"_{name}")
        if not (isinstance(beside, list) and index < len(beside) and beside[index]):
            self.tell((at, name, index), "structure", "null stands for nothing here.")

    def _one(self, value: Any, field: _Field, at: _At) -> None:
        check = field.check
        if check is not None:
            if not check(value):
                self.tell(at, "value", f"{_quoted(value)} is no {field.type}.")
            elif field.codes and value not in field.codes:
                self.tell(at, "code-invalid", _not_one_of(value, field.codes), severity=self._soft)
        elif field.type == "Resource":
            self.resource(value, at, field.name)
        else:
            self.object(value, field.type, at)

    def _extended(self, owner: Mapping[str, Any], name: str, value: Any, fields: Mapping[str, _Field], at: _At) -> None:
        """A property beside a primitive: `_birthDate` holds the id and extensions of `birthDate`."""
        field = fields.get(name[1:]) if name[:1] == "_" else None
        if field is None or field.check is None:
            self.tell((at, name[:_QUOTED], -1), "structure", "is an unknown element.", severity=self._soft)
        elif not field.is_list:
            self.object(value, "Element", (at, field.choice or field.name, -1))
        elif not isinstance(value, list) or not value:
            self.tell((at, name, -1), "structure", "has to be a list that is not empty.")
        else:
            self._beside(owner.get(field.name), value, field, at)

    def _beside(self, values: Any, extensions: list[Any], field: _Field, at: _At) -> None:
        if isinstance(values, list) and len(values) != len(extensions):
            self.tell((at, field.name, -1), "structure", f"it and _{field.name} have to have the same length.")
        for index, each in enumerate(extensions):
            if each is not None:
                self.object(each, "Element", (at, field.name, index))
            elif not (isinstance(values, list) and index < len(values) and values[index] is not None):
                self.tell((at, field.name, index), "structure", "null stands for nothing here.")

    def _broken(self, told: invariants.Broken, at: _At) -> None:
        for name in told.below:
            at = (at, name, -1)
        self.tell(at, "invariant", told.sentence)


@lru_cache(None)
def _structure(type: str) -> _Structure:
    elements = definitions().structure(type)
    fields = {field.name: field for each in elements.values() for field in _fields(type, each)}
    required = tuple((each.name.removesuffix("[x]"), _forms(each)) for each in elements.values() if each.min > 0)
    return _Structure(fields, required, invariants.BY_TYPE.get(type, ()))


def _fields(owner: str, element: Element) -> list[_Field]:
    stem = element.name.removesuffix("[x]")
    is_choice = stem != element.name
    codes = (
        frozenset(definitions().codes(element.codes)) if element.codes and element.types == ("code",) else frozenset()
    )
    return [
        _Field(
            name=stem + type[0].upper() + type[1:] if is_choice else stem,
            type="id" if _is_resource_id(owner, element) else type,
            check=CHECKS.get("id" if _is_resource_id(owner, element) else type),
            is_list=element.is_list,
            choice=stem if is_choice else "",
            codes=codes,
        )
        for type in element.types
    ]


def _is_resource_id(owner: str, element: Element) -> bool:
    """The package says string of it, the specification id: https://hl7.org/fhir/R4/resource.html#id"""
    return element.name == "id" and owner in definitions().types


def _forms(element: Element) -> tuple[str, ...]:
    """The properties that make a required element present: a primitive may have extensions alone."""
    stem = element.name.removesuffix("[x]")
    if stem == element.name:
        names = [(stem, element.types[0])]
    else:
        names = [(stem + type[0].upper() + type[1:], type) for type in element.types]
    return tuple(form for name, type in names for form in ((name, f"_{name}") if type in CHECKS else (name,)))


def _path(at: _At) -> str:
    parts: list[str] = []
    place: Any = at
    while place is not None:
        above, name, index = place
        parts.append(name if index < 0 else f"{name}[{index}]")
        place = above
    return ".".join(reversed(parts))


def _quoted(value: Any) -> str:
    """The value, cut; of an object or list only that it is one."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    shown = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
    return f"'{shown}'" if isinstance(value, str) else shown


def _not_one_of(value: Any, codes: frozenset[str]) -> str:
    listed = sorted(codes)
    return (
        f"{_quoted(value)} is not one of {', '.join(listed)}."
        if len(listed) <= _ALL_CODES
        else f"{_quoted(value)} is not one of the {len(listed)} codes that may stand here."
    )
