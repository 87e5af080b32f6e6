"""`_include` and `_revinclude`: what the matches of a page refer to, and what refers to them.

Answered from the rows of the database, whichever index found the matches.
Source: https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fhir_blob.fhir.definitions import SearchParameter, definitions
from fhir_blob.search import Include
from fhir_blob.search.sql.compiler import sql
from fhir_blob.search.sql.referrers import ways
from fhir_blob.search.sql.rows import CURRENT, join, version_of
from fhir_blob.search.sql.statements import Sql, all_of, any_of, one_of
from fhir_blob.search.terms import target
from fhir_blob.store import Reader, Version

_AT_ONCE = 200
# A canonical as it was written: one that looks like a literal reference stands in the index in its parts.
_CANONICAL = "CASE i.target_id WHEN '' THEN i.url ELSE i.url || '/' || i.target_type || '/' || i.target_id END"


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
            for version in _of_include(reader, include, wave, most + 1 + len(known)):
                if version.rid not in known:
                    known.add(version.rid)
                    new.append(version)
        found |= {each.rid: each for each in new}
        if len(found) > most:
            return Included(tuple(found.values())[:most], cut=True)
        wave, asked = new, [each for each in includes if each.iterates]
    return Included(tuple(found.values()))


def _of_include(reader: Reader, include: Include, wave: Sequence[Version], most: int) -> Iterator[Version]:
    step = _referring if include.reverse else _referred
    for start in range(0, len(wave), _AT_ONCE):
        for rids in step(reader, include, _by_type(wave[start : start + _AT_ONCE])):
            yield from _fetched(reader, rids, most)


def _by_type(wave: Sequence[Version]) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for each in wave:
        found.setdefault(each.type, []).append(each)
    return found


def _fetched(reader: Reader, rids: Sql, most: int) -> Iterator[Version]:
    """The first of them: a patient has more observations than anybody wants with one page."""
    found = sql(
        f"{CURRENT} FROM (",
        rids,
        Sql(f" ORDER BY 1 LIMIT ?) d {join(reader)} resource r ON r.rid = d.rid", (most,)),
        f" {join(reader)} resource_version v ON v.seq = r.seq ORDER BY r.rid",
    )
    for row in reader.rows(found.text, found.arguments):
        yield version_of(row)


def _referred(reader: Reader, include: Include, wave: dict[str, list[Version]]) -> Iterator[Sql]:
    for type, versions in wave.items():
        codes = _codes(include, type) if include.source in ("*", type) else ()
        if codes:
            from_these = all_of([one_of("i.rid", [each.rid for each in versions]), one_of("i.param", codes)])
            yield _targets(reader, include, from_these)
            yield _canonicals(reader, include, from_these)


def _codes(include: Include, type: str) -> tuple[str, ...]:
    if include.parameter is not None:
        return (include.parameter.code,)
    return references(type)


def references(type: str) -> tuple[str, ...]:
    """The reference parameters of a type."""
    return tuple(code for code, each in definitions().search_parameters(type).items() if _is_reference(each))


def _is_reference(parameter: SearchParameter) -> bool:
    return parameter.type == "reference"


def _targets(reader: Reader, include: Include, from_these: Sql) -> Sql:
    where = [from_these, Sql("i.url = '' AND r.deleted = 0")]
    if include.target:
        where.append(Sql("r.type = ?", (include.target,)))
    return sql(
        f"SELECT DISTINCT r.rid FROM reference_index i {join(reader)} resource r",
        Sql(" ON r.tenant = ? AND r.type = i.target_type AND r.id = i.target_id WHERE ", (reader.tenant,)),
        all_of(where),
    )


def _canonicals(reader: Reader, include: Include, from_these: Sql) -> Sql:
    """References by the canonical `url` of a conformance resource, and by its version where they name one."""
    types = (include.target,) if include.target else tuple(_with_url())
    version = "SELECT 1 FROM token_index t WHERE t.rid = u.rid AND t.param = 'version' AND t.code = i.target_version"
    where = [
        from_these,
        Sql("i.url <> '' AND u.tenant = ? AND u.param = 'url'", (reader.tenant,)),
        one_of("u.type", types),
        Sql(f"(i.target_version = '' OR EXISTS ({version}))"),
    ]
    return sql(
        f"SELECT DISTINCT u.rid FROM reference_index i {join(reader)} uri_index u ON u.value = {_CANONICAL} WHERE ",
        all_of(where),
    )


def _with_url() -> Iterable[str]:
    for type in definitions().types:
        parameter = definitions().search_parameters(type).get("url")
        if parameter is not None and parameter.type == "uri":
            yield type


def _referring(reader: Reader, include: Include, wave: dict[str, list[Version]]) -> Iterator[Sql]:
    for type, versions in wave.items():
        sources = ways(type) if include.source == "*" else _sources(include)
        if sources and include.target in (None, type):
            ids = one_of("i.target_id", [each.id for each in versions])
            yield _from(reader, sources, all_of([ids, Sql("i.url = '' AND i.target_type = ?", (type,))]))
            named = _named(reader, versions) if type in _with_url() else None
            if named is not None:
                yield _from(reader, sources, named)


def _sources(include: Include) -> tuple[tuple[str, str], ...]:
    return tuple((include.source, code) for code in _codes(include, include.source))


def _named(reader: Reader, versions: Sequence[Version]) -> Sql | None:
    """References to these by their canonical, with their version or without one; None where they have none."""
    asked = sql(
        "SELECT u.value, t.code FROM uri_index u LEFT JOIN token_index t ON t.rid = u.rid AND t.param = 'version'",
        Sql(" WHERE u.tenant = ? AND u.param = 'url' AND ", (reader.tenant,)),
        one_of("u.rid", [each.rid for each in versions]),
    )
    places: list[tuple[str, str]] = []
    exact: list[Sql] = []
    for url, version in reader.rows(asked.text, asked.arguments):
        type, id, _, base = target(url, "")
        places.append((id, base))
        place = Sql("i.target_id = ? AND i.url = ? AND i.target_type = ?", (id, base, type))
        exact.append(all_of([place, one_of("i.target_version", ("", version or ""))]))
    if not places:
        return None
    ids, bases = zip(*places, strict=True)  # what the index is sought by
    return all_of([one_of("i.target_id", ids), one_of("i.url", bases), any_of(exact)])


def _from(reader: Reader, sources: Sequence[tuple[str, str]], to_these: Sql) -> Sql:
    """What refers to these by one of the (type, parameter)s; SQLite is told by which index."""
    hint = "" if reader.is_postgresql else " INDEXED BY reference_index_by_value"
    return sql(
        Sql(
            f"WITH way (type, param) AS (VALUES {', '.join(['(?, ?)'] * len(sources))})",
            tuple(each for way in sources for each in way),
        ),
        f" SELECT DISTINCT i.rid FROM way {join(reader)} reference_index i{hint}",
        Sql(" ON i.tenant = ? AND i.type = way.type AND i.param = way.param AND ", (reader.tenant,)),
        to_these,
    )
