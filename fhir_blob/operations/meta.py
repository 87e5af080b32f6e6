"""`$meta`, `$meta-add` and `$meta-delete`: the profiles, tags and security labels of resources.

A change is a new version like every other: R4 would not count it as one, but the history here is append-only.
Source: https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_blob.errors import BadParameter
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context, read
from fhir_blob.interactions.patch import patch
from fhir_blob.operations.parameters import Parameters
from fhir_blob.search.sql import labels
from fhir_blob.store import Version

_LISTS = ("profile", "security", "tag")


def of_all(context: Context, type: str | None) -> Answer:
    """200 with every profile, tag and security label that a resource of the type, or of any, has."""
    types = [type] if type else list(definitions().types)
    with context.services.store.read(context.tenant) as reader:
        profiles = labels.profiles(reader, types)
        codings = {name: [_coding(*each) for each in labels.codings(reader, types, name)] for name in _LISTS[1:]}
    return _told({name: values for name, values in {"profile": profiles, **codings}.items() if values})


def of_one(context: Context, type: str, id: str, number: str | None = None) -> Answer:
    """200 with the meta of the current version, or of that one."""
    with context.services.store.read(context.tenant) as reader:
        version = read.current(reader, type, id) if number is None else read.numbered(reader, type, id, number)
    return _told(_meta(version))


def add(context: Context, type: str, id: str, given: Parameters, *, if_match: int | None = None) -> Answer:
    """200 with the meta, the given profiles, tags and labels in it. What has them all already stays as it is."""
    return _change(context, type, id, _Added(_given(given)), if_match)


def delete(context: Context, type: str, id: str, given: Parameters, *, if_match: int | None = None) -> Answer:
    """200 with the meta, the given profiles, tags and labels not in it; a tag is known by its system and code."""
    return _change(context, type, id, _Deleted(_given(given)), if_match)


@dataclass(frozen=True, slots=True)
class _Added:
    meta: dict[str, Any]

    def apply(self, resource: Any) -> Any:
        meta = dict(resource.get("meta", {}))
        for name in _LISTS:
            known = {_key(each) for each in meta.get(name, ())}
            new = {_key(each): each for each in self.meta.get(name, ()) if _key(each) not in known}
            if new:
                meta[name] = [*meta.get(name, ()), *new.values()]
        return {**resource, "meta": meta}


@dataclass(frozen=True, slots=True)
class _Deleted:
    meta: dict[str, Any]

    def apply(self, resource: Any) -> Any:
        meta = dict(resource.get("meta", {}))
        for name in _LISTS:
            given = {_key(each) for each in self.meta.get(name, ())}
            kept = [each for each in meta.pop(name, ()) if _key(each) not in given]
            meta |= {name: kept} if kept else {}
        return {**resource, "meta": meta}


def _change(context: Context, type: str, id: str, change: _Added | _Deleted, if_match: int | None) -> Answer:
    with context.services.store.read(context.tenant) as reader:
        current = read.current(reader, type, id)
    resource = codec.parse(current.body)
    is_same = change.apply(resource)["meta"] == resource["meta"]
    if is_same and if_match in (None, current.version):
        return _told(_meta(current))
    done = patch(context, type, id, change, if_match=if_match).version
    assert done is not None  # of a patch
    return _told(_meta(done))


def _given(given: Parameters) -> dict[str, Any]:
    given.only("meta")
    meta = given.one("meta")
    if not isinstance(meta, dict):
        raise BadParameter("The parameter 'meta' is needed, as a valueMeta.")
    unknown = next((name for name in meta if name not in _LISTS), None)
    if unknown is not None:
        raise BadParameter(f"meta.{unknown[:60]} cannot be added or deleted: {', '.join(_LISTS)} can.")
    return meta


def _key(value: Any) -> tuple[str, str]:
    """A canonical is a text, a Coding is known by its system and code."""
    return (str(value.get("system", "")), str(value.get("code", ""))) if isinstance(value, dict) else ("", str(value))


def _coding(system: str, code: str) -> dict[str, str]:
    return {name: value for name, value in (("system", system), ("code", code)) if value}


def _meta(version: Version) -> dict[str, Any]:
    found: dict[str, Any] = codec.parse(version.body)["meta"]
    return found


def _told(meta: dict[str, Any]) -> Answer:
    parameter = {"name": "return", "valueMeta": meta or {"extension": [_NOTHING]}}
    return Answer(200, codec.dump({"resourceType": "Parameters", "parameter": [parameter]}))


# A Meta may not be empty: https://hl7.org/fhir/R4/extension-data-absent-reason.html
_NOTHING = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "not-applicable"}
