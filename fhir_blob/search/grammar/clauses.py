"""From a name and a value of an HTTP query to a Clause: parameters, chains, `_has`, `_list`, `_text`.

A BadParameter quotes what cannot be understood; a parameter that is unknown gives None.
Source: https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from fhir_blob.errors import BadParameter
from fhir_blob.fhir.definitions import Definitions, SearchParameter, definitions
from fhir_blob.search import Clause, Criterion, Has, Missing, Uri, Value, Words
from fhir_blob.search.contained import chain
from fhir_blob.search.extraction import components
from fhir_blob.search.grammar import values
from fhir_blob.search.grammar.implied import with_implied
from fhir_blob.search.terms import ID, words

QUOTED = 100
MOST_VALUES = 1000
MOST_LINKS = 5
_TERMINOLOGY = {"in", "not-in", "above", "below"}
_MODIFIERS: Mapping[str, frozenset[str]] = {
    "token": frozenset({"not", "text", "ofType"}),
    "string": frozenset({"exact", "contains"}),
    "reference": frozenset({"identifier", "text"}),
    "uri": frozenset({"above", "below"}),
}
_UNMODIFIED = frozenset({"_id", "_lastUpdated"})
# Beside the parameters that stand in the definitions.
_BARE = frozenset({"_list", "_text", "_content", "_type"})
# As R4's page has it beside its own code system, and R5.
_ALIASES = {"of-type": "ofType"}
_READERS: Mapping[str, Callable[[str, str], Value]] = {
    "ofType": values.of_type,
    "text": values.string,
    "identifier": values.token,
}


@dataclass(slots=True)
class Clauses:
    """Reads the clauses of one query. `base` is this server's own URL, under which a reference is a local one."""

    base: str
    values: int = 0

    def read(self, types: Sequence[str], name: str, value: str, links: int = 0) -> Clause | None:
        """The clause on resources of these types; None where the parameter is unknown, or has no value."""
        check_text(name, value)
        texts = [each for each in values.split(value, ",") if each]
        if not texts:
            return None
        if links > MOST_LINKS:
            raise bad(name, value, f"a chain has at most {MOST_LINKS} links")
        if name == "_has" or name.startswith("_has:"):
            return self._has(types, name, value, links)
        bare, colon, modifier = name.partition(":")
        if colon and bare in _BARE:
            raise bad(name, value, f"{bare} does not take the modifier :{modifier[:40]}")
        if name == "_list":
            return self._listed(name, value, texts)
        if name in ("_text", "_content"):
            return _words("_text" if name == "_text" else "_content", value, texts)
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        parameter = parameters(types).get(code)
        if parameter is None:
            return None
        if colon and not modifier:
            raise bad(name, value, "no modifier follows the colon")
        modifier = _ALIASES.get(modifier, modifier)
        if dot:
            return self._chain(parameter, modifier, rest, name, value, links)
        self.count(name, len(texts))
        found = self._criterion(parameter, modifier, texts, name, value)
        if parameter.type in ("token", "composite") and found.modifier in (None, "not"):
            found = replace(found, values=tuple(with_implied(types, parameter, found.values)))
        return found

    def count(self, name: str, more: int) -> None:
        """So many values more; BadParameter where a query takes no more."""
        self.values += more
        if self.values > MOST_VALUES:
            raise BadParameter(f"A search takes {MOST_VALUES} values; from {name[:QUOTED]!r} on there are more.")

    def _chain(
        self, parameter: SearchParameter, modifier: str, rest: str, name: str, value: str, links: int
    ) -> Clause | None:
        """`subject:Patient.name`, `subject.name`: of each target type that knows what follows the dot."""
        if parameter.type != "reference":
            raise bad(name, value, f"a {parameter.type} parameter cannot be chained")
        if modifier and modifier not in definitions().types:
            raise bad(name, value, f"{modifier[:40]!r} is no resource type")
        ways: list[tuple[str, Clause]] = []
        refused: list[BadParameter] = []
        for type in (modifier,) if modifier else parameter.targets or definitions().types:
            counted = self.values
            try:
                clause = self.read((type,), rest, value, links + 1)
            except BadParameter as error:
                refused.append(error)
                continue
            if clause is not None:
                self.values = max(counted, self.values) if not ways else counted
                ways.append((type, clause))
        if refused and not ways:
            raise refused[0]
        return chain(parameter, ways) if ways else None

    def _has(self, types: Sequence[str], name: str, value: str, links: int) -> Clause | None:
        """`_has:Observation:patient:code`: https://hl7.org/fhir/R4/search.html#has"""
        parts = name.split(":", 3)
        if len(parts) < 4 or not parts[3]:
            raise bad(name, value, "it is written _has:Type:reference:parameter")
        _, source, code, rest = parts
        if source not in definitions().types:
            raise bad(name, value, f"{source[:40]!r} is no resource type")
        parameter = definitions().searchable(source).get(code)
        if parameter is None or parameter.type != "reference":
            raise bad(name, value, f"{code[:40]!r} is no reference parameter of {source}")
        clause = self.read((source,), rest, value, links + 1)
        if clause is None:
            raise bad(name, value, f"{rest[:40]!r} is no parameter of {source}")
        return Has(source, parameter, clause)

    def _listed(self, name: str, value: str, texts: Sequence[str]) -> Clause:
        """The entries of a List: https://hl7.org/fhir/R4/search.html#list"""
        found = [each.removeprefix("List/") for each in texts]
        if not all(ID.match(each) for each in found):
            raise bad(name, value, "it takes the id of a List; functional lists such as $current-problems are not kept")
        self.count(name, len(found))
        of_list = definitions().search_parameters("List")
        one_of = Criterion(of_list["_id"], None, tuple(values.token(each) for each in found))
        return Has("List", of_list["item"], one_of)

    def _criterion(
        self, parameter: SearchParameter, modifier: str, texts: Sequence[str], name: str, value: str
    ) -> Criterion:
        if modifier == "missing" and parameter.code not in _UNMODIFIED:
            return Criterion(parameter, modifier, (_missing(name, value),))
        _check_modifier(parameter, modifier, name, value)
        is_typed = parameter.type == "reference" and modifier not in _MODIFIERS["reference"]
        try:
            if modifier and is_typed:
                found: list[Value] = [values.reference_to(modifier, each, self.base) for each in texts]
                return Criterion(parameter, None, tuple(found))
            if parameter.type == "composite":
                types = tuple(each.type for each in components(parameter))
                return Criterion(parameter, None, tuple(values.composite(each, self.base, types) for each in texts))
            read = _READERS.get(modifier) or values.READERS[parameter.type]
            found = [read(each, self.base) for each in texts]
        except ValueError as error:
            raise bad(name, value, str(error)) from None
        if modifier == "above":
            found = [above for each in found if isinstance(each, Uri) for above in _above(each)]
        return Criterion(parameter, modifier or None, tuple(found))


def parameters(types: Sequence[str]) -> Mapping[str, SearchParameter]:
    """The parameters that all of these types have, in the same value type; of no type: of every type."""
    if len(types) == 1:
        return definitions().searchable(types[0])
    return _common(definitions(), tuple(types))


@lru_cache(64)
def _common(given: Definitions, types: tuple[str, ...]) -> Mapping[str, SearchParameter]:
    first, *others = types or tuple(given.types)
    known = [given.searchable(each) for each in others]
    return {
        code: _for_all([each, *(other[code] for other in known)])
        for code, each in given.searchable(first).items()
        if all(code in other and other[code].type == each.type for other in known)
    }


def _for_all(of_each_type: Sequence[SearchParameter]) -> SearchParameter:
    """It goes wherever one of them goes: to any type where one of them names none."""
    named = [each.targets for each in of_each_type]
    targets = tuple(dict.fromkeys(target for each in named for target in each)) if all(named) else ()
    return replace(of_each_type[0], targets=targets)


def bad(name: str, value: str, why: str) -> BadParameter:
    return BadParameter(f"{name[:QUOTED]}={value[:QUOTED]!r} cannot be searched: {why}.")


def check_text(name: str, value: str) -> None:
    if "\0" in name or "\0" in value or not _is_unicode(name + value):
        quoted = value[:QUOTED].encode("unicode_escape").decode()
        raise BadParameter(f"{name[:QUOTED]!a}={quoted!r} has characters that no resource can have.")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)


def _words(name: Literal["_text", "_content"], value: str, texts: Iterable[str]) -> Words:
    alternatives = tuple(words(values.unescape(each)) for each in texts)
    if not all(alternatives):
        raise bad(name, value, "it has no word")
    if sum(map(len, alternatives)) > MOST_VALUES:
        raise bad(name, value, f"it takes {MOST_VALUES} words")
    return Words(name, alternatives)


def _check_modifier(parameter: SearchParameter, modifier: str, name: str, value: str) -> None:
    allowed = _MODIFIERS.get(parameter.type, frozenset())
    if not modifier or (modifier in allowed and parameter.code not in _UNMODIFIED):
        return
    if parameter.type == "reference" and values.is_type(modifier):
        return
    if parameter.type == "token" and modifier in _TERMINOLOGY:
        raise bad(name, value, f"the modifier :{modifier} needs a terminology server, which is not there")
    raise bad(name, value, f"a parameter of type {parameter.type} does not take the modifier :{modifier[:40]}")


def _missing(name: str, value: str) -> Missing:
    if value not in ("true", "false"):
        raise bad(name, value, "the modifier :missing takes true or false")
    return Missing(value == "true")


def _above(uri: Uri) -> list[Uri]:
    """The uri itself and what stands above it in the hierarchy of its path."""
    scheme, mark, rest = uri.value.partition("://")
    steps = rest.split("/")
    found = {uri.value}
    for length in range(1, len(steps)):
        parent = scheme + mark + "/".join(steps[:length])
        found |= {parent, parent + "/"}
    return [Uri(each) for each in sorted(found)]
