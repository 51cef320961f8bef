"""Sources prove who they are with an API key; everybody else with a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader
from fastapi.security.base import SecurityBase

from services.ingest.model import Scope
from services.ingest.store import sources
from shared.auth import Principal, Role, parse_api_key
from shared.errors import Forbidden, Unauthenticated
from shared.web import Requires, wiring

_API_KEY = APIKeyHeader(name="X-API-Key", scheme_name="api_key", auto_error=False, description="A source's key")


class RequiresKey(Requires):
    """A source's key with `scope`, or a token with one of `roles`.

    Nothing is remembered between requests: a key that is revoked stops at once.
    """

    schemes: ClassVar[Mapping[str, SecurityBase]] = {**Requires.schemes, "api_key": _API_KEY}

    def __init__(self, scope: Scope, *roles: Role) -> None:
        super().__init__(Role.SOURCE, *roles)
        self._scope = scope

    async def __call__(self, request: Request) -> Principal:
        api_key = await _API_KEY(request)
        if api_key is None:
            who = await super().__call__(request)
            if not who.has(*(self.roles - {Role.SOURCE})):
                raise Forbidden("a source shows its API key, not a token", code="no-source")
            return who
        app = await wiring(request)
        claimed = parse_api_key(api_key)
        found = await sources.find_key(app.database, claimed.id) if claimed else None
        if claimed is None or found is None or not claimed.matches(found[1].digest):
            raise Unauthenticated("this is not an API key of ours", code="unknown-key")
        provider, key = found
        if key.revoked_at is not None:
            raise Unauthenticated("the API key was revoked", code="revoked-key")
        if key.expires_at <= app.clock():
            raise Unauthenticated("the API key has expired", code="expired-key")
        who = Principal(f"key:{key.id}", provider, frozenset({Role.SOURCE}), source=key.source)
        self.admit(request, who)
        if self._scope not in key.scopes:
            raise Forbidden(f"the API key lacks the scope {self._scope}", code="scope-missing")
        return who


def requires_key(scope: Scope, *roles: Role) -> Any:  # noqa: ANN401 - what Depends itself returns
    return Depends(RequiresKey(scope, *roles))
