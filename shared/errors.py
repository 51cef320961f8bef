"""The failure model, at one glance.

PlumblineError
  DomainError        understood and refused          → 4xx over HTTP, parked over Kafka
    Unauthenticated 401 · NotFound 404 · Forbidden 403 · Conflict 409 · RuleViolation 422
    PreconditionFailed 412 · PreconditionRequired 428
  InvalidMessage     bytes that no version of the contract accepts → parked
transient            is_transient(exc): the whole unit of work again, with back-off
anything else        a bug: the process ends, the supervisor starts it again
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.field_problems import FieldProblem


class PlumblineError(Exception):
    """Root of what this project raises on purpose."""


class DomainError(PlumblineError):
    """A request or event that was understood and is refused; `detail` is written for the person who must act."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "refused"

    def __init__(self, detail: str, *, code: str | None = None, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = code or self.code
        self.problems = tuple(problems)


class Unauthenticated(DomainError):
    """Nobody is known to be asking; `code` says what is wrong with what was shown."""

    status = 401
    code = "unauthenticated"


class NotFound(DomainError):
    status = 404
    code = "not-found"


class Forbidden(DomainError):
    status = 403
    code = "forbidden"


class Conflict(DomainError):
    status = 409
    code = "conflict"


class PreconditionFailed(DomainError):
    """The caller decided on a state that is no longer the current one."""

    status = 412
    code = "precondition-failed"


class PreconditionRequired(DomainError):
    status = 428
    code = "precondition-required"


class RuleViolation(DomainError):
    status = 422
    code = "rule-violation"


def refuse_any(problems: Iterable[FieldProblem], code: str) -> None:
    """Raise a `RuleViolation` that names every one of `problems`, if there is any."""
    found = tuple(problems)
    if found:
        raise RuleViolation(f"{len(found)} of the inputs cannot be accepted", code=code, problems=found)


class InvalidMessage(PlumblineError):
    """A record that no version of its contract accepts. It is parked with its bytes, never retried."""


# Class 08 connection, 40 rollback (serialization, deadlock), 53 resources, 55P03 lock not available,
# 57P0x shutdown and crash, 58 system: all of them can succeed when the same work is done again.
_TRANSIENT_SQLSTATES = ("08", "40", "53", "55P03", "57P", "58")
_TRANSIENT_TYPES = (ConnectionError, TimeoutError, PoolTimeout, asyncio.IncompleteReadError)


def is_transient(error: BaseException) -> bool:
    """Whether the same unit of work may succeed when it is tried again as a whole."""
    if isinstance(error, PlumblineError):
        return False
    if isinstance(error, _TRANSIENT_TYPES):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            return isinstance(error, OperationalError | InterfaceError)
        return str(state).startswith(_TRANSIENT_SQLSTATES)
    state = getattr(error, "sqlstate", None)
    return state is not None and str(state).startswith(_TRANSIENT_SQLSTATES)
