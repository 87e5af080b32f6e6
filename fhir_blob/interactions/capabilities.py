"""The capabilities interaction: https://hl7.org/fhir/R4/http.html#capabilities

The CapabilityStatement is made from the tables that the server runs on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fhir_blob import __version__
from fhir_blob.fhir import codec, patch
from fhir_blob.fhir.definitions import Definitions, SearchParameter, definitions
from fhir_blob.interactions import Answer, Context
from fhir_blob.interactions.search import COMPARTMENTS
from fhir_blob.search.grammar.clauses import parameters
from fhir_blob.search.sql.includes import references

TYPE_INTERACTIONS = (
    "create", "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "search-type",
)  # fmt: skip
SYSTEM_INTERACTIONS = ("transaction", "batch", "history-system", "search-system")
FORMATS = ("json", "application/fhir+json", "xml", "application/fhir+xml")
_DEFINITION = "https://fhir-blob.org/OperationDefinition/"
_OPERATIONS = {
    "Binary": (("complete", f"{_DEFINITION}Binary-complete"), ("presigned-url", f"{_DEFINITION}Binary-presigned-url")),
    "Patient": (
        ("everything", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
        ("erase", f"{_DEFINITION}Patient-erase"),
    ),
    "DocumentReference": (("docref", "http://hl7.org/fhir/us/core/OperationDefinition/docref"),),
}
_R4 = "http://hl7.org/fhir/OperationDefinition/"
_OPERATIONS_OF_ALL = (
    ("validate", f"{_R4}Resource-validate"),
    ("meta", f"{_R4}Resource-meta"),
    ("meta-add", f"{_R4}Resource-meta-add"),
    ("meta-delete", f"{_R4}Resource-meta-delete"),
    ("expunge", f"{_DEFINITION}expunge"),
)
_SYSTEM_OPERATIONS = (("reindex", f"{_DEFINITION}reindex"), ("meta", f"{_R4}Resource-meta"))
# Beside the parameters that R4 defines by an expression: https://hl7.org/fhir/R4/search.html#all
_FURTHER = (
    {"name": "_text", "definition": "http://hl7.org/fhir/SearchParameter/DomainResource-text", "type": "string"},
    {"name": "_content", "definition": "http://hl7.org/fhir/SearchParameter/Resource-content", "type": "string"},
    {"name": "_filter", "type": "special"},
    {"name": "_list", "type": "special"},
    {"name": "_has", "type": "special"},
    {"name": "_type", "type": "special"},
)
_COMPARTMENT = "http://hl7.org/fhir/CompartmentDefinition/"
# When this version of the statement was published: https://hl7.org/fhir/R4/capabilitystatement.html
_DATE = "2026-11-21"


def capabilities(context: Context) -> Answer:
    """200 with the CapabilityStatement of this server."""
    settings = context.services.settings
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "software": {"name": "fhir_blob", "version": __version__},
        "implementation": {"description": "fhir_blob, FHIR for the resources that carry bytes", "url": context.base},
        "fhirVersion": "4.0.1",
        "format": list(FORMATS),
        "patchFormat": list(patch.TYPES),
        "rest": [
            {
                "mode": "server",
                "security": {"cors": bool(settings.cors_origins)},
                "resource": [_resource(context, type) for type in definitions().types],
                "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
                "searchParam": [*(_search_parameter(each) for each in parameters(()).values()), *_FURTHER],
                "operation": [{"name": name, "definition": url} for name, url in _SYSTEM_OPERATIONS],
                "compartment": [f"{_COMPARTMENT}{name.lower()}" for name in COMPARTMENTS],
            }
        ],
    }
    return Answer(200, codec.dump(statement))


def _resource(context: Context, type: str) -> dict[str, Any]:
    known = definitions().searchable(type)
    described: dict[str, Any] = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "interaction": [{"code": code} for code in TYPE_INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": context.services.settings.update_create,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": context.services.settings.conditional_delete,
        "searchInclude": ["*", *(f"{type}:{code}" for code in references(type))],
        "searchRevInclude": ["*", *_referring(definitions()).get(type, ())],
        "searchParam": [_search_parameter(each) for each in known.values()],
    }
    operations = (*_OPERATIONS.get(type, ()), *_OPERATIONS_OF_ALL)
    return described | {"operation": [{"name": name, "definition": url} for name, url in operations]}


def _search_parameter(parameter: SearchParameter) -> dict[str, str]:
    return {"name": parameter.code, "definition": parameter.url, "type": parameter.type}


@lru_cache(4)
def _referring(known: Definitions) -> dict[str, list[str]]:
    """By type the reference parameters of other types that may refer to it."""
    found: dict[str, list[str]] = {}
    for type in known.types:
        for code, each in known.searchable(type).items():
            if each.type == "reference":
                for target in each.targets or known.types:
                    found.setdefault(target, []).append(f"{type}:{code}")
    return found
