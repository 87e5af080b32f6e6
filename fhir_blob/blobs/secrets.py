"""The installation's key: it encrypts the secrets of S3 accounts and signs search cursors.

It is FHIR_BLOB_SECRET_KEY, or a file in the data folder that is made once. Whoever loses it keeps all
resources and bytes, but has to PUT each AwsAccount with its secret again.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from fhir_blob.settings import SettingsError

_FILE = "secret.key"


@dataclass(frozen=True, slots=True)
class Keys:
    _master: bytes = field(repr=False)

    @classmethod
    def load(cls, data: Path, secret_key: str) -> Keys:
        """The key from the setting, else from the file, which is made where it is missing."""
        if secret_key:
            return cls(hmac.digest(b"fhir_blob", secret_key.encode(), "sha256"))
        path = data / _FILE
        if not path.exists():
            _make(path)
        return cls(path.read_bytes())

    def encrypt(self, secret: bytes) -> bytes:
        return self._fernet().encrypt(secret)

    def decrypt(self, token: bytes) -> bytes:
        """SettingsError where it was encrypted with another key."""
        try:
            return self._fernet().decrypt(token)
        except InvalidToken as error:
            raise SettingsError(
                f"The secret of an S3 account was encrypted with another key than the one in use: bring back"
                f" FHIR_BLOB_SECRET_KEY or the file {_FILE}, or PUT the AwsAccount again."
            ) from error

    def derived(self, purpose: str) -> bytes:
        """A key for that purpose alone."""
        return hmac.digest(self._master, purpose.encode(), "sha256")

    def _fernet(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(self.derived("accounts")))


def _make(path: Path) -> None:
    """Of several processes that start at once one makes the file, whole from the first moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{_FILE}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
