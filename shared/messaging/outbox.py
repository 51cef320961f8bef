"""Publishing means inserting a row in somebody else's transaction.

A row holds the messages that one transaction has for one topic, in their order: a thousand events are one row, which
the database writes and deletes at a fifth of what a row for each would cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

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


class Message(NamedTuple):
    """One event as it waits for the relay. `partition` is empty where the key decides."""

    key: str
    event_type: str
    partition: str
    body: str

    @classmethod
    def of(cls, event: Event) -> Self:
        fixed = event.partition()
        # What model_dump_json calls, at two thirds of its time.
        body = event.__pydantic_serializer__.to_json(event).decode()
        return cls(event.key(), event.TYPE, "" if fixed is None else str(fixed), body)


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
    provider: str
    traceparent: str | None
    messages: list[Message] = field(default_factory=list)

    def take(self, messages: list[Message]) -> list[Message]:
        """Take as many as there is room for; the rest."""
        room = MOST_MESSAGES - len(self.messages)
        self.messages.extend(messages[:room])
        return messages[room:]


def _rows(pending: Iterable[tuple[Sequence[Event], str | None]]) -> list[_Row]:
    rows: list[_Row] = []
    last: dict[str, _Row] = {}
    for events, traceparent in pending:
        for (topic, provider), alike in itertools.groupby(events, lambda event: (topic_of(event).name, event.provider)):
            messages = [Message.of(event) for event in alike]
            # Only a topic's last row may grow: an event put into an earlier one would overtake others of its key.
            row = last.get(topic)
            if row is not None and (row.provider, row.traceparent) == (provider, traceparent):
                messages = row.take(messages)
            while messages:
                row = last[topic] = _Row(topic, provider, traceparent)
                rows.append(row)
                messages = row.take(messages)
    return rows


_INSERT = Statement("""
    INSERT INTO outbox (topic, provider_id, traceparent, events, messages)
    SELECT topic, provider_id, traceparent, events, messages
    FROM unnest(CAST(:topics AS text[]), CAST(:providers AS text[]), CAST(:traceparents AS text[]),
                CAST(:events AS integer[]), CAST(:messages AS text[]))
         WITH ORDINALITY AS row (topic, provider_id, traceparent, events, messages, position)
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
        providers=[row.provider for row in rows],
        traceparents=[row.traceparent for row in rows],
        events=[len(row.messages) for row in rows],
        messages=[packed(row.messages) for row in rows],
    )
    return True


_WAITING = text(f"""
    SELECT split_part(message, E'{_FIELD}', 4)
    FROM outbox, unnest(string_to_array(messages, E'{_MESSAGE}')) AS message
    WHERE provider_id = :provider AND topic = :topic AND split_part(message, E'{_FIELD}', 1) = :key
""")  # noqa: S608 - the interpolated texts are the constants above


async def waiting(tx: AsyncConnection, provider: ProviderId, topic: str, key: str) -> Sequence[str]:
    """The bodies of what is announced under a key and has not left."""
    return list(await tx.scalars(_WAITING, {"provider": provider, "topic": topic, "key": key}))
