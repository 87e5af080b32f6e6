"""FHIR R4 4.0.1 as compact data; `distil` makes it from the official package."""
