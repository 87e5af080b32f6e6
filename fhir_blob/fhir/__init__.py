"""FHIR R4 as data and pure functions: definitions, validation, paths, attachments. No input or output."""
