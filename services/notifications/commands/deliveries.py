"""Carry deliveries out: claim what is due, and record what became of it. Nothing is sent inside a transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import (
    Channel,
    DeliveryId,
    EndpointId,
    Letter,
    Message,
    Outcome,
    State,
    Verdict,
)
from services.notifications.rules.retries import DELAYS, LEASE, pause_after, settle
from services.notifications.store import attempts, deliveries, endpoints, queue
from services.notifications.store.attempts import Refused
from services.notifications.store.deliveries import DeliveryRow
from shared import audit
from shared.contracts.ids import ProviderId
from shared.database import enter_provider
from shared.errors import Conflict, NotFound
from shared.messaging import timers

T = TypeVar("T", Letter, Message)


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """What one claim gave to send, and the traces of what caused it."""

    items: list[T]
    claimed: int
    causes: list[str | None]


async def claim_mail(tx: AsyncConnection, now: datetime, limit: int) -> Round[Letter]:
    leased = await queue.lease(tx, Channel.EMAIL, now, now + LEASE, limit)
    letters: list[Letter] = []
    for provider, ids in _by_provider(leased).items():
        await enter_provider(tx, provider)
        taken = await attempts.take_mail(tx, provider, ids)
        await _leave_out(tx, Channel.EMAIL, provider, ids, taken, now)
        letters.extend(each for each in taken if isinstance(each, Letter))
    return Round(letters, len(leased), [each.cause for each in leased])


async def claim_webhooks(tx: AsyncConnection, now: datetime, limit: int) -> Round[Message]:
    leased = await queue.lease(tx, Channel.WEBHOOK, now, now + LEASE, limit)
    messages: list[Message] = []
    for provider, ids in _by_provider(leased).items():
        await enter_provider(tx, provider)
        held = await attempts.hold(tx, provider, ids, len(DELAYS), now)
        await _requeue(tx, Channel.WEBHOOK, provider, held)
        free = [delivery for delivery in ids if delivery not in held]
        taken = await attempts.take_webhooks(tx, provider, free, now)
        await _leave_out(tx, Channel.WEBHOOK, provider, free, taken, now)
        messages.extend(each for each in taken if isinstance(each, Message))
    return Round(messages, len(leased), [each.cause for each in leased])


async def renew(tx: AsyncConnection, channel: Channel, items: Sequence[Letter | Message], now: datetime) -> None:
    """Keep hold of what is still being sent."""
    await queue.renew(tx, channel, [item.claim for item in items], now + LEASE)


async def record(tx: AsyncConnection, channel: Channel, outcomes: Sequence[Outcome], now: datetime) -> None:
    """Settle each attempt; pause endpoints that are silent, and switch off those that say they are gone."""
    by_provider: dict[ProviderId, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_provider[outcome.claim.provider].append(outcome)
    for provider in sorted(by_provider):
        await enter_provider(tx, provider)
        await _record(tx, channel, provider, by_provider[provider], now)
        await _judge_endpoints(tx, provider, by_provider[provider], now)


async def retry(
    tx: AsyncConnection, provider: ProviderId, delivery: DeliveryId, *, by: str, now: datetime
) -> DeliveryRow:
    """Have a delivery that failed tried at once, with all its attempts before it again."""
    row = await deliveries.lock(tx, provider, delivery)
    if row is None:
        raise NotFound("there is no such delivery")
    if row.state not in (State.FAILED, State.DEAD):
        raise Conflict(f"a delivery that is {row.state} is not tried again", code="not-retryable")
    await deliveries.retry(tx, provider, delivery, now)
    if row.endpoint is not None:
        await endpoints.resume(tx, provider, [row.endpoint])
    await queue.drop(tx, row.channel, provider, [delivery])  # the one that waits for the next regular attempt
    await timers.schedule(tx, queue.timer_kind(row.channel), provider, [str(delivery)], now)
    again = await deliveries.lock(tx, provider, delivery)
    if again is None:
        raise NotFound("there is no such delivery")
    await audit.record(tx, by, now, "delivery.retried", f"delivery/{delivery}")
    return again


async def _leave_out(
    tx: AsyncConnection,
    channel: Channel,
    provider: ProviderId,
    ids: Sequence[DeliveryId],
    taken: Iterable[Letter | Message | Refused],
    now: datetime,
) -> None:
    """Forget the timers of what is settled already, and settle what must not be sent."""
    claims = {each.claim.delivery for each in taken}
    await queue.drop(tx, channel, provider, [each for each in ids if each not in claims])
    refused = [Outcome(each.claim, Verdict.NEVER, each.error) for each in taken if isinstance(each, Refused)]
    await _record(tx, channel, provider, refused, now)


async def _record(
    tx: AsyncConnection, channel: Channel, provider: ProviderId, outcomes: Sequence[Outcome], now: datetime
) -> None:
    if not outcomes:
        return
    # Rows are locked in the order of their ids, whoever settles them.
    ordered = sorted(outcomes, key=lambda outcome: outcome.claim.delivery)
    tried = [outcome for outcome in ordered if outcome.verdict is not Verdict.NOT_TRIED]
    untried = [outcome.claim for outcome in ordered if outcome.verdict is Verdict.NOT_TRIED]
    if tried:
        settled = [(outcome.claim, settle(outcome, now)) for outcome in tried]
        await _requeue(tx, channel, provider, await attempts.settle(tx, provider, settled, now))
    if untried:
        await _requeue(tx, channel, provider, await attempts.not_tried(tx, provider, untried, now))


async def _requeue(
    tx: AsyncConnection, channel: Channel, provider: ProviderId, dues: Mapping[DeliveryId, datetime | None]
) -> None:
    await queue.drop(tx, channel, provider, [delivery for delivery, due in dues.items() if due is None])
    await queue.move(tx, channel, provider, {delivery: due for delivery, due in dues.items() if due is not None})


async def _judge_endpoints(
    tx: AsyncConnection, provider: ProviderId, outcomes: Sequence[Outcome], now: datetime
) -> None:
    heard: dict[EndpointId, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.endpoint is not None and outcome.verdict is not Verdict.NOT_TRIED:
            heard[outcome.endpoint].append(outcome)
    silent = {endpoint for endpoint, said in heard.items() if all(outcome.silent for outcome in said)}
    gone = {endpoint for endpoint, said in heard.items() if any(outcome.gone for outcome in said)}
    if heard.keys() - silent:
        await endpoints.resume(tx, provider, heard.keys() - silent)
    if silent:
        strikes = await endpoints.lock_strikes(tx, provider, silent)
        paused = {each: (before + 1, pause_after(before + 1, now)) for each, before in strikes.items()}
        await endpoints.pause(tx, provider, paused)
    if gone:
        for endpoint in sorted(await endpoints.disable(tx, provider, gone, "gone")):
            subject = f"webhook-endpoint/{endpoint}"
            await audit.record(tx, "notifications", now, "webhook-endpoint.disabled", subject, reason="gone")


def _by_provider(leased: Iterable[queue.Leased]) -> Mapping[ProviderId, list[DeliveryId]]:
    found: dict[ProviderId, list[DeliveryId]] = defaultdict(list)
    for each in sorted(leased, key=lambda each: (each.provider, each.delivery)):
        found[each.provider].append(each.delivery)
    return found
