"""Ratings: what one person says of another in a cycle, revision by revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Rating
from services.ingest.tables import feedback
from shared.contracts.ids import CycleId, EmployeeId, FeedbackId, ProviderId
from shared.keyset import keyset


class Thread(NamedTuple):
    """What one person says of another in a cycle and category, through all its revisions."""

    cycle: CycleId
    employee: EmployeeId
    rater: EmployeeId
    category: str


class Said(NamedTuple):
    """The current revision of a thread; revision 0 when nothing was said yet."""

    revision: int
    rating: Decimal | None
    comment: str | None


_OF = """
    unnest(CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:raters AS text[]), CAST(:categories AS text[]))
        AS item (cycle_id, employee_id, rater_id, category)
"""
_OPEN_THREADS = text(f"""
    INSERT INTO feedback_threads (provider_id, cycle_id, employee_id, rater_id, category, revision)
    SELECT :provider, cycle_id, employee_id, rater_id, category, 0 FROM {_OF}
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - the interpolated text is the constant above
_LOCK_THREADS = text(f"""
    SELECT thread.cycle_id, thread.employee_id, thread.rater_id, thread.category
    FROM feedback_threads AS thread JOIN {_OF} USING (cycle_id, employee_id, rater_id, category)
    WHERE thread.provider_id = :provider
    ORDER BY cycle_id, employee_id, rater_id, category FOR UPDATE OF thread
""")  # noqa: S608 - likewise
# A statement of its own, after the locks: what was said while they were waited for is seen only by a later one.
_SAID = text(f"""
    SELECT cycle_id, employee_id, rater_id, category, thread.revision, said.rating, said.comment
    FROM feedback_threads AS thread JOIN {_OF} USING (cycle_id, employee_id, rater_id, category)
    LEFT JOIN feedback AS said USING (provider_id, cycle_id, employee_id, rater_id, category, revision)
    WHERE thread.provider_id = :provider
""")  # noqa: S608 - likewise


def _keys(provider: ProviderId, threads: Collection[Thread]) -> dict[str, str | list[str]]:
    ordered = sorted(threads)
    return {
        "provider": provider,
        "cycles": [thread.cycle for thread in ordered],
        "employees": [thread.employee for thread in ordered],
        "raters": [thread.rater for thread in ordered],
        "categories": [thread.category for thread in ordered],
    }


async def lock_threads(tx: AsyncConnection, provider: ProviderId, threads: Collection[Thread]) -> dict[Thread, Said]:
    """What was said last in each thread; nobody else adds to them until the transaction ends."""
    keys = _keys(provider, threads)
    await tx.execute(_OPEN_THREADS, keys)
    await tx.execute(_LOCK_THREADS, keys)
    return {
        Thread(row.cycle_id, row.employee_id, row.rater_id, row.category): Said(row.revision, row.rating, row.comment)
        for row in await tx.execute(_SAID, keys)
    }


_ADD = text("""
    WITH item AS (
        SELECT * FROM unnest(
            CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:raters AS text[]), CAST(:categories AS text[]),
            CAST(:revisions AS integer[]), CAST(:ratings AS numeric[]), CAST(:comments AS text[])
        ) AS item (cycle_id, employee_id, rater_id, category, revision, rating, comment)
    ), moved AS (
        UPDATE feedback_threads AS thread SET revision = item.revision FROM item
        WHERE thread.provider_id = :provider AND thread.cycle_id = item.cycle_id
          AND thread.employee_id = item.employee_id AND thread.rater_id = item.rater_id
          AND thread.category = item.category
    )
    INSERT INTO feedback (provider_id, cycle_id, employee_id, rater_id, category, revision, rating, comment,
                          submitted_at, submitted_by)
    SELECT :provider, cycle_id, employee_id, rater_id, category, revision, rating, comment, :now, :by FROM item
    RETURNING cycle_id, employee_id, rater_id, category, feedback_id
""")


async def add(
    tx: AsyncConnection, provider: ProviderId, said: Mapping[Thread, tuple[int, Rating]], by: str, now: datetime
) -> dict[Thread, FeedbackId]:
    """Write one new revision per thread, all of them locked before."""
    ordered = [said[thread] for thread in sorted(said)]
    values = {
        "now": now,
        "by": by,
        "revisions": [revision for revision, _ in ordered],
        "ratings": [rating.rating for _, rating in ordered],
        "comments": [rating.comment for _, rating in ordered],
    }
    rows = await tx.execute(_ADD, {**_keys(provider, said), **values})
    return {
        Thread(row.cycle_id, row.employee_id, row.rater_id, row.category): FeedbackId(str(row.feedback_id))
        for row in rows
    }


class Filter(NamedTuple):
    cycle: CycleId | None
    employee: EmployeeId | None
    category: str | None
    hidden: EmployeeId | None
    """About whom nothing is shown: nobody reads their own case."""


class FeedbackRow(NamedTuple):
    id: UUID
    cycle: CycleId
    employee: EmployeeId
    rater: EmployeeId
    category: str
    revision: int
    rating: Decimal
    comment: str
    submitted_at: datetime
    submitted_by: str


async def page(tx: AsyncConnection, wanted: Filter, after: tuple[object, ...] | None, fetch: int) -> list[FeedbackRow]:
    chosen = select(*(column for column in feedback.c if column.name != "provider_id"))
    if wanted.cycle is not None:
        chosen = chosen.where(feedback.c.cycle_id == wanted.cycle)
    if wanted.employee is not None:
        chosen = chosen.where(feedback.c.employee_id == wanted.employee)
    if wanted.category is not None:
        chosen = chosen.where(feedback.c.category == wanted.category)
    if wanted.hidden is not None:
        chosen = chosen.where(feedback.c.employee_id != wanted.hidden)
    return [FeedbackRow(*row) for row in await tx.execute(keyset(chosen, (feedback.c.feedback_id,), after, fetch))]
