"""How far a service has come in a partition, kept in the service's database beside what it produced."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.messaging.log import Partition

_START = text("""
    INSERT INTO positions (topic, partition, next_offset)
    SELECT topic, partition, first
    FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:firsts AS bigint[]))
         AS log (topic, partition, first)
    ON CONFLICT DO NOTHING
""")
_LOAD = text("""
    SELECT topic, partition, next_offset FROM positions
    WHERE (topic, partition) IN (
        SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]))
    )
""")
_ADVANCE = text("""
    UPDATE positions SET next_offset = :to, attempts = 0
    WHERE topic = :topic AND partition = :partition AND next_offset = :expected
""")
_ATTEMPT = text("""
    UPDATE positions SET attempts = attempts + 1
    WHERE topic = :topic AND partition = :partition AND next_offset = :expected
    RETURNING attempts
""")
_FORGET = text("""
    UPDATE positions SET attempts = 0
    WHERE topic = :topic AND partition = :partition AND next_offset = :expected
""")


async def load(tx: AsyncConnection, firsts: Mapping[Partition, int]) -> dict[Partition, int]:
    """The next offset to apply of each partition; where this service never was, the first one there is."""
    partitions = sorted(firsts)
    values: dict[str, object] = {
        "topics": [partition.topic for partition in partitions],
        "partitions": [partition.number for partition in partitions],
    }
    await tx.execute(_START, values | {"firsts": [firsts[partition] for partition in partitions]})
    found = await tx.execute(_LOAD, values)
    return {Partition(row.topic, row.partition): row.next_offset for row in found}


async def advance(tx: AsyncConnection, where: Partition, expected: int, to: int) -> bool:
    """Move from `expected` to `to` in this transaction; `False` when this consumer is not where it believed.

    It is the first statement of every batch: its row lock makes a second owner wait for this commit and then fail
    the comparison, which fences zombies without asking the group coordinator.
    """
    moved = await tx.execute(_ADVANCE, _at(where, expected) | {"to": to})
    return moved.rowcount == 1


async def count_attempt(tx: AsyncConnection, where: Partition, expected: int) -> int | None:
    """Note that work on `expected` begins; the count since the position last moved, `None` when it is elsewhere."""
    found = await tx.execute(_ATTEMPT, _at(where, expected))
    return found.scalar_one_or_none()


async def forget_attempts(tx: AsyncConnection, where: Partition, expected: int) -> None:
    """Count from nothing again, where work ended without killing a process."""
    await tx.execute(_FORGET, _at(where, expected))


def _at(where: Partition, expected: int) -> dict[str, object]:
    return {"topic": where.topic, "partition": where.number, "expected": expected}
