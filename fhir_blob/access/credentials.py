"""HTTP Basic users and Bearer tokens from the settings, kept as argon2 hashes.

A hash that was checked once is remembered by a keyed digest, since argon2 takes tens of milliseconds.
Source: https://www.rfc-editor.org/rfc/rfc7617 and https://www.rfc-editor.org/rfc/rfc6750
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from threading import Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_blob.access import ANYBODY, Principal
from fhir_blob.errors import Unauthenticated
from fhir_blob.settings import Settings, SettingsError

_hasher = PasswordHasher()
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="fhir_blob", charset="UTF-8", Bearer realm="fhir_blob"'}


class Credentials:
    """Knows who may come in. `identify` takes an Authorization header and gives the Principal."""

    def __init__(self, settings: Settings) -> None:
        self._required = settings.auth == "required"
        self._users = read_hashes("users", settings.users)
        self._tokens = read_hashes("tokens", settings.tokens)
        if self._required and not (self._users or self._tokens):
            raise SettingsError(
                "FHIR_BLOB_AUTH is 'required', but neither FHIR_BLOB_USERS nor FHIR_BLOB_TOKENS is set."
            )
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, str] = {}
        self._lock = Lock()
        self._decoy = _hasher.hash(secrets.token_hex())

    def identify(self, authorization: str | None) -> Principal:
        """Unauthenticated where the header is missing, malformed or wrong."""
        if not self._required:
            return ANYBODY
        scheme, _, value = (authorization or "").partition(" ")
        name = _SCHEMES.get(scheme.lower(), Credentials._nobody)(self, value.strip())
        if name is None:
            raise Unauthenticated("Sign in with HTTP Basic or a Bearer token.", headers=_CHALLENGE)
        return Principal(name)

    def knows(self, authorization: str | None) -> bool:
        """Whether `identify` answers at once: there is nothing to check, or it was checked before and was right."""
        scheme, _, value = (authorization or "").partition(" ")
        if not self._required or scheme.lower() not in _SCHEMES:
            return True
        if scheme.lower() == "bearer":
            return self._digest("token", value.strip()) in self._known
        user, password = _user(value.strip()) or ("", "")
        return self._digest(self._users.get(user, self._decoy), password) in self._known

    def _basic(self, value: str) -> str | None:
        given = _user(value)
        if given is None:
            return None
        user, password = given
        found = self._users.get(user, self._decoy)
        return user if self._matches(found, password) and user in self._users else None

    def _bearer(self, value: str) -> str | None:
        known = self._known.get(self._digest("token", value))
        if known is not None:
            return known
        return next(
            (name for name, hashed in self._tokens.items() if self._remember("token", name, hashed, value)), None
        )

    def _nobody(self, value: str) -> str | None:
        return None

    def _matches(self, hashed: str, secret: str) -> bool:
        return self._digest(hashed, secret) in self._known or self._remember(hashed, hashed, hashed, secret)

    def _remember(self, scope: str, name: str, hashed: str, secret: str) -> bool:
        with self._lock:
            if not _verify(hashed, secret):
                return False
            self._known[self._digest(scope, secret)] = name
        return True

    def _digest(self, scope: str, secret: str) -> bytes:
        return hmac.digest(self._key, f"{scope}\0{secret}".encode(), hashlib.sha256)


def _user(value: str) -> tuple[str, str] | None:
    """Name and password of HTTP Basic."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


_SCHEMES = {"basic": Credentials._basic, "bearer": Credentials._bearer}


def hash_secret(secret: str) -> str:
    """The argon2 hash of a password or token, as FHIR_BLOB_USERS and FHIR_BLOB_TOKENS take it."""
    return _hasher.hash(secret)


def _verify(hashed: str, secret: str) -> bool:
    try:
        return _hasher.verify(hashed, secret)
    except (VerificationError, InvalidHashError):
        return False


def read_hashes(setting: str, text: str) -> Mapping[str, str]:
    """'name=hash name=hash'; SettingsError for what is none, without quoting it: it may be a password."""
    pairs = [each.partition("=")[::2] for each in text.split()]
    for number, (name, hashed) in enumerate(pairs, 1):
        if not name or not hashed.startswith("$argon2"):
            raise SettingsError(
                f"FHIR_BLOB_{setting.upper()} takes name=hash, with blanks between them, and number {number} is none:"
                " make a hash with `fhir-blob hash`, and put single quotes around it in a shell, as it has $ in it."
            )
    return dict(pairs)
