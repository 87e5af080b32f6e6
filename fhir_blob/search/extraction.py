"""The index rows of a resource: what each search parameter of its type finds in it.

The plan of a type is made once, of closures. Rows besides those of the parameter itself:
 - `code:text` (string): displays and texts; `identifier:ofType` (token): type system, 'type code|value';
 - `subject:identifier` (token): the identifier in a Reference;
 - `text:more` (string): overlapping windows of a text that is too long for one row;
 - `value-quantity:ucum` (quantity): the same in base units, see ucum;
 - `near:x`, `near:y`, `near:z` (number): a place on the globe, see near;
 - the words of the narrative and of everything, for `_text` and `_content`;
 - `code-value$1`, `code-value$2`: the components of a composite, those of one element sharing `grp`.
A value that nothing can be compared with still has an empty row, for `:missing`.
Source: https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from fhir_blob.fhir.definitions import (
    Component,
    Definitions,
    SearchParameter,
    definitions,
)
from fhir_blob.fhir.nodes import Pair, Path
from fhir_blob.fhir.paths import compile_path
from fhir_blob.fhir.ucum import canonical
from fhir_blob.search.amounts import amount, spread
from fhir_blob.search.contained import with_contained
from fhir_blob.search.dates import EARLIEST, LATEST, span
from fhir_blob.search.expressions import Tree, grow, path_of
from fhir_blob.search.near import point
from fhir_blob.search.terms import LONGEST_TEXT, fold, key, target
from fhir_blob.search.texts import text_rows
from fhir_blob.store import IndexEntries

# R4 gives the components of this one in the wrong order.
_SWAPPED = {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"}
_COLUMNS = ("_id", "_lastUpdated")
_WINDOW = LONGEST_TEXT // 2


class _Rows:
    """The rows found so far, a list for each index table."""

    __slots__ = ("base", "date", "number", "quantity", "reference", "string", "token", "uri")

    def __init__(self, base: str) -> None:
        self.base = base
        self.token: list[tuple[Any, ...]] = []
        self.string: list[tuple[Any, ...]] = []
        self.reference: list[tuple[Any, ...]] = []
        self.uri: list[tuple[Any, ...]] = []
        self.date: list[tuple[Any, ...]] = []
        self.number: list[tuple[Any, ...]] = []
        self.quantity: list[tuple[Any, ...]] = []

    def entries(self) -> dict[str, list[tuple[Any, ...]]]:
        found = ((kind, getattr(self, kind)) for kind in _WRITERS if kind != "special")
        return {kind: list(dict.fromkeys(rows)) for kind, rows in found if rows}


# (rows, param, grp, value, FHIR type)
_Writer = Callable[[_Rows, str, int, Any, str], None]


def extract(resource: dict[str, Any], *, base: str) -> IndexEntries:
    """The index rows of a valid resource, in the column order of the tables from `param` on.

    A reference to something under `base`, this server's own URL, is a local one.
    """
    type = resource["resourceType"]
    tree, simple, composites = _plan(definitions(), type)
    root, rows = (resource, type), _Rows(base)
    _walk(rows, resource, tree)
    for code, path, write in simple:
        for value, of_type in path(root, root):
            write(rows, code, 0, value, of_type)
    for composite in composites:
        _write_composite(rows, root, *composite)
    found = rows.entries()
    words = text_rows(resource)
    entries = {**found, "words": words} if words else found
    if "contained" not in resource:
        return entries
    return with_contained(resource, entries, lambda each: extract(each, base=base))


def components(parameter: SearchParameter) -> tuple[Component, ...]:
    """The components of a composite as they are meant."""
    if parameter.url not in _SWAPPED:
        return parameter.components
    first, second = parameter.components
    return Component(first.type, second.expression), Component(second.type, first.expression)


_Leaf = tuple[str, _Writer]
_Simple = tuple[str, Path, _Writer]
_Composite = tuple[str, Path, tuple[tuple[Path, _Writer], ...]]


@lru_cache(512)
def _plan(known: Definitions, type: str) -> tuple[Tree[_Leaf], tuple[_Simple, ...], tuple[_Composite, ...]]:
    """The parameters whose expressions are chains, as a tree; the others, but for composites; these."""
    tree: Tree[_Leaf] = {}
    parameters = [each for each in known.search_parameters(type).values() if each.code not in _COLUMNS]
    simple = [
        (each.code, path_of(each), _WRITERS[each.type])
        for each in parameters
        if each.type in _WRITERS and not grow(tree, type, each, (each.code, _WRITERS[each.type]))
    ]
    composites = [
        (
            each.code,
            path_of(each),
            tuple((compile_path(part.expression), _WRITERS[part.type]) for part in components(each)),
        )
        for each in parameters
        if each.type == "composite"
    ]
    return tree, tuple(simple), tuple(composites)


def _walk(rows: _Rows, element: dict[str, Any], tree: Tree[_Leaf]) -> None:
    for name, content in element.items():
        branch = tree.get(name)
        if branch is None:
            continue
        type, leaves, below = branch
        for value in content if content.__class__ is list else (content,):
            if value is None:  # a primitive that has nothing but extensions
                continue
            for code, write in leaves:
                write(rows, code, 0, value, type)
            if below and value.__class__ is dict:
                _walk(rows, value, below)


def _write_composite(rows: _Rows, root: Pair, code: str, path: Path, parts: tuple[tuple[Path, _Writer], ...]) -> None:
    for group, focus in enumerate(path(root, root)):
        values = [part(focus, root) for part, _ in parts]
        if not all(values):
            continue
        for number, ((_, write), found) in enumerate(zip(parts, values, strict=True), 1):
            for value, of_type in found:
                write(rows, f"{code}${number}", group, value, of_type)


def _in_extension(value: dict[str, Any]) -> Pair | None:
    """The value of an extension, with its type."""
    for name, content in value.items():
        if name.startswith("value"):
            type = name[5:]
            return content, type if isinstance(content, dict) else type[:1].lower() + type[1:]
    return None


def _write_token(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if isinstance(value, dict):
        write = _TOKENS.get(type)
        if write is not None:
            write(rows, param, group, value)
        elif type == "Extension" and (inner := _in_extension(value)) is not None:
            _write_token(rows, param, group, *inner)
    elif isinstance(value, bool):
        rows.token.append((param, group, "", "true" if value else "false"))
    else:
        rows.token.append((param, group, "", key(str(value))))


def _coding(rows: _Rows, param: str, group: int, value: dict[str, Any]) -> None:
    rows.token.append((param, group, key(value.get("system", "")), key(value.get("code", ""))))
    _text(rows, param, group, value.get("display"))


def _concept(rows: _Rows, param: str, group: int, value: dict[str, Any]) -> None:
    for coding in value.get("coding", ()):
        _coding(rows, param, group, coding)
    if not value.get("coding"):
        rows.token.append((param, group, "", ""))
    _text(rows, param, group, value.get("text"))


def _identifier(rows: _Rows, param: str, group: int, value: dict[str, Any]) -> None:
    rows.token.append((param, group, key(value.get("system", "")), key(value.get("value", ""))))
    concept = value.get("type")
    if concept is not None:
        for coding in concept.get("coding", ()):
            typed = key(f"{coding.get('code', '')}|{value.get('value', '')}")
            rows.token.append((f"{param}:ofType", group, key(coding.get("system", "")), typed))
        _text(rows, param, group, concept.get("text"))


def _contact_point(rows: _Rows, param: str, group: int, value: dict[str, Any]) -> None:
    rows.token.append((param, group, "", key(value.get("value", ""))))


_TOKENS: dict[str, Callable[[_Rows, str, int, dict[str, Any]], None]] = {
    "Coding": _coding,
    "CodeableConcept": _concept,
    "Identifier": _identifier,
    "ContactPoint": _contact_point,
}


def _text(rows: _Rows, param: str, group: int, text: str | None) -> None:
    if text:
        _string(rows, f"{param}:text", group, text)


def _write_string(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if isinstance(value, str):
        _string(rows, param, group, value)
    elif type == "Extension" and (inner := _in_extension(value)) is not None:
        _write_string(rows, param, group, *inner)
    elif isinstance(value, dict):
        for name in _STRINGS.get(type, ()):
            content = value.get(name)
            for each in content if isinstance(content, list) else (content,):
                if each is not None:
                    _string(rows, param, group, each)


_STRINGS: dict[str, tuple[str, ...]] = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "Annotation": ("text",),
    "CodeableConcept": ("text",),
    "Coding": ("display",),
}


def _string(rows: _Rows, param: str, group: int, text: str) -> None:
    folded = fold(text)
    rows.string.append((param, group, folded[:LONGEST_TEXT], text))
    for at in range(_WINDOW, len(folded) - _WINDOW + 1, _WINDOW):
        rows.string.append((f"{param}:more", group, folded[at : at + LONGEST_TEXT], ""))


def _write_reference(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if isinstance(value, str):
        rows.reference.append((param, group, *target(value, rows.base)))
    elif type == "Reference":
        _reference(rows, param, group, value)
    elif type == "Extension":
        if (inner := _in_extension(value)) is not None:
            _write_reference(rows, param, group, *inner)
    elif "resourceType" in value:
        rows.reference.append((param, group, type if value.get("id") else "", value.get("id", ""), "", ""))


def _reference(rows: _Rows, param: str, group: int, value: dict[str, Any]) -> None:
    literal = value.get("reference", "#")
    found = ("", "", "", "") if literal.startswith("#") else target(literal, rows.base)
    rows.reference.append((param, group, *found))
    identifier = value.get("identifier")
    if identifier is not None:
        system, code = identifier.get("system", ""), identifier.get("value", "")
        rows.token.append((f"{param}:identifier", group, key(system), key(code)))
    _text(rows, param, group, value.get("display"))


def _write_uri(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if isinstance(value, str):
        rows.uri.append((param, group, key(value)))
    elif type == "Extension" and (inner := _in_extension(value)) is not None:
        _write_uri(rows, param, group, *inner)


def _write_date(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if isinstance(value, str):
        with suppress(ValueError):  # Immunization.occurrence may be a string, which is no date
            rows.date.append((param, group, *span(value)))
    elif type == "Period":
        rows.date.append((param, group, *_period(value)))
    elif type == "Timing":
        spans = [span(each) for each in value.get("event", ()) if each is not None]
        bounds = value.get("repeat", {}).get("boundsPeriod")
        spans += [] if bounds is None else [_period(bounds)]
        if spans:
            rows.date.append((param, group, min(low for low, _ in spans), max(high for _, high in spans)))
    elif type == "Extension" and (inner := _in_extension(value)) is not None:
        _write_date(rows, param, group, *inner)


def _period(value: dict[str, Any]) -> tuple[int, int]:
    low = span(value["start"])[0] if "start" in value else EARLIEST
    return low, span(value["end"])[1] if "end" in value else LATEST


def _write_number(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if type == "Range":
        rows.number.append((param, group, *spread(value)))
    elif type == "Extension":
        if (inner := _in_extension(value)) is not None:
            _write_number(rows, param, group, *inner)
    elif not isinstance(value, dict | str | bool):
        rows.number.append((param, group, float(value), float(value)))


def _write_position(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    """Of a place off the globe there is no row."""
    place = value.get("latitude"), value.get("longitude")
    if None not in place and abs(place[0]) <= 90 and abs(place[1]) <= 180:
        for axis, at in zip("xyz", point(float(place[0]), float(place[1])), strict=True):
            rows.number.append((f"{param}:{axis}", group, at, at))


def _write_quantity(rows: _Rows, param: str, group: int, value: Any, type: str) -> None:
    if not isinstance(value, dict):
        return
    if type == "Extension":
        if (inner := _in_extension(value)) is not None:
            _write_quantity(rows, param, group, *inner)
    elif (found := amount(value, type)) is not None:
        rows.quantity.append((param, group, *found))
        system, code, _, low, high = found
        in_base = canonical(system, code, low, high)
        if in_base is not None:
            rows.quantity.append((f"{param}:ucum", group, "", in_base[0], "", *in_base[1]))


_WRITERS: dict[str, _Writer] = {
    "token": _write_token,
    "string": _write_string,
    "reference": _write_reference,
    "uri": _write_uri,
    "date": _write_date,
    "number": _write_number,
    "quantity": _write_quantity,
    "special": _write_position,  # Location.near is the only one
}
