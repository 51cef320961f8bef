"""How far a subscription has come in a partition, kept in the service's database beside what it produced."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_LOAD = text("""
    SELECT next_offset FROM positions
    WHERE subscription = :subscription AND topic = :topic AND partition = :partition
""")
_START = text("""
    INSERT INTO positions (subscription, topic, partition, next_offset)
    VALUES (:subscription, :topic, :partition, :offset) ON CONFLICT DO NOTHING
""")
_ADVANCE = text("""
    UPDATE positions SET next_offset = :to, attempts = 0
    WHERE subscription = :subscription AND topic = :topic AND partition = :partition AND next_offset = :expected
""")
_ATTEMPT = text("""
    UPDATE positions SET attempts = attempts + 1
    WHERE subscription = :subscription AND topic = :topic AND partition = :partition AND next_offset = :expected
    RETURNING attempts
""")
_FORGET = text("""
    UPDATE positions SET attempts = 0
    WHERE subscription = :subscription AND topic = :topic AND partition = :partition AND next_offset = :expected
""")


async def load(tx: AsyncSession, subscription: str, topic: str, partition: int, first: int) -> int:
    """The next offset to apply; a subscription that never was here begins at `first`."""
    values: dict[str, str | int] = {"subscription": subscription, "topic": topic, "partition": partition}
    await tx.execute(_START, values | {"offset": first})
    return int((await tx.execute(_LOAD, values)).scalar_one())


async def advance(tx: AsyncSession, subscription: str, topic: str, partition: int, expected: int, to: int) -> bool:
    """Move from `expected` to `to` in this transaction; `False` when this consumer is not where it believed.

    It is the first statement of every batch: its row lock makes a second owner wait for this commit and then fail
    the comparison, which fences zombies without asking the group coordinator.
    """
    values = {"subscription": subscription, "topic": topic, "partition": partition, "expected": expected, "to": to}
    moved = await tx.execute(_ADVANCE, values)
    return moved.rowcount == 1  # type: ignore[attr-defined, no-any-return]


async def count_attempt(tx: AsyncSession, subscription: str, topic: str, partition: int, expected: int) -> int | None:
    """Note that work on `expected` begins; the count since the position last moved, `None` when it is elsewhere."""
    values = {"subscription": subscription, "topic": topic, "partition": partition, "expected": expected}
    found = await tx.execute(_ATTEMPT, values)
    return found.scalar_one_or_none()


async def forget_attempts(tx: AsyncSession, subscription: str, topic: str, partition: int, expected: int) -> None:
    """Count from nothing again, where work ended without killing a process."""
    values = {"subscription": subscription, "topic": topic, "partition": partition, "expected": expected}
    await tx.execute(_FORGET, values)
