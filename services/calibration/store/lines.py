"""Reporting lines on a day, transitively: a manager, the manager's manager, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Select, and_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.tables import superiors
from shared.contracts.ids import EmployeeId


def line_of(manager: EmployeeId, on: date) -> Select[tuple[str]]:
    """Everybody below `manager`, for use in a filter. People who report to each other end the walk, not us."""
    effective = and_(superiors.c.since <= on, superiors.c.until > on)
    line = select(superiors.c.employee).where(superiors.c.manager == manager, effective).cte("line", recursive=True)
    below = select(superiors.c.employee).where(superiors.c.manager == line.c.employee, effective)
    return select(line.union(below).c.employee)


# From the people upwards: a director's whole line may be half the provider.
_ABOVE = text("""
    WITH RECURSIVE above AS (
        SELECT employee, manager FROM superiors
        WHERE employee = ANY(CAST(:employees AS text[])) AND since <= :on AND until > :on
        UNION
        SELECT above.employee, superior.manager FROM above JOIN superiors AS superior ON
            superior.employee = above.manager AND superior.since <= :on AND superior.until > :on
    )
    SELECT DISTINCT employee FROM above WHERE manager = :manager
""")


async def in_line(
    tx: AsyncConnection, manager: EmployeeId, employees: Sequence[EmployeeId], on: date
) -> frozenset[EmployeeId]:
    """Which of `employees` are below `manager`."""
    found = await tx.scalars(_ABOVE, {"employees": list(employees), "manager": manager, "on": on})
    return frozenset(EmployeeId(employee) for employee in found)
