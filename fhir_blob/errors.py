"""The ways a request can fail, each a class with its HTTP status, issue code and sentence.

FhirError
 |- BadRequest 400            |- NotFound 404             |- UnsupportedMediaType 415
 |   |- NotParseable          |   |- UnknownType          |- Unprocessable 422
 |   |- BadParameter          |   |- UnknownVersion       |   |- Invalid
 |   |- BodyTruncated         |- MethodNotAllowed 405     |- Internal 500
 |- Unauthenticated 401       |- NotAcceptable 406        |- Unavailable 503
 |- Forbidden 403             |- UploadTimeout 408        |   |- TooManyTransfers
 |- Conflict 409              |- Gone 410                 |- StorageFull 507
 |- LengthRequired 411        |- PreconditionFailed 412   |- UrlTooLong 414
 |- TooLarge 413              |- RangeNotSatisfiable 416  |- HeaderTooLarge 431
 |- Throttled 429

Issue codes are those of https://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of an OperationOutcome; `expression` is the FHIRPath of the element."""

    severity: str
    code: str
    diagnostics: str
    expression: str | None = None


class FhirError(Exception):
    """A failure that the client is told of, as an OperationOutcome."""

    status = 500
    code = "exception"

    def __init__(
        self,
        diagnostics: str,
        *,
        expression: str | None = None,
        issues: tuple[Issue, ...] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(diagnostics)
        self.issues = issues or (Issue("error", self.code, diagnostics, expression),)
        self.headers = headers

    def for_operator(self) -> dict[str, str]:
        """`error`, and `cause` where a driver said more of a part out of reach: it may name a host, or a user."""
        raised = getattr(self.__cause__, "orig", None) or self.__cause__
        cause = str(raised).strip().partition("\n")[0][:300] if isinstance(self, Unavailable) and raised else ""
        return {"error": str(self)} | ({"cause": cause} if cause else {})


class BadRequest(FhirError):
    status, code = 400, "invalid"


class NotParseable(BadRequest):
    code = "structure"


class BadParameter(BadRequest):
    code = "value"


class BodyTruncated(BadRequest):
    code = "incomplete"


class Unauthenticated(FhirError):
    status, code = 401, "login"


class Forbidden(FhirError):
    status, code = 403, "forbidden"


class NotFound(FhirError):
    status, code = 404, "not-found"


class UnknownType(NotFound):
    code = "not-supported"


class UnknownVersion(NotFound):
    pass


class MethodNotAllowed(FhirError):
    status, code = 405, "not-supported"


class NotAcceptable(FhirError):
    status, code = 406, "not-supported"


class UploadTimeout(FhirError):
    """The rest of the body is not waited for, so the connection ends with the answer."""

    status, code = 408, "timeout"

    def __init__(self, diagnostics: str) -> None:
        super().__init__(diagnostics, headers={"Connection": "close"})


class Conflict(FhirError):
    status, code = 409, "conflict"


class Gone(FhirError):
    status, code = 410, "deleted"


class LengthRequired(FhirError):
    status, code = 411, "required"


class PreconditionFailed(FhirError):
    status, code = 412, "conflict"


class TooLarge(FhirError):
    status, code = 413, "too-long"


class UrlTooLong(FhirError):
    status, code = 414, "too-long"


class UnsupportedMediaType(FhirError):
    status, code = 415, "not-supported"


class RangeNotSatisfiable(FhirError):
    status, code = 416, "value"


class Unprocessable(FhirError):
    status, code = 422, "processing"


class Invalid(Unprocessable):
    """The resource breaks the rules of its definition; `issues` names each break."""

    code = "invariant"


class Throttled(FhirError):
    """Asked too often; always with Retry-After (seconds)."""

    status, code = 429, "throttled"


class HeaderTooLarge(FhirError):
    status, code = 431, "too-long"


class Internal(FhirError):
    pass


class Unavailable(FhirError):
    """A part that the server stands on is out of reach; always with Retry-After (seconds)."""

    status, code = 503, "transient"

    def __init__(self, diagnostics: str, *, retry_after: int = 5) -> None:
        super().__init__(diagnostics, headers={"Retry-After": str(retry_after)})


class TookTooLong(Unavailable):
    """A statement or a search past its time limit."""

    code = "timeout"


class TooManyTransfers(Unavailable):
    code = "throttled"


class StorageFull(FhirError):
    status, code = 507, "no-store"
