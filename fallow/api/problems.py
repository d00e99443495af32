"""Errors as ``application/problem+json`` (RFC 9457): a stable type, a status, what happened and the remedy; never the input.

The table is total over the errors' tree; a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fallow.domain import errors
from fallow.domain.errors import FallowError, PersonRefused, TargetUnavailable

PREFIX = "urn:fallow:error:"


class KeyNotAccepted(PersonRefused):
    """The request carries no valid API key."""

    code = "key-not-accepted"


class PingNotProved(FallowError):
    """The endpoint answered a ping without proving that it holds the proposed key."""

    code = "ping-not-proved"


#: The answer to each expected error.
STATUS: dict[type[FallowError], HTTPStatus] = {
    errors.FallowError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InputRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NumberMalformed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InstantMalformed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RowMalformed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AnswerMalformed: HTTPStatus.BAD_REQUEST,
    # The next three are the operator's to mend, not the caller's: no request can be blamed for them.
    errors.PolicyRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.MapRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SettingRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    # What we keep ourselves does not hold, or was asked for wrongly, which the API sees before.
    errors.EvidenceRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ProofRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.NoteRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.EntryRefused: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.CommandRefused: HTTPStatus.CONFLICT,
    errors.GateRefused: HTTPStatus.CONFLICT,
    errors.PersonRefused: HTTPStatus.FORBIDDEN,
    errors.SecondPersonNeeded: HTTPStatus.FORBIDDEN,
    KeyNotAccepted: HTTPStatus.UNAUTHORIZED,
    errors.NotKnown: HTTPStatus.NOT_FOUND,
    errors.SignatureRefused: HTTPStatus.UNAUTHORIZED,
    PingNotProved: HTTPStatus.BAD_GATEWAY,
    errors.RequestRejected: HTTPStatus.BAD_GATEWAY,
    errors.WipeRefused: HTTPStatus.BAD_GATEWAY,
    errors.TargetUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LeaseLost: HTTPStatus.SERVICE_UNAVAILABLE,
}
#: Refusals of HTTP itself: stable name and remedy.
_HTTP: dict[int, tuple[str, str]] = {
    400: ("body-unreadable", "send one whole JSON document in UTF-8."),
    404: ("path-not-known", "see docs/api.md for the paths."),
    405: ("method-not-allowed", "see docs/api.md for the methods of this path."),
    408: ("body-too-slow", "send the whole body at once."),
    413: ("body-too-long", "send at most 64 KiB; a batch of answers may have 4 MiB, a file 64 MiB."),
    415: ("media-type-refused", "send a file as text/csv and everything else as application/json."),
    503: ("too-many-bodies", "send the same body again in a few seconds."),
}

_log = structlog.get_logger()


@dataclass(frozen=True)
class Problem:
    """One problem document.

    Attributes:
        status: the HTTP status.
        code: stable name; the last part of ``type``.
        title: the kind of error, in one sentence.
        detail: what happened now, and the remedy.
        headers: sent with it.
        more: further members.
    """

    status: int
    code: str
    title: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def unexpected(cls) -> Self:
        """Return the problem that shows nothing of its cause."""
        detail = "Nothing was changed, or all of it was. Remedy: repeat the request; if it fails again, see the API's log."
        return cls(500, "unexpected", "Something failed that should not.", detail)

    def response(self) -> JSONResponse:
        """Return it as a response."""
        content = {"type": PREFIX + self.code, "title": self.title, "status": self.status, "detail": self.detail, **self.more}
        return JSONResponse(content, self.status, dict(self.headers), "application/problem+json")


def register(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem."""
    app.add_exception_handler(FallowError, _of_expected)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    for unavailable in (OperationalError, InterfaceError, PoolExhausted):
        app.add_exception_handler(unavailable, _of_database)
    app.add_exception_handler(ClientDisconnect, _of_disconnect)


def of_error(error: FallowError) -> Problem:
    """Return the problem of an expected error; what only the operator can mend goes to the log, not to the caller."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("installation at fault", code=error.code, what=error.what)
        return Problem.unexpected()
    headers = {}
    if isinstance(error, TargetUnavailable) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Problem(status, error.code, _title(error), str(error), headers)


def _title(error: FallowError) -> str:
    return (type(error).__doc__ or "").strip().splitlines()[0]


def _of_expected(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FallowError)  # noqa: S101 - for the type checker: registered for this class only
    return of_error(error).response()


def _of_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    status = HTTPStatus(error.status_code)
    code, remedy = _HTTP.get(status, (f"http-{status}", "see docs/api.md."))
    detail = f"{status.phrase}. Remedy: {remedy}"
    return Problem(status, code, f"{status.phrase}.", detail, error.headers or {}).response()


def _of_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    faults = [{"where": _where(fault), "what": str(fault["msg"])} for fault in error.errors()]
    detail = "The request does not have the form it must have. Remedy: compare it with docs/api.md or /openapi.json."
    return Problem(422, "request-malformed", "The request is malformed.", detail, more={"faults": faults}).response()


def _where(fault: Mapping[str, Any]) -> str:
    # An unknown key is the caller's own text, and so are keys further in: neither is repeated.
    place = [str(part) for part in fault["loc"]][: 1 if fault["type"] == "extra_forbidden" else 2]
    return ".".join(place)


def _of_database(_request: Request, error: Exception) -> JSONResponse:
    _log.error("database unavailable", error=type(error).__name__)
    detail = "The database did not answer. Remedy: repeat the request in a few seconds."
    headers = {"retry-after": "5"}
    return Problem(503, "database-unavailable", "The engine's database is unavailable.", detail, headers).response()


def _of_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    return Problem(400, "disconnected", "The body ended early.", "Nothing was changed. Remedy: send the request again.").response()
