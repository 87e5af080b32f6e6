"""Who is asking, and whether they may: credentials become a Principal, `authorise` decides."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_blob.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: `name` is written beside what they make, `tenant` bounds what they see."""

    name: str
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: the FHIR interaction or operation, and what it is asked of."""

    interaction: str
    type: str | None = None
    id: str | None = None


# Everybody, where `auth` is none.
ANYBODY = Principal("anonymous")


def authorise(principal: Principal, request: Request) -> None:
    """Forbidden where the principal may not do this; called once for every request."""
    if not principal.tenant:
        raise Forbidden(f"{principal.name} may not {request.interaction}.")
