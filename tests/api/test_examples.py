"""R4's own examples go in and come out equal, but for what the server says itself."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.client import Client
from tests.fhir.wrong_examples import WRONG
from tests.services import r4_examples
from tests.services.server import StartServer

_exact = msgspec.json.Decoder(float_hook=Decimal)


# Valid, but their bytes are not what they say of them.
MISDECLARED = {"DiagnosticReport-example-pgx.json": "its hash is not that of its data"}


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, bytes]]:
    return [(name, body) for name, body in _examples() if name not in WRONG and name not in MISDECLARED]


def _examples() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(r4_examples()) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            file = archive.extractfile(member) if name.endswith(".json") and "/" not in name else None
            if file is not None and name[0] != "." and name != "package.json":
                yield name, file.read()


def test_what_goes_in_comes_out(start_server: StartServer, examples: list[tuple[str, bytes]]) -> None:
    """Each is created and read: equal but for id and meta, every decimal with its digits."""
    fhir = Client(start_server(log_level="error", max_json_bytes=100_000_000).base)

    different = [name for name, body in examples if not _comes_back(fhir, body)]

    assert len(examples) > 5000
    assert [] == different


def _comes_back(fhir: Client, body: bytes) -> bool:
    sent = _exact.decode(body)
    made = fhir("POST", sent["resourceType"], data=body, headers={"Content-Type": "application/fhir+json"})
    if made.status_code != 201:
        return False
    read = fhir.get(f"{sent['resourceType']}/{made.json()['id']}", Accept="application/fhir+json")
    return _compared(sent) == _compared(_exact.decode(read.content))


def _compared(resource: dict[str, Any]) -> str:
    """All but the id and what the server says in meta, as text, so that 1.0 is not 1.00."""
    meta = {name: each for name, each in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    kept = {name: each for name, each in resource.items() if name not in ("id", "meta", "_id")}
    return str(_sorted({**kept, "meta": meta}))


def _sorted(value: Any) -> Any:
    """Objects by the order of their names; base64 without the white space that may stand in it."""
    if isinstance(value, dict):
        bare = {"data": "".join(value["data"].split())} if isinstance(value.get("data"), str) else {}
        return [(name, _sorted({**value, **bare}[name])) for name in sorted(value)]
    return [_sorted(each) for each in value] if isinstance(value, list) else value
