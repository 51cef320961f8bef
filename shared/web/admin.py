"""What every service answers about itself: its audit chain, and the records and timers it parked."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import audit
from shared.auth import Principal, Role
from shared.database import PLATFORM, enter_provider
from shared.messaging import dead_letters, timers
from shared.messaging.dead_letters import DeadLetter
from shared.messaging.subscriptions import Subscription
from shared.messaging.timers import ParkedTimer
from shared.web.body import Body, Router
from shared.web.pages import Page, Paging
from shared.web.security import requires
from shared.web.wiring import App

_PREVIEW = 4_000

Reviewer = Annotated[Principal, requires(Role.AUDITOR, Role.HR_ADMIN)]
Watcher = Annotated[Principal, requires(Role.OPERATOR, Role.AUDITOR)]
Operator = Annotated[Principal, requires(Role.OPERATOR)]
TimerId = Annotated[int, Path(ge=1, lt=2**63)]


class AuditEntryOut(BaseModel):
    """Enough to recompute the chain: hashes in hex, and `detail_text`, the text that was hashed."""

    sequence: int
    at: datetime
    actor: str
    action: str
    object: str
    outcome: str
    detail: dict[str, JsonValue]
    detail_text: str
    trace_id: str | None
    previous_hash: str
    hash: str

    @classmethod
    def of(cls, entry: audit.Recorded) -> Self:
        return cls(
            sequence=entry.sequence,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            object=entry.object,
            outcome=entry.outcome,
            detail=json.loads(entry.detail),
            detail_text=entry.detail,
            trace_id=entry.trace_id,
            previous_hash=entry.previous_hash.hex(),
            hash=entry.hash.hex(),
        )


class VerificationOut(BaseModel):
    entries: int
    first_broken: int | None


class DeadLetterOut(BaseModel):
    id: UUID
    provider: str | None
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    trace_id: str | None
    parked_at: datetime
    state: str
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        return cls(
            id=letter.id,
            provider=letter.provider,
            topic=letter.record.topic,
            partition=letter.record.partition,
            offset=letter.record.offset,
            code=letter.code,
            detail=letter.detail,
            trace_id=letter.trace_id,
            parked_at=letter.parked_at,
            state=letter.state,
            resolved_at=letter.resolved_at,
            resolved_by=letter.resolved_by,
            resolution=letter.resolution,
        )


class RecordOut(DeadLetterOut):
    """One letter with what arrived: bytes in base64, and the value as text as far as it is text."""

    key: str | None
    value: str | None
    headers: list[tuple[str, str]]
    preview: str

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        record = letter.record
        return cls(
            **DeadLetterOut.of(letter).model_dump(),
            key=_base64(record.key),
            value=_base64(record.value),
            headers=[(name, (value or b"").decode(errors="replace")) for name, value in record.headers],
            preview=(record.value or b"")[:_PREVIEW].decode(errors="replace"),
        )


class ParkedTimerOut(BaseModel):
    id: int
    kind: str
    provider: str
    key: str
    due_at: datetime
    parked_at: datetime
    because: str

    @classmethod
    def of(cls, timer: ParkedTimer) -> Self:
        return cls(
            id=timer.id,
            kind=timer.kind,
            provider=timer.provider,
            key=timer.key,
            due_at=timer.due_at,
            parked_at=timer.parked_at,
            because=timer.because,
        )


class Discard(Body):
    reason: Annotated[str, Field(min_length=3, max_length=500)]


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


audit_router = Router(prefix="/audit", tags=["audit"])


@audit_router.get("", response_model=Page[AuditEntryOut])
async def list_audit_entries(
    who: Reviewer,
    app: App,
    paging: Paging,
    action: Annotated[str | None, Query(max_length=100)] = None,
    actor: Annotated[str | None, Query(max_length=128)] = None,
) -> Page[AuditEntryOut] | Response:
    after = paging.after(tuple[int])
    async with app.database.begin(who.tenant) as tx:
        found = await audit.newest(
            tx, before=after[0] if after else None, action=action, actor=actor, limit=paging.fetch
        )
    return paging.page(AuditEntryOut, [AuditEntryOut.of(entry) for entry in found], key=lambda e: (e.sequence,))


@audit_router.get("/verification")
async def verify_audit_chain(who: Reviewer, app: App) -> VerificationOut:
    async with app.database.begin(who.tenant) as tx:
        verification = await audit.verify(tx)
    return VerificationOut(entries=verification.entries, first_broken=verification.first_broken)


def dead_letter_router(subscriptions: Sequence[Subscription]) -> Router:
    """`subscriptions` are the service's own: a replayed record goes to the handler that refused it."""
    router = Router(prefix="/dead-letters", tags=["dead letters"])

    @router.get("", response_model=Page[DeadLetterOut])
    async def list_dead_letters(
        who: Watcher,
        app: App,
        paging: Paging,
        state: Literal["parked", "replayed", "discarded"] | None = None,
        topic: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Page[DeadLetterOut] | Response:
        after = paging.after(tuple[UUID])
        async with app.database.begin(who.provider) as tx:
            found = await dead_letters.page(
                tx,
                provider=who.provider,
                state=state,
                topic=topic,
                after=after[0] if after else None,
                limit=paging.fetch,
            )
        return paging.page(DeadLetterOut, [DeadLetterOut.of(letter) for letter in found], key=lambda e: (e.id,))

    @router.get("/{letter}")
    async def get_dead_letter(letter: UUID, who: Watcher, app: App) -> RecordOut:
        async with app.database.begin(who.provider) as tx:
            return RecordOut.of(await dead_letters.get(tx, letter, who.provider))

    @router.post("/{letter}/replay")
    async def replay_dead_letter(letter: UUID, who: Operator, app: App) -> DeadLetterOut:
        async with app.database.begin(who.provider) as tx:
            parked = await dead_letters.get(tx, letter, who.provider, lock=True)
            await dead_letters.replay(tx, parked, subscriptions, by=who.subject, now=app.clock())
            await _enter_chain(tx, parked, who)
            await audit.record(tx, who.subject, app.clock(), "dead-letter.replayed", f"dead-letter/{letter}")
            return DeadLetterOut.of(await dead_letters.get(tx, letter, who.provider))

    @router.post("/{letter}/discard")
    async def discard_dead_letter(letter: UUID, body: Discard, who: Operator, app: App) -> DeadLetterOut:
        async with app.database.begin(who.provider) as tx:
            parked = await dead_letters.get(tx, letter, who.provider, lock=True)
            await dead_letters.discard(tx, parked, by=who.subject, reason=body.reason, now=app.clock())
            await _enter_chain(tx, parked, who)
            subject = f"dead-letter/{letter}"
            await audit.record(tx, who.subject, app.clock(), "dead-letter.discarded", subject, reason=body.reason)
            return DeadLetterOut.of(await dead_letters.get(tx, letter, who.provider))

    return router


parked_timer_router = Router(prefix="/parked-timers", tags=["parked timers"])


@parked_timer_router.get("", response_model=Page[ParkedTimerOut])
async def list_parked_timers(who: Watcher, app: App, paging: Paging) -> Page[ParkedTimerOut] | Response:
    after = paging.after(tuple[int])
    async with app.database.begin(who.provider) as tx:
        found = await timers.parked(tx, who.provider, after=after[0] if after else 0, limit=paging.fetch)
    return paging.page(ParkedTimerOut, [ParkedTimerOut.of(timer) for timer in found], key=lambda e: (e.id,))


@parked_timer_router.post("/{timer}/release", status_code=204)
async def release_parked_timer(timer: TimerId, who: Operator, app: App) -> None:
    async with app.database.begin(who.provider) as tx:
        released = await timers.release(tx, who.provider, timer)
        await enter_provider(tx, released.provider)
        await audit.record(tx, who.subject, app.clock(), "timer.released", f"timer/{released.kind}/{timer}")


@parked_timer_router.post("/{timer}/discard", status_code=204)
async def discard_parked_timer(timer: TimerId, body: Discard, who: Operator, app: App) -> None:
    async with app.database.begin(who.provider) as tx:
        given_up = await timers.discard(tx, who.provider, timer)
        await enter_provider(tx, given_up.provider)
        subject = f"timer/{given_up.kind}/{timer}"
        await audit.record(tx, who.subject, app.clock(), "timer.discarded", subject, reason=body.reason)


async def _enter_chain(tx: AsyncConnection, letter: DeadLetter, who: Principal) -> None:
    """The chain of whose data it was, even when an operator of the platform acted: that provider must see it."""
    await enter_provider(tx, letter.provider or who.provider or PLATFORM)
