"""HAPI's generic client for Java walks the main job, in JSON and in XML (java/Walk.java)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.services import java_libraries
from tests.services.server import Server

WALK = Path(__file__).parent / "java" / "Walk.java"


def test_walk(server: Server) -> None:
    """Create, change, page, patch, history, conditions, a transaction, and bytes up and down."""
    run = [
        "java",
        "-Xmx512m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        f"{java_libraries()}/*",
        str(WALK),
        server.base,
    ]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)

    assert ("walked in json\nwalked in xml\n", 0) == (done.stdout, done.returncode), done.stderr[-2000:]
