"""`_include` and `_revinclude`: what the matches of a page refer to, and what refers to them.

Answered from the rows of the database, whichever index found the matches.
Source: https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Include
from fhir_blob.search.compiler import sql
from fhir_blob.search.rows import CURRENT, join, version_of
from fhir_blob.search.statements import Sql, all_of, any_of, one_of
from fhir_blob.store import Reader, Version

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Included:
    """In the order in which they were found, no match among them; `cut`: there would have been more."""

    versions: tuple[Version, ...]
    cut: bool = False


def included(reader: Reader, includes: Sequence[Include], matches: Sequence[Version], *, most: int) -> Included:
    """What the includes bring to the matches, each resource once."""
    found: dict[int, Version] = {}
    known = {each.rid for each in matches}
    wave, asked = list(matches), includes
    while wave and asked:
        new: list[Version] = []
        for include in asked:
            for version in _of_include(reader, include, wave):
                if version.rid not in known:
                    known.add(version.rid)
                    new.append(version)
        found |= {each.rid: each for each in new}
        if len(found) > most:
            return Included(tuple(found.values())[:most], cut=True)
        wave, asked = new, [each for each in includes if each.iterates]
    return Included(tuple(found.values()))


def _of_include(reader: Reader, include: Include, wave: Sequence[Version]) -> Iterator[Version]:
    step = _referring if include.reverse else _referred
    for start in range(0, len(wave), _AT_ONCE):
        yield from step(reader, include, wave[start : start + _AT_ONCE])


def _referred(reader: Reader, include: Include, wave: Sequence[Version]) -> Iterator[Version]:
    by_type: dict[str, list[int]] = {}
    for each in wave:
        if include.source in ("*", each.type):
            by_type.setdefault(each.type, []).append(each.rid)
    for type, rids in by_type.items():
        codes = _codes(include, type)
        if codes:
            yield from _rows(reader, _targets(reader, include, rids, codes))
            yield from _rows(reader, _canonicals(reader, include, rids, codes))


def _codes(include: Include, type: str) -> tuple[str, ...]:
    if include.parameter is not None:
        return (include.parameter.code,)
    return references(type)


def references(type: str) -> tuple[str, ...]:
    """The reference parameters of a type."""
    return tuple(code for code, each in definitions().search_parameters(type).items() if _is_reference(each))


def _is_reference(parameter: SearchParameter) -> bool:
    return parameter.type == "reference"


def _targets(reader: Reader, include: Include, rids: Sequence[int], codes: Sequence[str]) -> Sql:
    where = [one_of("i.rid", rids), one_of("i.param", codes), Sql("i.url = '' AND r.deleted = 0")]
    if include.target:
        where.append(Sql("r.type = ?", (include.target,)))
    return sql(
        CURRENT,
        f" FROM reference_index i {join(reader)} resource r",
        Sql(" ON r.tenant = ? AND r.type = i.target_type AND r.id = i.target_id ", (reader.tenant,)),
        f"{join(reader)} resource_version v ON v.seq = r.seq WHERE ",
        all_of(where),
        " ORDER BY r.rid",
    )


def _canonicals(reader: Reader, include: Include, rids: Sequence[int], codes: Sequence[str]) -> Sql:
    """References by the canonical `url` of a conformance resource."""
    types = (include.target,) if include.target else tuple(_with_url())
    where = [
        one_of("i.rid", rids),
        one_of("i.param", codes),
        Sql("i.url <> '' AND i.target_id = '' AND u.tenant = ? AND u.param = 'url'", (reader.tenant,)),
        one_of("u.type", types),
    ]
    return sql(
        CURRENT,
        f" FROM reference_index i {join(reader)} uri_index u ON u.value = i.url {join(reader)} resource r",
        f" ON r.rid = u.rid {join(reader)} resource_version v ON v.seq = r.seq WHERE ",
        all_of(where),
        " ORDER BY r.rid",
    )


def _with_url() -> Iterable[str]:
    for type in definitions().types:
        parameter = definitions().search_parameters(type).get("url")
        if parameter is not None and parameter.type == "uri":
            yield type


def _referring(reader: Reader, include: Include, wave: Sequence[Version]) -> Iterator[Version]:
    by_type: dict[str, list[str]] = {}
    for each in wave:
        if include.target in (None, each.type):
            by_type.setdefault(each.type, []).append(each.id)
    codes = _codes(include, include.source)
    if not by_type or not codes:
        return
    targets = [
        all_of([one_of("i.target_id", ids), Sql("i.url = '' AND i.target_type = ?", (type,))])
        for type, ids in by_type.items()
    ]
    hint = "" if reader.is_postgresql else " INDEXED BY reference_index_by_value"
    where = [
        Sql("i.tenant = ? AND i.type = ?", (reader.tenant, include.source)),
        one_of("i.param", codes),
        any_of(targets),
    ]
    found = sql(
        CURRENT,
        f" FROM reference_index i{hint} {join(reader)} resource r ON r.rid = i.rid",
        f" {join(reader)} resource_version v ON v.seq = r.seq WHERE ",
        all_of(where),
        " ORDER BY r.rid",
    )
    yield from _rows(reader, found)


def _rows(reader: Reader, found: Sql) -> Iterator[Version]:
    for row in reader.rows(found.text, found.arguments):
        yield version_of(row)
