"""fhir_blob: a FHIR R4 server for the resources that carry bytes."""

__version__ = "0.1.0"
