"""The capabilities interaction: https://hl7.org/fhir/R4/http.html#capabilities

The CapabilityStatement is made from the tables that the server runs on.
"""

from __future__ import annotations

from typing import Any

from fhir_blob import __version__
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context

TYPE_INTERACTIONS = (
    "create", "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "search-type",
)  # fmt: skip
SYSTEM_INTERACTIONS = ("history-system",)
FORMATS = ("json", "application/fhir+json")
_OPERATIONS = {"Binary": (("complete", "Binary-complete"), ("presigned-url", "Binary-presigned-url"))}
_DEFINITION = "https://fhir-blob.org/OperationDefinition/"
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
        "rest": [
            {
                "mode": "server",
                "security": {"cors": bool(settings.cors_origins)},
                "resource": [_resource(context, type) for type in definitions().types],
                "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
            }
        ],
    }
    return Answer(200, codec.dump(statement))


def _resource(context: Context, type: str) -> dict[str, Any]:
    parameters = definitions().search_parameters(type)
    described: dict[str, Any] = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "interaction": [{"code": code} for code in TYPE_INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": context.services.settings.update_create,
        "conditionalCreate": type != "Binary",
        "conditionalRead": "full-support",
        "conditionalUpdate": type != "Binary",
        "conditionalDelete": context.services.settings.conditional_delete,
        "searchParam": [
            {"name": each.code, "definition": each.url, "type": each.type}
            for each in parameters.values()
            if each.type != "special"
        ],
    }
    if type in _OPERATIONS:
        described["operation"] = [{"name": name, "definition": _DEFINITION + id} for name, id in _OPERATIONS[type]]
    return described
