"""`Idempotency-Key`: a POST that moves money, publishes or sends is done once, however often it arrives.

The answer is stored in the transaction of the work: there is no moment at which one exists without the other. A request
that failed stores nothing, and its key may be used again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.auth import Principal
from shared.errors import Conflict, RuleViolation
from shared.field_problems import FieldProblem
from shared.web.problems import Refusal
from shared.web.security import route_template
from shared.web.wiring import App

KEPT = timedelta(hours=24)

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:scope, 0))")
_FIND = text("""
    SELECT body_hash, status, answer FROM idempotency_keys
    WHERE provider_id = :provider AND principal = :principal AND route = :route AND key = :key AND created_at > :since
""")
_STORE = text("""
    INSERT INTO idempotency_keys (provider_id, principal, route, key, body_hash, status, answer, created_at)
    VALUES (:provider, :principal, :route, :key, :fingerprint, :status, :answer, :now)
    ON CONFLICT (provider_id, principal, route, key) DO UPDATE
    SET body_hash = excluded.body_hash, status = excluded.status, answer = excluded.answer,
        created_at = excluded.created_at
""")
# Rows another transaction is deleting are skipped: waiting for them would make requests wait for one another.
_FORGET = text("""
    DELETE FROM idempotency_keys WHERE (provider_id, principal, route, key) IN (
        SELECT provider_id, principal, route, key FROM idempotency_keys WHERE created_at <= :since
        LIMIT 100 FOR UPDATE SKIP LOCKED)
""")


@dataclass(frozen=True, slots=True)
class OncePerKey:
    route: str
    key: str
    fingerprint: bytes
    status: int
    now: datetime

    async def __call__(self, tx: AsyncConnection, who: Principal, work: Callable[[], Awaitable[BaseModel]]) -> Response:
        """The answer of `work`, done in `tx`, or the answer that was given to the same request before.

        While the same key is at work elsewhere this is a `Conflict`; with another request under it a `RuleViolation`.
        """
        scope = {"provider": who.tenant, "principal": who.subject, "route": self.route, "key": self.key}
        # The lock lives until the transaction ends, and its row is visible by then: nobody can come in between.
        if not await tx.scalar(_TRY_LOCK, {"scope": "\n".join(("idempotency", *scope.values()))}):
            raise Conflict("a request with this Idempotency-Key is being worked on", code="idempotency-in-progress")
        since = {"since": self.now - KEPT}
        given = (await tx.execute(_FIND, scope | since)).one_or_none()
        if given is not None:
            return self._replayed(given)
        answer = (await work()).model_dump_json()
        stored = {"fingerprint": self.fingerprint, "status": self.status, "answer": answer, "now": self.now}
        await tx.execute(_STORE, scope | stored)
        await tx.execute(_FORGET, since)
        return Response(answer, self.status, media_type="application/json")

    def _replayed(self, given: Row[tuple[bytes, int, str]]) -> Response:
        if bytes(given.body_hash) != self.fingerprint:
            raise RuleViolation("this Idempotency-Key was used for another request", code="idempotency-key-reused")
        return Response(given.answer, given.status, {"Idempotency-Replayed": "true"}, "application/json")


async def _once(
    request: Request, app: App, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
) -> OncePerKey:
    if not idempotency_key:
        missing = FieldProblem("Idempotency-Key", "missing", "a text of your choice, the same when you try again")
        raise Refusal(400, "idempotency-key-required", "this request needs an Idempotency-Key header", [missing])
    # The path belongs to the request: with the template alone, one key and no body could answer for another object.
    target = f"{request.url.path}?{request.url.query}\n".encode()
    return OncePerKey(
        route=route_template(request),
        key=idempotency_key,
        fingerprint=hashlib.sha256(target + await request.body()).digest(),
        status=request.scope["route"].status_code or 200,
        now=app.clock(),
    )


Once = Annotated[OncePerKey, Depends(_once)]
