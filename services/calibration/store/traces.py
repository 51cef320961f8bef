"""The trace contexts of what wrote the rows that a person's request rests on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.ids import CycleId, EmployeeId, SessionId

_OF_SCORECARDS = text("""
    SELECT DISTINCT traceparent FROM scorecards
    WHERE cycle = :cycle AND employee = ANY(CAST(:employees AS text[])) AND traceparent IS NOT NULL
    ORDER BY traceparent
""")
_OF_DECISIONS = text("""
    SELECT DISTINCT made.traceparent FROM subjects
    JOIN decisions AS made ON made.provider_id = subjects.provider_id AND made.session = subjects.session
        AND made.employee = subjects.employee AND made.version = subjects.decided
    WHERE subjects.session = :session AND made.traceparent IS NOT NULL
    ORDER BY made.traceparent
""")


async def of_scorecards(tx: AsyncConnection, cycle: CycleId, employees: Sequence[EmployeeId]) -> Sequence[str]:
    """The batches that brought the scorecards of these people."""
    return (await tx.scalars(_OF_SCORECARDS, {"cycle": cycle, "employees": list(employees)})).all()


async def of_decisions(tx: AsyncConnection, session: SessionId) -> Sequence[str]:
    """The requests that decided on the subjects of a session."""
    return (await tx.scalars(_OF_DECISIONS, {"session": session})).all()
