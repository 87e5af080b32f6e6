"""The installation's key."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fhir_blob.blobs.secrets import Keys
from fhir_blob.settings import SettingsError

LOAD = """
import sys
from pathlib import Path
from fhir_blob.blobs.secrets import Keys
print(Keys.load(Path(sys.argv[1]), "").derived("x").hex())
"""


def test_file_is_made_once(tmp_path: Path) -> None:
    """The first start makes the key, for its owner alone; the next one reads the same."""
    first = Keys.load(tmp_path / "data", "")

    second = Keys.load(tmp_path / "data", "")

    assert first == second
    assert ["secret.key"] == [path.name for path in (tmp_path / "data").iterdir()]
    assert 0o600 == stat.S_IMODE((tmp_path / "data" / "secret.key").stat().st_mode)


def test_processes_at_once(tmp_path: Path) -> None:
    """Processes that start together all have the same key."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        for _ in range(4)
    ]

    keys = {process.communicate()[0] for process in started}

    assert 1 == len(keys)
    assert {0} == {process.returncode for process in started}


def test_setting_wins(tmp_path: Path) -> None:
    """With a key in the settings no file is made, and the same key gives the same."""
    keys = [Keys.load(tmp_path, "a key") for _ in range(2)]

    assert keys[0] == keys[1] != Keys.load(tmp_path, "another")
    assert [] == list(tmp_path.iterdir())


def test_encrypt(tmp_path: Path) -> None:
    """What was encrypted is read again with the same key, and shows nothing."""
    keys = Keys.load(tmp_path, "a key")

    encrypted = keys.encrypt(b"the secret")

    assert b"the secret" == Keys.load(tmp_path, "a key").decrypt(encrypted)
    assert b"secret" not in encrypted
    assert encrypted != keys.encrypt(b"the secret")


def test_other_key(tmp_path: Path) -> None:
    """Another key explains its loss."""
    encrypted = Keys.load(tmp_path, "a key").encrypt(b"the secret")

    with pytest.raises(SettingsError, match="bring back FHIR_BLOB_SECRET_KEY or the file secret.key"):
        Keys.load(tmp_path, "another").decrypt(encrypted)


def test_purposes_differ(tmp_path: Path) -> None:
    """A key that is derived for one thing is good for no other."""
    keys = Keys.load(tmp_path, "a key")

    assert keys.derived("cursor") != keys.derived("accounts")


def test_repr_shows_nothing(tmp_path: Path) -> None:
    """A key that ends up in a log by mistake is not told."""
    assert "Keys()" == repr(Keys.load(tmp_path, "a key"))
