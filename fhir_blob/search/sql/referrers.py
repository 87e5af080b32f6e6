"""Who refers to a resource, as the reference rows in the database tell."""

from __future__ import annotations

from functools import lru_cache

from fhir_blob.fhir.definitions import definitions
from fhir_blob.store import Reader


def referrers(reader: Reader, type: str, id: str, *, limit: int) -> tuple[str, ...]:
    """'Type/id' of current resources one of whose reference parameters leads to it, at most `limit`."""
    known = ways(type)
    named = f"VALUES {', '.join(['(?, ?)'] * len(known))}"
    hint = "" if reader.is_postgresql else " INDEXED BY reference_index_by_value"
    join = "JOIN" if reader.is_postgresql else "CROSS JOIN"
    found = reader.rows(
        f"WITH way (type, param) AS ({named}) SELECT DISTINCT r.type, r.id"
        f" FROM way {join} reference_index i{hint} ON i.tenant = ? AND i.type = way.type AND i.param = way.param"
        f" AND i.target_id = ? AND i.url = '' AND i.target_type = ?"
        f" {join} resource r ON r.rid = i.rid ORDER BY r.type, r.id LIMIT ?",
        (*(each for way in known for each in way), reader.tenant, id, type, limit),
    )
    return tuple(f"{found_type}/{found_id}" for found_type, found_id in found)


@lru_cache(256)
def ways(type: str) -> tuple[tuple[str, str], ...]:
    """The (type, parameter)s that may refer to the type."""
    return tuple(
        (source, code)
        for source in definitions().types
        for code, each in definitions().search_parameters(source).items()
        if each.type == "reference" and (not each.targets or type in each.targets)
    )
