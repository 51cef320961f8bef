"""Records that were parked: kept with their bytes until someone replays or discards them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.contracts.ids import ProviderId
from shared.database import enter_provider
from shared.errors import Conflict, InvalidMessage, NotFound, PlumblineError, RuleViolation
from shared.messaging.envelope import Batch, Record, decode, provider_of
from shared.messaging.subscriptions import Subscription

BREAKER_WINDOW = 500
BREAKER_LIMIT = BREAKER_WINDOW // 5


class SubscriptionHalted(PlumblineError):
    """Too many of the last records were parked: we are probably the ones who are wrong. Only the supervisor sees it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: UUID
    provider: ProviderId | None
    record: Record
    code: str
    detail: str
    trace_id: str | None
    parked_at: datetime
    state: str
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None


_PARK = text("""
    INSERT INTO dead_letters (provider_id, topic, partition, record_offset, key, value, headers,
                              code, detail, trace_id)
    VALUES (:provider, :topic, :partition, :offset, :key, :value, :headers, :code, :detail, :trace_id)
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("headers", type_=JSONB))
_RECENT = text("""
    SELECT count(*) FROM dead_letters
    WHERE topic = :topic AND partition = :partition AND state = 'parked'
      AND record_offset > CAST(:offset AS bigint) - CAST(:window AS bigint)
""")
_COLUMNS = """
    id, provider_id, topic, partition, record_offset, key, value, headers, code, detail, trace_id,
    parked_at, state, resolved_at, resolved_by, resolution
"""
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM dead_letters
    WHERE (:everything OR provider_id = :provider) AND (CAST(:state AS text) IS NULL OR state = :state)
      AND (CAST(:topic AS text) IS NULL OR topic = :topic) AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")  # noqa: S608 - the interpolated text is the constant above
_GET = text(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = :id")  # noqa: S608 - likewise
_LOCK = text(f"{_GET.text} FOR UPDATE")
_RESOLVE = text("""
    UPDATE dead_letters SET state = :state, resolved_at = :now, resolved_by = :by, resolution = :resolution
    WHERE id = :id
""")


async def park(tx: AsyncConnection, record: Record, code: str, detail: str) -> None:
    """Keep the record with its bytes, in the transaction that moves the position past it.

    Raises `SubscriptionHalted`, which undoes that transaction, when more than a fifth of the partition's last 500
    records are parked: a bad deploy must not drain a topic into the dead letters. Replayed and discarded letters do
    not count, so that resolving them is what lets the subscription go on.
    """
    traced = telemetry.parse_traceparent(record.header("traceparent"))
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    await tx.execute(
        _PARK,
        place
        | {
            "provider": provider_of(record),
            "key": record.key,
            "value": record.value,
            "headers": [
                [name.encode().hex(), value.hex() if value is not None else None] for name, value in record.headers
            ],
            "code": code,
            "detail": detail[:2000].replace("\0", "\N{REPLACEMENT CHARACTER}"),
            "trace_id": f"{traced.trace_id:032x}" if traced else None,
        },
    )
    recent = (await tx.execute(_RECENT, place | {"window": BREAKER_WINDOW})).scalar_one()
    if recent > BREAKER_LIMIT:
        raise SubscriptionHalted(
            f"{recent} of the last {BREAKER_WINDOW} records of {record.topic}/{record.partition} were parked; "
            "replay or discard them, or mend the consumer"
        )


def _letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    headers = [(bytes.fromhex(name).decode(), value and bytes.fromhex(value)) for name, value in row.headers]
    return DeadLetter(
        row.id,
        row.provider_id,
        Record(row.topic, row.partition, row.record_offset, row.key, row.value, headers),
        row.code,
        row.detail,
        row.trace_id,
        row.parked_at,
        row.state,
        row.resolved_at,
        row.resolved_by,
        row.resolution,
    )


async def page(
    tx: AsyncConnection,
    *,
    provider: ProviderId | None,
    state: str | None,
    topic: str | None,
    after: UUID | None,
    limit: int,
) -> list[DeadLetter]:
    """Oldest first after `after`. Without a provider: everything, which only an operator of the platform may ask."""
    values = {
        "everything": provider is None,
        "provider": provider,
        "state": state,
        "topic": topic,
        "after": after,
        "limit": limit,
    }
    return [_letter(row) for row in await tx.execute(_PAGE, values)]


async def get(tx: AsyncConnection, letter_id: UUID, provider: ProviderId | None, *, lock: bool = False) -> DeadLetter:
    """Locked, if so wished, until the transaction ends. Another provider's letter is as absent as none at all."""
    row = (await tx.execute(_LOCK if lock else _GET, {"id": letter_id})).one_or_none()
    if row is None or (provider is not None and row.provider_id != provider):
        raise NotFound("there is no dead letter of this id")
    return _letter(row)


async def replay(
    tx: AsyncConnection,
    letter: DeadLetter,
    subscriptions: Sequence[Subscription],
    *,
    by: str,
    now: datetime,
) -> None:
    """Handle the record now, in this transaction, as if it arrived; the letter is then `replayed`.

    Raises `RuleViolation` with the new reason when it is refused again; the letter stays parked.
    """
    if letter.state != "parked":
        raise Conflict(f"the dead letter is {letter.state} already", code="dead-letter-resolved")
    subscription = next((found for found in subscriptions if found.topic.name == letter.record.topic), None)
    if subscription is None:
        raise Conflict("this service no longer reads the letter's topic; discard it", code="dead-letter-unread")
    try:
        delivery = decode(letter.record, subscription.topic)
    except InvalidMessage as error:
        raise RuleViolation(f"still unreadable: {error}", code="dead-letter-unreadable") from error
    await enter_provider(tx, delivery.event.provider)
    await subscription.handler(tx, Batch(delivery.event.provider, (delivery,), now, lag=0))
    await _resolve(tx, letter, "replayed", by=by, reason=None, now=now)


async def discard(tx: AsyncConnection, letter: DeadLetter, *, by: str, reason: str, now: datetime) -> None:
    """Give the record up, with who and why; its bytes stay."""
    if letter.state != "parked":
        raise Conflict(f"the dead letter is {letter.state} already", code="dead-letter-resolved")
    await _resolve(tx, letter, "discarded", by=by, reason=reason, now=now)


async def _resolve(
    tx: AsyncConnection, letter: DeadLetter, state: str, *, by: str, reason: str | None, now: datetime
) -> None:
    values = {"id": letter.id, "state": state, "now": now, "by": by, "resolution": reason}
    await tx.execute(_RESOLVE, values)
