"""Aidbox's door at the edge: AwsAccount, and URLs for files in an account's bucket; JSON and YAML.

Source: https://www.health-samurai.io/docs/aidbox/storage-1/s3-compatible-storages/aws-s3
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request

from fhir_blob.access import Request as Asked
from fhir_blob.access import authorise
from fhir_blob.api import requests
from fhir_blob.api.binary import seconds_of
from fhir_blob.api.limits import Admission
from fhir_blob.api.requests import Request
from fhir_blob.api.responses import Ready
from fhir_blob.blobs import SignedUrl
from fhir_blob.errors import BadRequest, NotParseable, UnsupportedMediaType
from fhir_blob.fhir import codec
from fhir_blob.fhir.media import essence
from fhir_blob.interactions import Context, Services
from fhir_blob.operations import storage

# Aidbox's default, in seconds.
_EXPIRATION = 86_400
_YAML = {"application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"}
_JSON = {"application/json", "application/fhir+json", "text/json"}


Handle = Callable[[Request, Context, dict[str, str]], Ready]


def blueprint(services: Services, admission: Admission) -> Blueprint:
    """/AwsAccount/<id> and /aws/storage/<account>/<bucket>[/<filename>]."""
    made = Blueprint("storage", __name__)

    def route(
        rule: str, method: str, interaction: str, handle: Callable[[Request, Context, dict[str, str]], Ready]
    ) -> None:
        def view(**at: str) -> Response:
            asked = Request(request.environ)
            asked.environ["fhir_blob.did"] = interaction
            principal = admission.principal(asked)
            authorise(principal, Asked(interaction, "AwsAccount", at.get("account")))
            return handle(asked, Context(services, principal, requests.base_url(asked, services)), at)

        made.add_url_rule(rule, interaction, view, methods=[method])

    route("/AwsAccount/<account>", "PUT", "update-account", _put_account)
    route("/AwsAccount/<account>", "GET", "read-account", _get_account)
    route("/AwsAccount/<account>", "DELETE", "delete-account", _delete_account)
    route("/aws/storage/<account>/<bucket>", "POST", "sign-upload", _sign_upload)
    route("/aws/storage/<account>/<bucket>/<path:filename>", "GET", "sign-download", _sign_download)
    route("/aws/storage/<account>/<bucket>/<path:filename>", "DELETE", "sign-delete", _sign_delete)
    return made


def _put_account(request: Request, context: Context, at: dict[str, str]) -> Ready:
    put = context.services.accounts.put
    document, created = put(context.tenant, at["account"], _document(request, context.services))
    return _json(document, 201 if created else 200)


def _get_account(request: Request, context: Context, at: dict[str, str]) -> Ready:
    return _json(context.services.accounts.get(context.tenant, at["account"]))


def _delete_account(request: Request, context: Context, at: dict[str, str]) -> Ready:
    return _json(context.services.accounts.delete(context.tenant, at["account"]))


def _sign_upload(request: Request, context: Context, at: dict[str, str]) -> Ready:
    filename = _document(request, context.services).get("filename")
    if not isinstance(filename, str):
        raise BadRequest("The body has to be an object with a filename.", expression="filename")
    return _url(storage.upload_url(context, at["account"], at["bucket"], filename, _seconds(request)))


def _sign_download(request: Request, context: Context, at: dict[str, str]) -> Ready:
    return _url(storage.download_url(context, at["account"], at["bucket"], at["filename"], _seconds(request)))


def _sign_delete(request: Request, context: Context, at: dict[str, str]) -> Ready:
    return _url(storage.delete_url(context, at["account"], at["bucket"], at["filename"], _seconds(request)))


def _seconds(request: Request) -> int:
    given = request.parameter("expiration")
    return seconds_of(given) if given else _EXPIRATION


def _document(request: Request, services: Services) -> dict[str, Any]:
    """The body as JSON or, as Aidbox's examples have it, YAML (also where it says nothing of its type)."""
    kind, text = essence(request.content_type), requests.body(request, services)
    if kind in _JSON:
        document = codec.parse(text)
    elif kind in _YAML or not kind:
        document = _yaml(text)
    else:
        raise UnsupportedMediaType(f"Content-Type is {kind[:80]!r}: this takes application/json or text/yaml.")
    if not isinstance(document, dict):
        raise BadRequest("The body has to be an object.")
    return document


def _yaml(text: bytes) -> Any:
    import yaml  # only this door reads YAML, so nobody else waits for it

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotParseable("The body is not YAML.") from error


def _json(document: Mapping[str, Any], status: int = 200) -> Ready:
    body = orjson.dumps(dict(document))
    return Ready(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)


def _url(signed: SignedUrl) -> Ready:
    return _json({"url": signed.url})
