"""The server's own conformance resources, kept in the store as profiles/ has them.

So they are read, searched by `url` and versioned like every other resource.
Source: https://hl7.org/fhir/R4/conformance-module.html
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fhir_blob.access import ANYBODY
from fhir_blob.errors import FhirError, Unavailable
from fhir_blob.fhir import codec, profiles
from fhir_blob.interactions import Context, Services
from fhir_blob.interactions.update import update
from fhir_blob.settings import SettingsError


def keep(services: Services) -> int:
    """Store each resource that does not stand there as its file has it; how many those were.

    SettingsError for a file of the folder `profiles` that holds no valid resource with an id.
    """
    settings = services.settings
    own = replace(services, settings=replace(settings, update_create=True))
    context = Context(own, ANYBODY, f"{settings.public_url.rstrip('/')}/fhir")
    changed = [resource for resource in _given(settings.profiles) if not _is_stored(context, resource)]
    for resource in changed:
        _store(context, resource)
    return len(changed)


def _given(folder: str) -> tuple[dict[str, Any], ...]:
    given = profiles.resources()
    if not folder:
        return given
    if not Path(folder).is_dir():
        raise SettingsError(f"FHIR_BLOB_PROFILES is {folder!r}, which is no folder.")
    try:
        further = profiles.resources(Path(folder))
    except ValueError as error:
        raise SettingsError(f"A file in FHIR_BLOB_PROFILES is not JSON: {error}") from error
    if not all(isinstance(each, dict) and each.get("resourceType") and each.get("id") for each in further):
        raise SettingsError("Each file in FHIR_BLOB_PROFILES has to be a FHIR resource with a resourceType and an id.")
    return given + further


def _is_stored(context: Context, resource: dict[str, Any]) -> bool:
    with context.services.store.read(context.tenant) as reader:
        version = reader.current(resource["resourceType"], str(resource["id"]))
    if version is None or version.deleted:
        return False
    stored = codec.parse(version.body)
    meta = {name: value for name, value in stored.pop("meta").items() if name not in ("versionId", "lastUpdated")}
    return bool(codec.parse(codec.dump(resource)) == (stored | {"meta": meta} if meta else stored))


def _store(context: Context, resource: dict[str, Any]) -> None:
    try:
        update(context, resource["resourceType"], resource["id"], codec.parse(codec.dump(resource)))
    except Unavailable:
        raise
    except FhirError as error:
        said = "; ".join(issue.diagnostics for issue in error.issues)
        raise SettingsError(f"{resource['resourceType']}/{resource['id']} cannot be stored: {said}") from error
