"""Deliveries: one row per notice and channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import (
    Channel,
    DeliveryId,
    EndpointId,
    Kind,
    NoticeId,
    State,
)
from shared.contracts.ids import ProviderId

_ADD_MAIL = text("""
    INSERT INTO deliveries (provider_id, notice_id, channel, next_at, created_at)
    SELECT notice.provider_id, notice.id, 'email', :now, :now
    FROM notices AS notice
    JOIN contacts AS contact ON contact.provider_id = notice.provider_id AND contact.employee_id = notice.recipient
    LEFT JOIN preferences AS wish ON wish.provider_id = notice.provider_id AND wish.employee_id = notice.recipient
    WHERE notice.provider_id = :provider AND notice.id = ANY(CAST(:notices AS uuid[]))
      AND NOT notice.kind = ANY(coalesce(wish.email_off, '{}'))
    ORDER BY notice.id RETURNING id
""")
_ADD_WEBHOOKS = text("""
    INSERT INTO deliveries (provider_id, notice_id, channel, endpoint_id, next_at, created_at)
    SELECT notice.provider_id, notice.id, 'webhook', endpoint.id, :now, :now
    FROM notices AS notice
    JOIN webhook_endpoints AS endpoint ON endpoint.provider_id = notice.provider_id
     AND endpoint.enabled AND notice.kind = ANY(endpoint.kinds)
    WHERE notice.provider_id = :provider AND notice.id = ANY(CAST(:notices AS uuid[]))
    ORDER BY notice.id, endpoint.id RETURNING id
""")
_COLUMNS = """
    delivery.id, delivery.notice_id, notice.kind, notice.recipient, delivery.channel, delivery.endpoint_id,
    delivery.state, delivery.attempts, delivery.next_at, delivery.last_error, delivery.created_at, delivery.settled_at
"""
_FROM = """
    deliveries AS delivery
    JOIN notices AS notice ON notice.provider_id = delivery.provider_id AND notice.id = delivery.notice_id
"""
_LIST = text(f"""
    SELECT {_COLUMNS} FROM {_FROM}
    WHERE delivery.provider_id = :provider
      AND (CAST(:channel AS text) IS NULL OR delivery.channel = :channel)
      AND (CAST(:state AS text) IS NULL OR delivery.state = :state)
      AND (CAST(:endpoint AS uuid) IS NULL OR delivery.endpoint_id = :endpoint)
      AND (CAST(:before AS uuid) IS NULL OR delivery.id < :before)
    ORDER BY delivery.id DESC LIMIT :fetch
""")  # noqa: S608 - own columns
_LOCK = text(f"""
    SELECT {_COLUMNS} FROM {_FROM} WHERE delivery.provider_id = :provider AND delivery.id = :id FOR UPDATE OF delivery
""")  # noqa: S608 - own columns
_RETRY = text("""
    UPDATE deliveries SET state = 'pending', failures = 0, next_at = :now, settled_at = NULL
    WHERE provider_id = :provider AND id = :id
""")


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    id: DeliveryId
    notice: NoticeId
    kind: Kind
    recipient: str
    channel: Channel
    endpoint: EndpointId | None
    state: State
    attempts: int
    next_at: datetime | None
    last_error: str | None
    created_at: datetime
    settled_at: datetime | None


async def add_mail(
    tx: AsyncConnection, provider: ProviderId, notices: Sequence[NoticeId], now: datetime
) -> list[DeliveryId]:
    """One per notice whose recipient has a contact and did not switch mail of this kind off."""
    rows = await tx.execute(_ADD_MAIL, {"provider": provider, "notices": notices, "now": now})
    return [DeliveryId(row.id) for row in rows]


async def add_webhooks(
    tx: AsyncConnection, provider: ProviderId, notices: Sequence[NoticeId], now: datetime
) -> list[DeliveryId]:
    """One per notice and enabled endpoint that listens to its kind."""
    rows = await tx.execute(_ADD_WEBHOOKS, {"provider": provider, "notices": notices, "now": now})
    return [DeliveryId(row.id) for row in rows]


def _delivery(
    row: Row[
        tuple[UUID, UUID, str, str, str, UUID | None, str, int, datetime | None, str | None, datetime, datetime | None]
    ],
) -> DeliveryRow:
    return DeliveryRow(
        id=DeliveryId(row.id),
        notice=NoticeId(row.notice_id),
        kind=Kind(row.kind),
        recipient=row.recipient,
        channel=Channel(row.channel),
        endpoint=None if row.endpoint_id is None else EndpointId(row.endpoint_id),
        state=State(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        last_error=row.last_error,
        created_at=row.created_at,
        settled_at=row.settled_at,
    )


async def page(
    tx: AsyncConnection,
    provider: ProviderId,
    *,
    channel: Channel | None,
    state: State | None,
    endpoint: UUID | None,
    before: UUID | None,
    fetch: int,
) -> list[DeliveryRow]:
    filters = {"provider": provider, "channel": channel, "state": state, "endpoint": endpoint}
    return [_delivery(row) for row in await tx.execute(_LIST, filters | {"before": before, "fetch": fetch})]


async def lock(tx: AsyncConnection, provider: ProviderId, delivery: DeliveryId) -> DeliveryRow | None:
    row = (await tx.execute(_LOCK, {"provider": provider, "id": delivery})).one_or_none()
    return None if row is None else _delivery(row)


async def retry(tx: AsyncConnection, provider: ProviderId, delivery: DeliveryId, now: datetime) -> None:
    await tx.execute(_RETRY, {"provider": provider, "id": delivery, "now": now})
