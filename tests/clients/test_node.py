"""Node's FHIR clients, fhir-kit-client and SMART's fhirclient, walk the main job (node/walk.js)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.services import node_clients
from tests.services.server import Server

WALK = Path(__file__).parent / "node" / "walk.js"


@pytest.mark.parametrize("client", ["kit", "smart"])
def test_walk(server: Server, client: str) -> None:
    """Create, page, change, patch, history, conditions, a transaction, and bytes up and down."""
    walk = shutil.copy(WALK, node_clients())  # node looks for packages beside the script
    done = subprocess.run(["node", walk, server.base, client], capture_output=True, text=True, timeout=120)

    assert ("walked\n", 0) == (done.stdout, done.returncode), done.stderr[-2000:]
