"""Clauses as queries of Elasticsearch, which mean what sql/ means by them.

Elasticsearch joins nothing: what stands behind a chain or `_has` is looked up first, by the resolver.
Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/query-dsl.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from fhir_blob.search import (
    AllOf,
    AnyOf,
    Chain,
    Clause,
    Compartment,
    Composite,
    Concerning,
    Criterion,
    Has,
    Missing,
    Near,
    Not,
    Range,
    Reference,
    String,
    Token,
    Uri,
    Value,
    Words,
)
from fhir_blob.search.contained import SIGN
from fhir_blob.search.elasticsearch.mapping import CONTAINED, MARK, field, part, reference_keys
from fhir_blob.search.elasticsearch.queries import Dsl, all_of, any_of, negated
from fhir_blob.search.elasticsearch.spans import at_date, at_moment, at_number
from fhir_blob.search.extraction import components
from fhir_blob.search.terms import LONGEST_TEXT, after_prefix, fold, inside, key, key_prefix

_V = TypeVar("_V")
_GRAM = 3
# Of one query: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/index-modules.html (index.max_terms_count)
MOST_TERMS = 65_536
# What the rows are called that a parameter always has, where they do not have its name.
_FIRST = {"composite": "$1", "special": ":x"}
_NOTHING: Dsl = {"match_none": {}}


class Resolver(Protocol):
    def meeting(self, type: str, clause: Clause) -> Sequence[str]:
        """'Type/id' of every resource of the type that meets the clause; BadParameter where those are too many."""

    def referred(self, source: str, param: str, clause: Clause) -> Sequence[str]:
        """'Type/id' of what the sources that meet the clause refer to by the parameter."""


def compiled(clause: Clause, resolver: Resolver) -> Dsl:
    match clause:
        case Criterion():
            return _criterion(clause)
        case Chain():
            found = [each for type, inner in clause.ways for each in resolver.meeting(type, inner)]
            inside = [compiled(each, resolver) for each in clause.inside]
            return any_of([_referring(clause.parameter.code, found), *inside])
        case Has():
            return _named(resolver.referred(clause.source, clause.parameter.code, clause.clause))
        case Compartment():
            return _compartment(clause)
        case Words():
            name = f"words.{clause.parameter}"
            return any_of([all_of([{"term": {name: key(word)}} for word in words]) for words in clause.alternatives])
        case Concerning():
            other = negated({"terms": {"type": list(clause.types)}})
            return any_of([other, compiled(clause.clause, resolver)])
        case AllOf():
            return all_of([compiled(each, resolver) for each in clause.clauses])
        case AnyOf():
            return any_of([compiled(each, resolver) for each in clause.clauses])
        case Not():
            return negated(compiled(clause.clause, resolver))


def _named(references: Sequence[str]) -> Dsl:
    by_type: dict[str, list[str]] = {}
    for each in references:
        type, _, id = each.partition("/")
        by_type.setdefault(type, []).append(id)
    ways = [all_of([{"term": {"type": type}}, _one_of("id", ids)]) for type, ids in by_type.items()]
    return any_of(ways) if ways else _NOTHING


def _referring(code: str, targets: Sequence[str]) -> Dsl:
    if SIGN in code:
        return _row(code, _one_of(f"{CONTAINED}.reference.local", targets))
    return _one_of(f"{field('reference', code)}.local", targets)


def _one_of(name: str, values: Sequence[str]) -> Dsl:
    starts = range(0, len(values), MOST_TERMS)
    return any_of([{"terms": {name: values[at : at + MOST_TERMS]}} for at in starts]) if values else _NOTHING


def _compartment(clause: Compartment) -> Dsl:
    target = f"{clause.type}/{clause.id}"
    codes = dict.fromkeys(code for each in clause.members.values() for code in each)
    ways: list[Dsl] = [_named([target])]
    for code in codes:
        types = [type for type, each in clause.members.items() if code in each]
        refers = {"term": {f"{field('reference', code)}.local": target}}
        ways.append(all_of([{"terms": {"type": types}}, refers]))
    return any_of(ways)


def _criterion(criterion: Criterion) -> Dsl:
    parameter, modifier, values = criterion.parameter, criterion.modifier, criterion.values
    if parameter.code == "_id":
        return {"terms": {"id": [each.code or "" for each in _of(values, Token)]}}
    if parameter.code == "_lastUpdated":
        return any_of([at_moment(each) for each in _of(values, Range)])
    if isinstance(values[0], Missing):
        code = parameter.code + _FIRST.get(parameter.type, "")
        present: Dsl = {"term": {"present": code}}
        return negated(present) if values[0].missing else present
    if SIGN in parameter.code:
        return _contained(criterion)
    if parameter.type == "composite":
        return _composite(criterion)
    if modifier in ("identifier", "ofType"):
        return _tokens(field("token", f"{parameter.code}:{modifier}"), _of(values, Token))
    if modifier == "text":
        return _strings(field("string", f"{parameter.code}:text"), _of(values, String), None)
    name = field(parameter.type, parameter.code)
    if parameter.type == "string":
        return _strings(name, _of(values, String), modifier)
    if parameter.type == "token" and modifier == "ne":
        return _other_tokens(name, _of(values, Token))
    if parameter.type == "token":
        found = _tokens(name, _of(values, Token))
        return negated(found) if modifier == "not" else found
    if parameter.type == "reference":
        return {"terms": {f"{name}.key": [_reference_key(each) for each in _of(values, Reference)]}}
    if parameter.type == "uri":
        return _uris(f"{name}.value", _of(values, Uri), modifier)
    if parameter.type == "special":
        return any_of([_near(each, name) for each in _of(values, Near)])
    ranges = [_term(each, name) for each in _of(values, Range)]
    if parameter.type != "quantity":
        return any_of(ranges)
    return any_of([_nested(f"{_in_base(name, each)}.each", each) for each in _of(values, Range)])


def _contained(criterion: Criterion) -> Dsl:
    """Of contained resources, each of whose rows is a document of its own."""
    parameter, modifier, values = criterion.parameter, criterion.modifier, criterion.values
    code, name = parameter.code, f"{CONTAINED}.{parameter.type}"
    if modifier in ("identifier", "ofType"):
        return _row(f"{code}:{modifier}", _tokens(f"{CONTAINED}.token", _of(values, Token)))
    if modifier == "text":
        return _row(f"{code}:text", _strings(f"{CONTAINED}.string", _of(values, String), None))
    if parameter.type == "string":
        return _row(code, _strings(name, _of(values, String), modifier))
    if parameter.type == "token" and modifier == "ne":
        return _row(code, _other_tokens(name, _of(values, Token)))
    if parameter.type == "token":
        found = _row(code, _tokens(name, _of(values, Token)))
        return negated(found) if modifier == "not" else found
    if parameter.type == "uri":
        return _row(code, _uris(f"{name}.value", _of(values, Uri), modifier))
    return any_of([_row(_in_base(code, each), _term(each, name)) for each in values])


def _row(param: str, query: Dsl) -> Dsl:
    return {"nested": {"path": CONTAINED, "query": all_of([{"term": {f"{CONTAINED}.param": param}}, query])}}


def _in_base(name: str, value: Value) -> str:
    return f"{name}:ucum" if isinstance(value, Range) and value.in_base else name


def _nested(path: str, value: Range) -> Dsl:
    return {"nested": {"path": path, "query": at_number(value, path)}}


def _near(place: Near, name: str) -> Dsl:
    at = {"lat": place.latitude, "lon": place.longitude}
    return {"geo_distance": {"distance": f"{place.metres}m", name: at, "ignore_unmapped": True}}


def _of(values: Sequence[Value], kind: type[_V]) -> list[_V]:
    return [each for each in values if isinstance(each, kind)]


def _composite(criterion: Criterion) -> Dsl:
    name = field("composite", criterion.parameter.code)
    numbers = range(1, len(components(criterion.parameter)) + 1)
    ways = [
        all_of(
            [
                _term(value, _in_base(f"{name}.{part(number)}", value))
                for number, value in zip(numbers, each.parts, strict=True)
            ]
        )
        for each in _of(criterion.values, Composite)
    ]
    return {"nested": {"path": name, "query": any_of(ways)}}


def _term(value: Value, name: str) -> Dsl:
    """One value in the fields under that name."""
    if isinstance(value, Token):
        return _tokens(name, [value])
    if isinstance(value, Reference):
        return {"term": {f"{name}.key": _reference_key(value)}}
    if isinstance(value, String):
        return _strings(name, [value], None)
    if isinstance(value, Uri):
        return {"term": {f"{name}.value": key(value.value)}}
    if isinstance(value, Missing):  # of a composite's part: whatever it is
        return {"match_all": {}}
    assert isinstance(value, Range)  # composites have no composites in them
    if isinstance(value.low, int):
        return at_date(value, name)
    return at_number(value, name)


def _tokens(name: str, tokens: Sequence[Token]) -> Dsl:
    some = [all_of([{"terms": {"type": list(each.types)}}, _token(name, each)]) for each in tokens if each.types]
    of_any = [each for each in tokens if not each.types]
    return any_of([*some, *_tokens_of_any(name, of_any)])


def _token(name: str, token: Token) -> Dsl:
    return any_of(_tokens_of_any(name, [token]))


def _tokens_of_any(name: str, tokens: Sequence[Token]) -> list[Dsl]:
    codes = [each.code for each in tokens if each.system is None]
    systems = [each.system for each in tokens if each.code is None and each.system]
    pairs = [f"{each.system}{MARK}{each.code}" for each in tokens if None not in (each.system, each.code)]
    given = (("code", codes), ("system", systems), ("pair", pairs))
    found: list[Dsl] = [{"terms": {f"{name}.{each}": values}} for each, values in given if values]
    is_bare = any(each.system == "" and each.code is None for each in tokens)
    return [*found, {"exists": {"field": f"{name}.code"}}] if is_bare else found


def _other_tokens(name: str, tokens: Sequence[Token]) -> Dsl:
    """A code that is none of these; some are only of certain types, the same ones."""
    types = next((each.types for each in tokens if each.types), ())
    everywhere = _beside(name, [each for each in tokens if not each.types])
    if not types:
        return everywhere
    of_types: Dsl = {"terms": {"type": list(types)}}
    return any_of([all_of([of_types, _beside(name, tokens)]), all_of([negated(of_types), everywhere])])


def _beside(name: str, tokens: Sequence[Token]) -> Dsl:
    """A key between those of the tokens, in order: of codes where they name no system, else of pairs."""
    if any(each.system is None for each in tokens):
        return _outside(f"{name}.code", [(each.code or "", f"{each.code}\0") for each in tokens])
    return _outside(f"{name}.pair", [_pairs(f"{each.system}{MARK}", each.code) for each in tokens])


def _pairs(start: str, code: str | None) -> tuple[str, str]:
    return (start, after_prefix(start)) if code is None else (f"{start}{code}", f"{start}{code}\0")


def _outside(name: str, spans: Sequence[tuple[str, str]]) -> Dsl:
    """A key that is not empty, and in none of the spans [low, high)."""
    lows, highs = zip(*sorted(spans), strict=True)
    gaps = zip(("\0", *highs), (*lows, None), strict=True)
    return any_of([{"range": {name: {"gte": low} if high is None else {"gte": low, "lt": high}}} for low, high in gaps])


def _reference_key(reference: Reference) -> str:
    return reference_keys(reference.type, reference.id, reference.url, reference.version)


def _uris(name: str, uris: Sequence[Uri], modifier: str | None) -> Dsl:
    equal: Dsl = {"terms": {name: [key(each.value) for each in uris]}}
    if modifier == "ne":
        return any_of([_COMPARED["ne"](name, key(each.value)) for each in uris])
    if modifier != "below":
        return equal
    inner = (inside(each.value) for each in uris)
    return any_of([equal, *({"prefix": {name: key_prefix(each)}} for each in inner if each)])


def _strings(name: str, strings: Sequence[String], modifier: str | None) -> Dsl:
    if modifier == "exact":
        both = [
            all_of(
                [
                    {"term": {f"{name}.value": fold(each.text)[:LONGEST_TEXT]}},
                    {"term": {f"{name}.exact": key(each.text)}},
                ]
            )
            for each in strings
        ]
        return any_of(both)
    if modifier == "contains":
        return any_of([_contains(name, fold(each.text)[: LONGEST_TEXT // 2]) for each in strings])
    if modifier == "ew":
        return any_of([_ends(f"{name}.grams", fold(each.text)) for each in strings])
    if modifier is not None and modifier in _COMPARED:
        return any_of([_COMPARED[modifier](f"{name}.value", fold(each.text)) for each in strings])
    return any_of([_begins(f"{name}.value", fold(each.text)[:LONGEST_TEXT]) for each in strings])


_COMPARED: Mapping[str, Callable[[str, str], Dsl]] = {
    "eq": lambda name, text: {"term": {name: text}},
    "ne": lambda name, text: _outside(name, [(text, f"{text}\0")]),
    "gt": lambda name, text: {"range": {name: {"gt": text}}},
    "ge": lambda name, text: {"range": {name: {"gte": text}}},
    "lt": lambda name, text: {"range": {name: {"gt": "", "lt": text}}},
    "le": lambda name, text: {"range": {name: {"gt": "", "lte": text}}},
}


def _ends(name: str, text: str) -> Dsl:
    """A mark stands at both ends of a text."""
    if len(text) + len(MARK) >= _GRAM:
        return {"match_phrase": {name: text + MARK}}
    return {"wildcard": {name: f"?{_escaped(text)}{MARK}"}}


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in "*?\\" else each for each in text)


def _begins(name: str, text: str) -> Dsl:
    return {"prefix": {name: text}} if text else {"exists": {"field": name}}


def _contains(name: str, text: str) -> Dsl:
    """Three letters one after another at a time; what is shorter is looked for in every value."""
    if not text:
        return {"exists": {"field": f"{name}.value"}}
    if len(text) >= _GRAM:
        return {"match_phrase": {f"{name}.grams": text}}
    return any_of([{"wildcard": {f"{name}.{each}": f"*{_escaped(text)}*"}} for each in ("value", "more")])
