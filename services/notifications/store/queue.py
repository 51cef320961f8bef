"""Which deliveries are due, over all providers: timers of one kind per channel, moved on instead of taken away.

Rows of `deliveries` show to their provider only; the timers beside them tell the loop whose are due. A claim moves
`due_at` a lease ahead: when the process dies before it has recorded what became of the attempt, the same delivery comes
due again under the same id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Channel, Claim, DeliveryId
from shared.contracts.ids import ProviderId

_LEASE = text("""
    UPDATE timers AS timer SET due_at = :leased_until FROM (
        SELECT ctid FROM timers WHERE kind = :kind AND due_at <= :now AND parked_at IS NULL
        ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE timer.ctid = due.ctid
    RETURNING timer.provider_id, timer.key, timer.cause
""")
_RENEW = text("""
    UPDATE timers SET due_at = :leased_until
    FROM unnest(CAST(:providers AS text[]), CAST(:keys AS text[])) AS held (provider, key)
    WHERE timers.kind = :kind AND timers.provider_id = held.provider AND timers.key = held.key
""")
_MOVE = text("""
    UPDATE timers AS timer SET due_at = given.due_at
    FROM unnest(CAST(:keys AS text[]), CAST(:dues AS timestamptz[])) AS given (key, due_at)
    WHERE timer.kind = :kind AND timer.provider_id = :provider AND timer.key = given.key
""")
_DROP = text("""
    DELETE FROM timers WHERE kind = :kind AND provider_id = :provider AND key = ANY(CAST(:keys AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Leased:
    provider: ProviderId
    delivery: DeliveryId
    cause: str | None


def timer_kind(channel: Channel) -> str:
    return f"deliver-{channel}"


async def lease(tx: AsyncConnection, channel: Channel, now: datetime, until: datetime, limit: int) -> list[Leased]:
    """The deliveries longest due, of all providers, not due again before `until`."""
    rows = await tx.execute(_LEASE, {"kind": timer_kind(channel), "now": now, "leased_until": until, "limit": limit})
    return [Leased(ProviderId(row.provider_id), DeliveryId(UUID(row.key)), row.cause) for row in rows]


async def renew(tx: AsyncConnection, channel: Channel, held: Sequence[Claim], until: datetime) -> None:
    """Not due again before `until`, of all providers."""
    values = {
        "kind": timer_kind(channel),
        "leased_until": until,
        "providers": [claim.provider for claim in held],
        "keys": [str(claim.delivery) for claim in held],
    }
    await tx.execute(_RENEW, values)


async def move(
    tx: AsyncConnection, channel: Channel, provider: ProviderId, dues: Mapping[DeliveryId, datetime]
) -> None:
    keys = sorted(dues)
    values = {"kind": timer_kind(channel), "provider": provider, "keys": [str(key) for key in keys]}
    if keys:
        await tx.execute(_MOVE, values | {"dues": [dues[key] for key in keys]})


async def drop(tx: AsyncConnection, channel: Channel, provider: ProviderId, deliveries: list[DeliveryId]) -> None:
    values = {"kind": timer_kind(channel), "provider": provider, "keys": [str(each) for each in sorted(deliveries)]}
    if deliveries:
        await tx.execute(_DROP, values)
