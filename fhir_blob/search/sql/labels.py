"""Which profiles, tags and security labels stand in the resources of a type, or of all, as the database's rows tell."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_blob.store import Reader

_PARAMETERS = {"tag": "_tag", "security": "_security"}


def profiles(reader: Reader, types: Sequence[str]) -> list[str]:
    """Canonical URLs, in order."""
    found = reader.rows(
        f"SELECT DISTINCT value FROM uri_index WHERE tenant = ? AND type IN ({_marks(types)}) AND param = '_profile'"
        " ORDER BY value",
        (reader.tenant, *types),
    )
    return [value for (value,) in found]


def codings(reader: Reader, types: Sequence[str], name: str) -> list[tuple[str, str]]:
    """(system, code) of `name`, 'tag' or 'security', in order."""
    found = reader.rows(
        f"SELECT DISTINCT system, code FROM token_index WHERE tenant = ? AND type IN ({_marks(types)}) AND param = ?"
        " ORDER BY system, code",
        (reader.tenant, *types, _PARAMETERS[name]),
    )
    return [(system, code) for system, code in found]


def _marks(types: Sequence[str]) -> str:
    return ", ".join("?" * len(types))
