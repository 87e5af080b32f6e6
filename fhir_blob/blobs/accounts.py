"""S3 accounts: the default one of the settings, and those that clients make as AwsAccount.

Source of AwsAccount: https://www.health-samurai.io/docs/aidbox/storage-1/s3-compatible-storages/aws-s3
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from threading import Lock
from typing import Any

from fhir_blob.blobs import ObjectKey
from fhir_blob.blobs.origins import object_at
from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.secrets import Keys
from fhir_blob.blobs.signing import Credentials, Endpoint
from fhir_blob.errors import Conflict, Invalid, Issue, NotFound, Unavailable
from fhir_blob.fhir import profiles
from fhir_blob.settings import Settings, SettingsError
from fhir_blob.store import Account, ResourceStore, Transaction

DEFAULT = "default"
_SECRET = "secret-access-key"


def open_accounts(settings: Settings, store: ResourceStore, keys: Keys) -> S3Accounts:
    return S3Accounts(settings, store, keys)


class S3Accounts:
    """Accounts(Protocol): a BlobStore for each account and version of it, made when first used."""

    def __init__(self, settings: Settings, store: ResourceStore, keys: Keys) -> None:
        self._settings, self._store, self._keys = settings, store, keys
        self._made: dict[tuple[str, str], tuple[Account, S3BlobStore]] = {}
        self._lock = Lock()

    @cached_property
    def default(self) -> S3BlobStore:
        given = self._settings
        credentials = (
            Credentials(given.s3_access_key_id, given.s3_secret_access_key, given.s3_session_token)
            if given.s3_access_key_id
            else None
        )
        return S3BlobStore(
            DEFAULT,
            endpoint=given.s3_endpoint,
            public_endpoint=given.s3_public_endpoint,
            region=given.s3_region,
            bucket=given.s3_bucket,
            credentials=credentials,
            path_style=given.s3_path_style,
            timeout=given.s3_timeout,
            connections=given.threads + 12,  # and the helpers of transactions
        )

    def store(self, tenant: str, account: str) -> S3BlobStore:
        """NotFound for an account unknown to the tenant."""
        if account == DEFAULT:
            return self.default
        with self._store.read(tenant) as reader:
            found = reader.account(account)
        if found is None:
            raise NotFound(f"AwsAccount/{account[:80]} is not known.")
        with self._lock:
            known, made = self._made.get((tenant, account), (None, None))
            if made is None or known != found:
                made = self._open(found)
                self._made[tenant, account] = (found, made)
        return made

    def locate(self, tenant: str, url: str) -> tuple[ObjectKey, ...]:
        """The objects that a bare or presigned URL may name: one for each account that leads there."""
        found = ((account, object_at(endpoint, url)) for account, endpoint in self._endpoints(tenant))
        return tuple(ObjectKey(account, *at) for account, at in found if at is not None)

    def put(self, tenant: str, id: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The AwsAccount as it is now, without its secret; and whether it is new."""
        _check(id, document)
        kept = {name: value for name, value in document.items() if name not in (_SECRET, "id", "resourceType")}
        secret = self._keys.encrypt(str(document[_SECRET]).encode())

        def work(transaction: Transaction) -> bool:
            known = transaction.account(id)
            version = 1 if known is None else known.version + 1
            transaction.put_account(Account(id, version, 0, json.dumps(kept), secret))
            return known is None

        return _shown(id, kept), self._store.write(tenant, work)

    def get(self, tenant: str, id: str) -> dict[str, Any]:
        with self._store.read(tenant) as reader:
            found = reader.account(id)
        if found is None:
            raise NotFound(f"AwsAccount/{id[:80]} is not known.")
        return _shown(id, json.loads(found.document))

    def delete(self, tenant: str, id: str) -> dict[str, Any]:
        """Conflict while bytes are in it: without it they could not be read any more."""
        known = self.get(tenant, id)

        def work(transaction: Transaction) -> None:
            if transaction.account_in_use(id):
                raise Conflict(f"AwsAccount/{id} holds bytes of Binaries: delete those first.")
            transaction.delete_account(id)

        self._store.write(tenant, work)
        return known

    def _endpoints(self, tenant: str) -> Iterator[tuple[str, Endpoint]]:
        """Where each account's URLs point to, also of those whose secret cannot be read."""
        yield DEFAULT, self.default.public
        with self._store.read(tenant) as reader:
            known = [reader.account(id) for id in reader.account_ids()]
        for each in known:
            if each is not None:
                document = json.loads(each.document)
                style = document.get("path-style", False)
                yield each.id, Endpoint.of(_url(document), document["region"], path_style=style)

    def _open(self, found: Account) -> S3BlobStore:
        document = json.loads(found.document)
        try:
            secret = self._keys.decrypt(found.secret).decode()
        except SettingsError as error:
            raise Unavailable(str(error)) from error
        return S3BlobStore(
            found.id,
            endpoint=_url(document),
            public_endpoint="",
            region=document["region"],
            bucket="",
            credentials=Credentials(document["access-key-id"], secret),
            path_style=document.get("path-style", False),
            timeout=self._settings.s3_timeout,
        )


def _url(document: Mapping[str, Any]) -> str:
    """The endpoint of an AwsAccount; '' for AWS."""
    scheme = "https" if document.get("use-ssl", True) else "http"
    return f"{scheme}://{document['host']}" if document.get("host") else ""


def _check(id: str, document: Mapping[str, Any]) -> None:
    import jsonschema  # only this door uses it

    if id == DEFAULT:
        raise Conflict("The account 'default' is that of the server's settings: choose another id.")
    validator = jsonschema.Draft202012Validator(profiles.read("AwsAccount.schema.json"))
    problems = [
        Issue("error", "invalid", f"AwsAccount: {_sentence(error)}", ".".join(map(str, error.absolute_path)) or None)
        for error in validator.iter_errors(dict(document))
    ]
    if problems:
        raise Invalid("The AwsAccount is not valid.", issues=tuple(problems))
    if document.get("id", id) != id:
        raise Invalid(f"The body's id is {str(document['id'])[:80]!r}, but the URL's is {id[:80]!r}.")


def _sentence(error: Any) -> str:
    """What is wrong, never with a value: it may be the secret."""
    at = ".".join(map(str, error.absolute_path)) or "the document"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return f"{', '.join(missing)} is missing."
    if error.validator == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))
        return f"{', '.join(unknown)[:80]} is unknown."
    return f"{at} has to fit {error.validator} {json.dumps(error.validator_value)[:80]}."


def _shown(id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return {"resourceType": "AwsAccount", "id": id, **document}
