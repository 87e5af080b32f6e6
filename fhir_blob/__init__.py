"""fhir_blob: a FHIR R4 server for the resources that carry bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from fhir_blob.settings import Settings

__version__ = "0.1.0"


def create_app(settings: Settings | None = None) -> Flask:
    """The server as a Flask application: for `flask --app fhir_blob run`, or to mount in another."""
    from fhir_blob.app import create_app as create  # the parts are wired only where they are used

    return create(settings)
