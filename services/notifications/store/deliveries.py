"""Deliveries: one row per notice and channel, claimed by attempt and settled by outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifications.model import (
    Channel,
    Claim,
    DeliveryId,
    EndpointId,
    Kind,
    Letter,
    Message,
    NoticeId,
    Settlement,
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
_TAKEN = """
    WITH taken AS (
        UPDATE deliveries SET attempts = attempts + 1
        WHERE provider_id = :provider AND id = ANY(CAST(:ids AS uuid[])) AND state IN ('pending', 'failed')
        RETURNING provider_id, id, notice_id, endpoint_id, attempts, failures
    )
"""
_TAKE_MAIL = text(f"""
    {_TAKEN}
    SELECT taken.id, taken.attempts, taken.failures, notice.kind, notice.cycle_id, cycle.name AS cycle_name,
           notice.happened_at, contact.email, person.display_name, coalesce(contact.locale, person.locale) AS locale,
           coalesce(place.time_zone, 'UTC') AS time_zone,
           coalesce(notice.kind = ANY(wish.email_off), false) AS unwanted
    FROM taken
    JOIN notices AS notice ON notice.provider_id = taken.provider_id AND notice.id = taken.notice_id
    LEFT JOIN cycles AS cycle ON cycle.provider_id = taken.provider_id AND cycle.cycle_id = notice.cycle_id
    LEFT JOIN contacts AS contact
      ON contact.provider_id = taken.provider_id AND contact.employee_id = notice.recipient
    LEFT JOIN people AS person ON person.provider_id = taken.provider_id AND person.employee_id = notice.recipient
    LEFT JOIN preferences AS wish ON wish.provider_id = taken.provider_id AND wish.employee_id = notice.recipient
    LEFT JOIN LATERAL (
        SELECT time_zone FROM assignments AS dated
        WHERE dated.provider_id = taken.provider_id AND dated.employee_id = notice.recipient
          AND dated.valid_from <= CAST(notice.happened_at AS date)
        ORDER BY dated.valid_from DESC LIMIT 1
    ) AS place ON true
    ORDER BY taken.id
""")  # noqa: S608 - own text only
_TAKE_WEBHOOKS = text(f"""
    {_TAKEN}
    SELECT taken.id, taken.attempts, taken.failures, endpoint.id AS endpoint_id, endpoint.url, endpoint.enabled,
           endpoint.deleted_at, endpoint.secret, endpoint.previous_secret, endpoint.previous_until,
           notice.id AS notice_id, notice.kind, notice.cause, notice.recipient, notice.ids, notice.happened_at
    FROM taken
    JOIN notices AS notice ON notice.provider_id = taken.provider_id AND notice.id = taken.notice_id
    JOIN webhook_endpoints AS endpoint
      ON endpoint.provider_id = taken.provider_id AND endpoint.id = taken.endpoint_id
    ORDER BY taken.id
""")  # noqa: S608 - own text only
# A slow claimer may still say that its attempt arrived; that it failed is news only to the latest attempt.
_SETTLE = text("""
    UPDATE deliveries AS delivery
    SET state = given.state, failures = given.failures, next_at = given.next_at, last_error = given.error,
        settled_at = CASE WHEN given.next_at IS NULL THEN CAST(:now AS timestamptz) END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:states AS text[]), CAST(:failures AS integer[]),
        CAST(:dues AS timestamptz[]), CAST(:errors AS text[])
    ) AS given (id, attempt, state, failures, next_at, error)
    WHERE delivery.provider_id = :provider AND delivery.id = given.id AND delivery.state IN ('pending', 'failed')
      AND (delivery.attempts = given.attempt OR given.state = 'delivered')
    RETURNING delivery.id, delivery.next_at
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


@dataclass(frozen=True, slots=True)
class Refused:
    """A claimed delivery that must not be sent, with the code that says why."""

    claim: Claim
    error: str


async def add_mail(
    tx: AsyncSession, provider: ProviderId, notices: Sequence[NoticeId], now: datetime
) -> list[DeliveryId]:
    """One per notice whose recipient has a contact and did not switch mail of this kind off."""
    rows = await tx.execute(_ADD_MAIL, {"provider": provider, "notices": notices, "now": now})
    return [DeliveryId(row.id) for row in rows]


async def add_webhooks(
    tx: AsyncSession, provider: ProviderId, notices: Sequence[NoticeId], now: datetime
) -> list[DeliveryId]:
    """One per notice and enabled endpoint that listens to its kind."""
    rows = await tx.execute(_ADD_WEBHOOKS, {"provider": provider, "notices": notices, "now": now})
    return [DeliveryId(row.id) for row in rows]


async def take_mail(tx: AsyncSession, provider: ProviderId, ids: Sequence[DeliveryId]) -> list[Letter | Refused]:
    """Begin an attempt at each, unless it is settled. The address is read now: a corrected one helps a retry."""
    taken: list[Letter | Refused] = []
    for row in await tx.execute(_TAKE_MAIL, {"provider": provider, "ids": ids}):
        claim = Claim(provider, DeliveryId(row.id), row.attempts, row.failures)
        if row.email is None:
            taken.append(Refused(claim, "no-contact"))
        elif row.unwanted:
            taken.append(Refused(claim, "switched-off"))
        else:
            taken.append(
                Letter(
                    claim=claim,
                    address=row.email,
                    display_name=row.display_name,
                    locale=row.locale or "",
                    kind=Kind(row.kind),
                    cycle=row.cycle_name or row.cycle_id,
                    happened_at=row.happened_at,
                    time_zone=row.time_zone,
                )
            )
    return taken


async def take_webhooks(
    tx: AsyncSession, provider: ProviderId, ids: Sequence[DeliveryId], now: datetime
) -> list[Message | Refused]:
    """Begin an attempt at each, unless it is settled, with the secrets that sign at `now`."""
    taken: list[Message | Refused] = []
    for row in await tx.execute(_TAKE_WEBHOOKS, {"provider": provider, "ids": ids}):
        claim = Claim(provider, DeliveryId(row.id), row.attempts, row.failures)
        if not row.enabled:
            taken.append(Refused(claim, "endpoint-deleted" if row.deleted_at else "endpoint-disabled"))
            continue
        secrets = [row.secret]
        if row.previous_until is not None and now < row.previous_until:
            secrets.append(row.previous_secret)
        taken.append(
            Message(
                claim=claim,
                endpoint=EndpointId(row.endpoint_id),
                url=row.url,
                secrets=tuple(bytes(secret) for secret in secrets),
                notice=NoticeId(row.notice_id),
                kind=Kind(row.kind),
                cause=row.cause,
                recipient=row.recipient,
                ids=row.ids,
                happened_at=row.happened_at,
            )
        )
    return taken


async def settle(
    tx: AsyncSession, provider: ProviderId, settled: Sequence[tuple[Claim, Settlement]], now: datetime
) -> dict[DeliveryId, datetime | None]:
    """When each is due again, `None` when it is not; those that somebody else settled meanwhile are left out."""
    values = {
        "provider": provider,
        "now": now,
        "ids": [claim.delivery for claim, _ in settled],
        "attempts": [claim.attempt for claim, _ in settled],
        "states": [settlement.state for _, settlement in settled],
        "failures": [settlement.failures for _, settlement in settled],
        "dues": [settlement.next_at for _, settlement in settled],
        "errors": [settlement.error for _, settlement in settled],
    }
    return {DeliveryId(row.id): row.next_at for row in await tx.execute(_SETTLE, values)}


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
    tx: AsyncSession,
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


async def lock(tx: AsyncSession, provider: ProviderId, delivery: DeliveryId) -> DeliveryRow | None:
    row = (await tx.execute(_LOCK, {"provider": provider, "id": delivery})).one_or_none()
    return None if row is None else _delivery(row)


async def retry(tx: AsyncSession, provider: ProviderId, delivery: DeliveryId, now: datetime) -> None:
    await tx.execute(_RETRY, {"provider": provider, "id": delivery, "now": now})
