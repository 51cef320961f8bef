"""Every answer that is not a success: RFC 9457 problems, with the trace id and nothing of our insides.

    DomainError              its own status
    Refusal                  what HTTP itself makes wrong: bodies, encodings, cursors
    validation               422, one entry with a JSON pointer per offending input, never the input
    transient                503 with Retry-After
    anything else            500; the exception goes to the log

`type` is `urn:plumbline:problem:<reason>`: a name to branch on, listed in the service's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException as RouterException

from shared import telemetry
from shared.errors import DomainError, is_transient
from shared.field_problems import FieldProblem

PROBLEM_TYPE = "urn:plumbline:problem:"
_RETRY_SECONDS = "2"
_ERRORS_SHOWN = 100

_log = structlog.get_logger(__name__)


class Refusal(HTTPException):
    """A request refused before any rule of ours was asked. An `HTTPException`, because FastAPI would turn any other
    error that is raised while a body is read into a 400 without a reason."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        problems: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.reason = reason
        self.problems = tuple(problems)


class ErrorOut(BaseModel):
    pointer: str
    code: str
    detail: str


class Problem(BaseModel):
    """The shape of every error, as the OpenAPI document shows it."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str | None = None
    errors: list[ErrorOut] | None = None


def problem(
    status: int,
    reason: str,
    detail: str,
    problems: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, str | int | list[dict[str, str]]] = {
        "type": PROBLEM_TYPE + reason,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if trace_id := telemetry.current_trace_id():
        body["trace_id"] = trace_id
    if problems:
        body["errors"] = [asdict(each) for each in problems]
    return Response(json.dumps(body, ensure_ascii=False), status, headers, "application/problem+json")


async def on_domain_error(_: Request, error: DomainError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else None
    return problem(error.status, error.reason, error.detail, error.problems, headers)


async def on_http_exception(_: Request, error: RouterException) -> Response:
    if isinstance(error, Refusal):
        return problem(error.status_code, error.reason, error.detail, error.problems, error.headers)
    reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return problem(error.status_code, reason, str(error.detail), headers=error.headers)


async def on_invalid_input(_: Request, error: RequestValidationError) -> Response:
    found = [
        FieldProblem(_pointer(each["loc"]), str(each["type"]).replace("_", "-"), _said(each["type"], each["msg"]))
        for each in error.errors()[:_ERRORS_SHOWN]
    ]
    return problem(422, "invalid-input", f"{len(error.errors())} of the inputs cannot be accepted", found)


def on_unexpected(error: Exception) -> Response:
    """For what no handler knows. A bug of ours must not read like a mistake of the caller's, nor show our insides."""
    if is_transient(error):
        _log.warning("request failed for now", error=type(error).__name__)
        return problem(503, "try-again", "this cannot be done at the moment", headers={"Retry-After": _RETRY_SECONDS})
    _log.error("request failed", exc_info=error)
    return problem(500, "internal-error", "this failed for a reason that is ours")


def _pointer(location: Sequence[str | int]) -> str:
    """A JSON pointer into the body; for a query, path, header or cookie parameter its name."""
    where, *rest = location
    if where != "body":
        return ".".join(str(part) for part in rest) or str(where)
    return pointer(rest)


def pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


# Pydantic's own sentences for these quote what was sent.
_WITHOUT_QUOTE = {
    "union_tag_invalid": "this kind is not known here",
    "uuid_parsing": "not a UUID",
}


def _said(kind: str, message: str) -> str:
    return _WITHOUT_QUOTE.get(kind, message.removeprefix("Value error, "))
