"""Publishing means inserting a row in somebody else's transaction.

A row holds the messages that one transaction has for one partition of a topic, in their order: a thousand events are a
dozen rows to write and delete instead of a thousand.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from aiokafka.partitioner import murmur2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.topics import topic_of
from shared.errors import RuleViolation
from shared.statements import Statement

_PENDING = "outbox.pending"
MOST_MESSAGES = 1_000
"""In one row: a relay reads rows whole."""


@functools.lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """Kafka's default partitioner; any other would scatter one person's events over two partitions."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


class Message(NamedTuple):
    """One event as it waits for the relay."""

    key: str
    event_type: str
    body: str

    @classmethod
    def of(cls, event: Event) -> Self:
        # What model_dump_json calls, at two thirds of its time.
        return cls(event.key(), event.TYPE, event.__pydantic_serializer__.to_json(event).decode())


# Control characters, which JSON writes as escapes and no key may contain.
_FIELD, _MESSAGE = "\x1f", "\x1e"


def packed(messages: Iterable[Message]) -> str:
    """As one text, which `unpacked` takes apart again. Raises `RuleViolation` where a separator is in a message."""
    found = [_FIELD.join(message) for message in messages]
    joined = _MESSAGE.join(found)
    if joined.count(_FIELD) != len(found) * (len(Message._fields) - 1) or joined.count(_MESSAGE) != len(found) - 1:
        raise RuleViolation("a value contains a control character", code="control-character")
    return joined


def unpacked(joined: str) -> list[Message]:
    return [Message(*message.split(_FIELD)) for message in joined.split(_MESSAGE)]


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
    tx.info[_PENDING].append((list(events), traceparent))


@dataclass(frozen=True, slots=True)
class _Row:
    topic: str
    partition: int
    provider: str
    traceparent: str | None
    messages: list[Message] = field(default_factory=list)

    def takes(self, event: Event, traceparent: str | None) -> bool:
        alike = self.provider == event.provider and self.traceparent == traceparent
        return alike and len(self.messages) < MOST_MESSAGES


def _rows(pending: Iterable[tuple[Sequence[Event], str | None]]) -> list[_Row]:
    rows: list[_Row] = []
    last: dict[tuple[str, int], _Row] = {}
    for events, traceparent in pending:
        for event in events:
            topic, message, fixed = topic_of(event), Message.of(event), event.partition()
            place = topic.name, partition_of(message.key, topic.partitions) if fixed is None else fixed
            # Only a partition's last row may grow: an event put into an earlier one would overtake others of its key.
            row = last.get(place)
            if row is None or not row.takes(event, traceparent):
                row = last[place] = _Row(*place, event.provider, traceparent)
                rows.append(row)
            row.messages.append(message)
    return rows


_INSERT = Statement("""
    INSERT INTO outbox (topic, partition, provider_id, traceparent, events, messages)
    SELECT topic, partition, provider_id, traceparent, events, messages
    FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:providers AS text[]),
                CAST(:traceparents AS text[]), CAST(:events AS integer[]), CAST(:messages AS text[]))
         WITH ORDINALITY AS row (topic, partition, provider_id, traceparent, events, messages, position)
    ORDER BY position
""")


async def write_pending(tx: AsyncConnection) -> bool:
    """Write what was appended; called once by `Database.begin`, as the last statement before the commit."""
    rows = _rows(tx.info.pop(_PENDING))
    if not rows:
        return False
    await _INSERT.rows(
        tx,
        topics=[row.topic for row in rows],
        partitions=[row.partition for row in rows],
        providers=[row.provider for row in rows],
        traceparents=[row.traceparent for row in rows],
        events=[len(row.messages) for row in rows],
        messages=[packed(row.messages) for row in rows],
    )
    return True


_WAITING = text(f"""
    SELECT split_part(message, E'{_FIELD}', 3)
    FROM outbox, unnest(string_to_array(messages, E'{_MESSAGE}')) AS message
    WHERE provider_id = :provider AND topic = :topic AND split_part(message, E'{_FIELD}', 1) = :key
""")  # noqa: S608 - the interpolated texts are the constants above


async def waiting(tx: AsyncConnection, provider: ProviderId, topic: str, key: str) -> Sequence[str]:
    """The bodies of what is announced under a key and has not left."""
    return list(await tx.scalars(_WAITING, {"provider": provider, "topic": topic, "key": key}))
