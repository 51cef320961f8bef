"""Attempts at deliveries: what is sent, with which words and secrets, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Claim, DeliveryId, EndpointId, Kind, Letter, Message, NoticeId, Settlement
from shared.contracts.ids import ProviderId

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
_NOT_TRIED = text("""
    UPDATE deliveries AS delivery SET attempts = attempts - 1, next_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[])) AS given (id, attempt)
    WHERE delivery.provider_id = :provider AND delivery.id = given.id AND delivery.attempts = given.attempt
      AND delivery.state IN ('pending', 'failed')
    RETURNING delivery.id, delivery.next_at
""")
# Held back counts as failed, so that what goes to an endpoint that never comes back ends as well.
_HOLD = text("""
    UPDATE deliveries AS delivery
    SET failures = delivery.failures + 1, last_error = 'endpoint-silent',
        state = CASE WHEN delivery.failures >= :most THEN 'dead' ELSE 'failed' END,
        next_at = CASE WHEN delivery.failures >= :most THEN NULL ELSE endpoint.paused_until END,
        settled_at = CASE WHEN delivery.failures >= :most THEN CAST(:now AS timestamptz) END
    FROM webhook_endpoints AS endpoint
    WHERE delivery.provider_id = :provider AND delivery.id = ANY(CAST(:ids AS uuid[]))
      AND delivery.state IN ('pending', 'failed') AND endpoint.provider_id = :provider
      AND endpoint.id = delivery.endpoint_id AND endpoint.enabled AND endpoint.paused_until > :now
    RETURNING delivery.id, delivery.next_at
""")


@dataclass(frozen=True, slots=True)
class Refused:
    """A claimed delivery that must not be sent, with the code that says why."""

    claim: Claim
    error: str


async def take_mail(tx: AsyncConnection, provider: ProviderId, ids: Sequence[DeliveryId]) -> list[Letter | Refused]:
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
    tx: AsyncConnection, provider: ProviderId, ids: Sequence[DeliveryId], now: datetime
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
    tx: AsyncConnection, provider: ProviderId, settled: Sequence[tuple[Claim, Settlement]], now: datetime
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


async def not_tried(
    tx: AsyncConnection, provider: ProviderId, claims: Sequence[Claim], now: datetime
) -> dict[DeliveryId, datetime | None]:
    """Take the attempt back and make each due at once."""
    values = {
        "provider": provider,
        "now": now,
        "ids": [claim.delivery for claim in claims],
        "attempts": [claim.attempt for claim in claims],
    }
    return {DeliveryId(row.id): row.next_at for row in await tx.execute(_NOT_TRIED, values)}


async def hold(
    tx: AsyncConnection, provider: ProviderId, ids: Sequence[DeliveryId], most_failures: int, now: datetime
) -> dict[DeliveryId, datetime | None]:
    """Put off what goes to paused endpoints; when each of them is due, `None` when it is dead by now."""
    values = {"provider": provider, "ids": ids, "most": most_failures, "now": now}
    return {DeliveryId(row.id): row.next_at for row in await tx.execute(_HOLD, values)}
