"""A criterion as a condition in SQL, on the index rows where one of its values is met.

Prefixes compare the span of the search value with that of the resource's, as the table of
https://hl7.org/fhir/R4/search.html#prefix says. '?' marks a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fhir_blob.search import Composite, Criterion, Missing, Near, Range, Reference, String, Token, Uri, Value
from fhir_blob.search.extraction import components
from fhir_blob.search.near import distance, reach
from fhir_blob.search.sql.statements import Sql, all_of, any_of, one_of
from fhir_blob.search.terms import LONGEST_TEXT, after_prefix, fold, inside, key, key_prefix

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Condition:
    """Rows `i` of an index table, of these params, that meet `where`; `join` is the rest of a composite.

    `sought`: equal rows stand side by side in the index, in the order of rid. `rank`: the lower, the
    fewer resources it is likely to leave.
    """

    table: str
    params: tuple[str, ...]
    where: Sql
    negated: bool = False
    sought: bool = False
    rank: int = 9
    join: Sql = Sql("")


def condition(criterion: Criterion) -> Condition:
    """The condition of a criterion on anything but `_id` and `_lastUpdated`."""
    parameter, modifier, values = criterion.parameter, criterion.modifier, criterion.values
    if isinstance(values[0], Missing):
        return _missing(criterion, values[0])
    if parameter.type == "composite":
        return _composite(criterion)
    if modifier in ("identifier", "ofType"):
        return _tokens(f"{parameter.code}:{modifier}", _of(values, Token), rank=0)
    if modifier == "text":
        return _strings(f"{parameter.code}:text", _of(values, String), None)
    if parameter.type == "string":
        return _strings(parameter.code, _of(values, String), modifier)
    if parameter.type == "token":
        if modifier == "ne":
            return _other_tokens(parameter.code, _of(values, Token))
        rank = 0 if parameter.code == "identifier" else 3
        return _tokens(parameter.code, _of(values, Token), rank=rank, negated=modifier == "not")
    if parameter.type == "reference":
        return _references(parameter.code, _of(values, Reference))
    if parameter.type == "uri":
        return _uris(parameter.code, _of(values, Uri), modifier)
    if parameter.type == "special":
        return _near(parameter.code, _of(values, Near))
    params = _params(parameter.code, values)
    where = any_of([_term_of(parameter.code, each, "i", params) for each in values])
    return Condition(f"{parameter.type}_index", params, where, rank=6)


def last_updated(values: Sequence[Value], name: str) -> Sql:
    """Of that row of `resource`: a moment, so that its span is one microsecond."""
    return any_of([_moment(each, f"{name}.last_updated") for each in _of(values, Range)])


def ids(values: Sequence[Value], name: str) -> Sql:
    return one_of(f"{name}.id", [each.code or "" for each in _of(values, Token)])


def _of(values: Sequence[Value], kind: type[_V]) -> list[_V]:
    return [each for each in values if isinstance(each, kind)]


def _missing(criterion: Criterion, value: Missing) -> Condition:
    parameter = criterion.parameter
    kind, code = parameter.type, parameter.code
    if kind == "composite":
        kind, code = components(parameter)[0].type, f"{code}$1"
    if kind == "special":
        kind, code = "number", f"{code}:x"
    return Condition(f"{kind}_index", (code,), Sql("i.grp >= 0"), negated=value.missing, rank=8)


def _composite(criterion: Criterion) -> Condition:
    parts, code = components(criterion.parameter), criterion.parameter.code
    names = ("i", *(f"j{number}" for number in range(2, len(parts) + 1)))
    codes = [f"{code}${number}" for number in range(1, len(parts) + 1)]
    composites = [each.parts for each in _of(criterion.values, Composite)]
    params = [_params(each, values) for each, values in zip(codes, zip(*composites, strict=True), strict=True)]
    joins = [
        Sql(f"JOIN {part.type}_index {name} ON {name}.rid = i.rid AND {name}.grp = i.grp AND ")
        for name, part in zip(names[1:], parts[1:], strict=True)
    ]
    on = [one_of(f"{name}.param", of) for name, of in zip(names[1:], params[1:], strict=True)]
    where = any_of(
        [all_of([_term_of(*each) for each in zip(codes, values, names, params, strict=True)]) for values in composites]
    )
    text = " ".join(each.text + param.text for each, param in zip(joins, on, strict=True))
    join = Sql(text, tuple(argument for each in on for argument in each.arguments))
    return Condition(f"{parts[0].type}_index", params[0], where, rank=5, join=join)


def _param(code: str, value: Value) -> str:
    return f"{code}:ucum" if isinstance(value, Range) and value.in_base else code


def _params(code: str, values: Sequence[Value]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_param(code, each) for each in values))


def _term_of(code: str, value: Value, name: str, params: Sequence[str]) -> Sql:
    """Among rows of several params, those of the value's own."""
    found = _term(value, name)
    return found if len(params) == 1 else all_of([Sql(f"{name}.param = ?", (_param(code, value),)), found])


def _near(param: str, places: Sequence[Near]) -> Condition:
    """In a box first, whose edges an index finds, then exactly."""
    joins = (
        f"JOIN number_index i{axis} ON i{axis}.rid = i.rid AND i{axis}.grp = i.grp AND i{axis}.param = ?"
        for axis in "yz"
    )
    join = Sql(" ".join(joins), (f"{param}:y", f"{param}:z"))
    return Condition("number_index", (f"{param}:x",), any_of([_in_reach(each) for each in places]), rank=6, join=join)


def _in_reach(place: Near) -> Sql:
    at, chord = reach(place)
    names = ("i.low", "iy.low", "iz.low")
    boxes = [Sql(f"{name} BETWEEN ? AND ?", (each - chord, each + chord)) for name, each in zip(names, at, strict=True)]
    apart = distance(place, names)
    return all_of([*boxes, Sql(f"{apart.text} <= ?", (*apart.arguments, chord * chord))])


def _tokens(param: str, tokens: Sequence[Token], *, rank: int, negated: bool = False) -> Condition:
    where = any_of([_token(each, "i") for each in tokens])
    codes = list(dict.fromkeys(each.code for each in tokens if each.code is not None))
    sought = all(each.code is not None for each in tokens)
    if sought and len(tokens) > 1:
        where = one_of("i.code", codes)
        if any(each.system is not None for each in tokens):
            where = all_of([where, any_of([_token(each, "i") for each in tokens])])
    return Condition("token_index", (param,), where, negated, sought, rank if sought else 7)


def _other_tokens(param: str, tokens: Sequence[Token]) -> Condition:
    """A code that is none of these: `ne` of a filter."""
    others = any_of([_token(each, "i") for each in tokens])
    return Condition("token_index", (param,), Sql(f"(i.code <> '' AND NOT {others.text})", others.arguments), rank=8)


def _references(param: str, references: Sequence[Reference]) -> Condition:
    where = any_of([_reference(each, "i") for each in references])
    if len(references) > 1:
        found = [
            one_of(f"i.{name}", list(dict.fromkeys(values)))
            for name, values in (
                ("target_id", [each.id for each in references]),
                ("url", [each.url for each in references]),
            )
        ]
        where = all_of([*found, where])
    return Condition("reference_index", (param,), where, sought=True, rank=1)


def _uris(param: str, uris: Sequence[Uri], modifier: str | None) -> Condition:
    if modifier == "below":
        where = any_of([_below(each.value) for each in uris])
        return Condition("uri_index", (param,), where, rank=4)
    if modifier == "ne":
        where = any_of([_other(key(each.value)) for each in uris])
        return Condition("uri_index", (param,), where, rank=8)
    return Condition("uri_index", (param,), one_of("i.value", [key(each.value) for each in uris]), sought=True, rank=2)


def _below(uri: str) -> Sql:
    itself = Sql("i.value = ?", (key(uri),))
    inner = inside(uri)
    return any_of([itself, _begins("i.value", key_prefix(inner))]) if inner else itself


def _strings(param: str, strings: Sequence[String], modifier: str | None) -> Condition:
    where = any_of([_STRINGS[modifier](each.text) for each in strings])
    params = (param, f"{param}:more") if modifier in ("contains", "ew") else (param,)
    sought = modifier in ("exact", "eq")
    return Condition("string_index", params, where, sought=sought, rank=4 if sought or modifier is None else 8)


def _begins(column: str, prefix: str) -> Sql:
    """A range, which an index can seek, where LIKE cannot."""
    end = after_prefix(prefix)
    return Sql(f"({column} >= ? AND {column} < ?)", (prefix, end)) if end else Sql(f"{column} >= ?", (prefix,))


def _contains(text: str) -> Sql:
    return Sql("replace(i.value, ?, '') <> i.value", (text,)) if text else Sql("i.grp >= 0")


def _ends(text: str) -> Sql:
    """Of a long text the last row alone is shorter than the others."""
    return Sql(
        "(length(i.value) < ? AND substr(i.value, length(i.value) - ?) = ?)", (LONGEST_TEXT, len(text) - 1, text)
    )


def _other(text: str) -> Sql:
    return Sql("(i.value <> ? AND i.value <> '')", (text,))


_STRINGS: dict[str | None, Callable[[str], Sql]] = {
    None: lambda text: _begins("i.value", fold(text)[:LONGEST_TEXT]),
    "exact": lambda text: Sql("(i.value = ? AND i.exact = ?)", (fold(text)[:LONGEST_TEXT], text)),
    "contains": lambda text: _contains(fold(text)[: LONGEST_TEXT // 2]),
    "eq": lambda text: Sql("i.value = ?", (fold(text),)),
    "ne": lambda text: _other(fold(text)),
    "ew": lambda text: _ends(fold(text)),
    "gt": lambda text: Sql("i.value > ?", (fold(text),)),
    "ge": lambda text: Sql("i.value >= ?", (fold(text),)),
    "lt": lambda text: Sql("(i.value < ? AND i.value <> '')", (fold(text),)),
    "le": lambda text: Sql("(i.value <= ? AND i.value <> '')", (fold(text),)),
}


def _term(value: Value, name: str) -> Sql:
    """One value on the rows of one name."""
    if isinstance(value, Token):
        return _token(value, name)
    if isinstance(value, Reference):
        return _reference(value, name)
    if isinstance(value, String):
        return _begins(f"{name}.value", fold(value.text)[:LONGEST_TEXT])
    if isinstance(value, Uri):
        return Sql(f"{name}.value = ?", (key(value.value),))
    if isinstance(value, Missing):  # of a composite's part: whatever it is
        return Sql(f"{name}.grp >= 0")
    assert isinstance(value, Range)  # composites have no composites in them
    if isinstance(value.low, int):
        return _date(value, name)
    return _number(value, name)


def _token(token: Token, name: str) -> Sql:
    found = []
    if token.code is not None:
        found.append(Sql(f"{name}.code = ?", (token.code,)))
    if token.system is not None:
        found.append(Sql(f"{name}.system = ?", (token.system,)))
    if token.types:
        found.append(one_of(f"{name}.type", token.types))
    return all_of(found)


def _reference(reference: Reference, name: str) -> Sql:
    found = [Sql(f"{name}.target_id = ? AND {name}.url = ?", (reference.id, reference.url))]
    if reference.type is not None:
        found.append(Sql(f"{name}.target_type = ?", (reference.type,)))
    if reference.version:
        found.append(Sql(f"{name}.target_version = ?", (reference.version,)))
    return Sql(" AND ".join(each.text for each in found), tuple(a for each in found for a in each.arguments))


# {0} is the alias of the row, `low` and `high` parameters the span of the search, `value` as it was given.
_DATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "eq": ("({0}.low >= ? AND {0}.high <= ?)", ("low", "high")),
    "ne": ("({0}.low < ? OR {0}.high > ?)", ("low", "high")),
    "gt": ("{0}.high > ?", ("high",)),
    "lt": ("{0}.low < ?", ("low",)),
    "ge": ("({0}.high > ? OR {0}.low >= ?)", ("high", "low")),
    "le": ("({0}.low < ? OR {0}.high <= ?)", ("low", "high")),
    "sa": ("{0}.low >= ?", ("high",)),
    "eb": ("{0}.high <= ?", ("low",)),
    "ap": ("({0}.high > ? AND {0}.low < ?)", ("low", "high")),
    "po": ("({0}.high > ? AND {0}.low < ?)", ("low", "high")),
    "co": ("({0}.low <= ? AND {0}.high >= ?)", ("low", "high")),
}
# A resource's number is a point, so that its span is closed; gt, lt, ge and le take the value exactly.
_NUMBERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "eq": ("({0}.low >= ? AND {0}.high < ?)", ("low", "high")),
    "ne": ("({0}.low < ? OR {0}.high >= ?)", ("low", "high")),
    "gt": ("{0}.high > ?", ("value",)),
    "lt": ("{0}.low < ?", ("value",)),
    "ge": ("{0}.high >= ?", ("value",)),
    "le": ("{0}.low <= ?", ("value",)),
    "sa": ("{0}.low >= ?", ("high",)),
    "eb": ("{0}.high < ?", ("low",)),
    "ap": ("({0}.high >= ? AND {0}.low <= ?)", ("low", "high")),
}
_MOMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "eq": ("({0} >= ? AND {0} < ?)", ("low", "high")),
    "ne": ("({0} < ? OR {0} >= ?)", ("low", "high")),
    "gt": ("{0} >= ?", ("high",)),
    "lt": ("{0} < ?", ("low",)),
    "ge": ("{0} >= ?", ("low",)),
    "le": ("{0} < ?", ("high",)),
    "sa": ("{0} >= ?", ("high",)),
    "eb": ("{0} < ?", ("low",)),
    "ap": ("({0} >= ? AND {0} < ?)", ("low", "high")),
    "po": ("({0} >= ? AND {0} < ?)", ("low", "high")),
    "co": ("({0} <= ? AND {0} + 1 >= ?)", ("low", "high")),
}


def _compared(table: dict[str, tuple[str, tuple[str, ...]]], value: Range, name: str) -> Sql:
    text, wanted = table[value.prefix]
    return Sql(text.format(name), tuple(getattr(value, each) for each in wanted))


def _date(value: Range, name: str) -> Sql:
    return _compared(_DATES, value, name)


def _moment(value: Range, column: str) -> Sql:
    return _compared(_MOMENTS, value, column)


def _number(value: Range, name: str) -> Sql:
    found = [_compared(_NUMBERS, value, name)]
    if value.system is not None:
        found.append(Sql(f"{name}.system = ?", (value.system,)))
    if value.code is not None:
        either = f"({name}.code = ? OR {name}.unit = ?)"
        code = (
            Sql(f"{name}.code = ?", (value.code,))
            if value.system or value.in_base
            else Sql(either, (value.code, value.code))
        )
        found.append(code)
    return all_of(found)
