"""Publishing means inserting a row in somebody else's transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.contracts.event import Event
from shared.contracts.topics import topic_of
from shared.statements import Statement, column

_PENDING = "outbox.pending"


def open_for(tx: AsyncConnection) -> None:
    tx.info[_PENDING] = []


def append(tx: AsyncConnection, events: Iterable[Event]) -> None:
    """Announce `events` if and only if `tx` commits. Does not flush, commit or open anything.

    Whoever announces a change of an aggregate has locked that aggregate's row before: rows are written at the end of
    the transaction under that lock, so that per key the order of outbox ids is the order of commits.
    """
    if _PENDING not in tx.info:
        raise RuntimeError("events can be announced only in a transaction of Database.begin")
    # The span at work now is the cause; when the rows are written it may have ended.
    traceparent = telemetry.current_traceparent()
    tx.info[_PENDING].extend((event, traceparent) for event in events)


_COLUMNS = ("topics", "keys", "partitions", "types", "providers", "bodies", "traceparents")
_INSERT = Statement("""
    INSERT INTO outbox (topic, key, partition, event_type, provider_id, body, traceparent)
    SELECT topic, key, CAST(partition AS integer), event_type, provider_id, body, traceparent
    FROM unnest(string_to_array(:topics, E'\\x1f'), string_to_array(:keys, E'\\x1f'),
                string_to_array(:partitions, E'\\x1f', ''), string_to_array(:types, E'\\x1f'),
                string_to_array(:providers, E'\\x1f'), string_to_array(:bodies, E'\\x1f'),
                string_to_array(:traceparents, E'\\x1f', ''))
         WITH ORDINALITY AS row (topic, key, partition, event_type, provider_id, body, traceparent, position)
    ORDER BY position
""")


async def write_pending(tx: AsyncConnection) -> bool:
    """Write what was appended; called once by `Database.begin`, as the last statement before the commit."""
    pending: list[tuple[Event, str | None]] = tx.info.pop(_PENDING)
    if not pending:
        return False
    columns = map(column, zip(*(_row(event, traceparent) for event, traceparent in pending), strict=True))
    await _INSERT.rows(tx, **dict(zip(_COLUMNS, columns, strict=True)))
    return True


def _row(event: Event, traceparent: str | None) -> tuple[str, ...]:
    """The texts of `_COLUMNS`."""
    fixed = event.partition()
    partition = "" if fixed is None else str(fixed)
    body = event.model_dump_json()
    return topic_of(event).name, event.key(), partition, event.TYPE, event.provider, body, traceparent or ""
