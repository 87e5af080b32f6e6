"""The log: what an operator reads, once and not a thousand times."""

from __future__ import annotations

import io
import json

from fhir_blob.api.logs import Log


def test_a_warning_is_not_repeated() -> None:
    """The same warning is said once a minute, whatever its cause; another one at once."""
    out = io.BytesIO()
    log = Log("info", out)

    log.warning("outbox waits", error="S3 is out of reach.", cause="connection <0x1> refused")
    log.warning("outbox waits", error="S3 is out of reach.", cause="connection <0x2> refused")
    log.warning("outbox waits", error="S3 answers 403.")

    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert ["S3 is out of reach.", "S3 answers 403."] == [each["error"] for each in said]
    assert "connection <0x1> refused" == said[0]["cause"]
