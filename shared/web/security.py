"""Who may call a route, and ask what. The roles stand on the route, are shown in OpenAPI as `x-roles`, and every 403 is
audited; a query parameter that the route does not declare is refused, to those who may call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase

from shared import audit
from shared.auth import Principal, Role
from shared.database import PLATFORM
from shared.errors import Forbidden, Unauthenticated
from shared.web.problems import on_domain_error
from shared.web.wiring import Wiring, wiring

_TOKEN = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="token", description="OIDC access token")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_TOKEN)]


class Requires:
    """A dependency that hands the principal to the route, or refuses it.

    A service with another way to prove who is asking subclasses this: it makes the principal, and calls `admit`. What
    it reads of the request it asks for itself: each dependency of a dependency costs FastAPI more than its answer.
    """

    schemes: ClassVar[Mapping[str, SecurityBase]] = {"token": _TOKEN}
    """What OpenAPI shows, by name."""

    def __init__(self, *roles: Role) -> None:
        if not roles:
            raise ValueError("a route names the roles it is for")
        self.roles = frozenset(roles)

    async def __call__(self, request: Request) -> Principal:
        bearer = await _TOKEN(request)
        if bearer is None:
            raise Unauthenticated("a bearer token is needed")
        app = await wiring(request)
        return self.admit(request, await app.verifier.verify(bearer.credentials))

    def admit(self, request: Request, who: Principal) -> Principal:
        # Kept before anything is refused, or the audit entry of the refusal would not know whose it was.
        request.state.principal = who
        if who.has(Role.CLIENT) and Role.CLIENT not in self.roles:
            raise Forbidden("clients are served aggregates, by governance alone", code="client-boundary")
        if not who.has(*self.roles):
            raise Forbidden("none of the token's roles may do this", code="role-missing")
        _refuse_unknown_parameters(request)
        return who


def _refuse_unknown_parameters(request: Request) -> None:
    """A filter nobody knows would be no filter at all: the answer would show what was not asked for."""
    known: frozenset[str] = request.app.state.parameters[request.scope["endpoint"], request.method]
    if unknown := sorted(request.query_params.keys() - known):
        said = {"type": "extra_forbidden", "msg": "there is no such parameter here"}
        raise RequestValidationError([{**said, "loc": ("query", name)} for name in unknown])


def requires(*roles: Role) -> Any:  # noqa: ANN401 - what Depends itself returns
    """For `Annotated[Principal, requires(Role.AUDITOR, …)]`. Whoever holds `client` is refused unless it is listed."""
    return Depends(Requires(*roles))


def route_template(request: Request) -> str:
    """`GET /v1/cycles/{cycle}`: names the route without naming what was asked for."""
    templates: dict[tuple[object, str], str] = request.app.state.templates
    path = templates.get((request.scope.get("endpoint"), request.method), "-")
    return f"{request.method} {path}"


async def on_forbidden(request: Request, error: Forbidden) -> Response:
    """Runs after the request's own transaction was rolled back: the entry has one of its own. If it cannot be written,
    the answer is that failure, so that no refusal goes unrecorded."""
    app: Wiring = request.app.state.wiring
    who: Principal | None = getattr(request.state, "principal", None)
    provider = (who and who.provider) or PLATFORM
    async with app.database.begin(provider) as tx:
        by, route = who.subject if who else "-", route_template(request)
        await audit.record(tx, by, app.clock(), "access.refused", route, "refused", reason=error.reason)
    return await on_domain_error(request, error)
