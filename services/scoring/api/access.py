"""Who may see whose scorecard."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.cycles import Cycle
from services.scoring.store import cycles, workforce
from shared.auth import Principal, Role
from shared.contracts.ids import CycleId, EmployeeId
from shared.errors import Forbidden, NotFound
from shared.web import requires

SEES_ALL = (Role.HR_ADMIN, Role.AUDITOR, Role.COMPENSATION_ADMIN)
SEES_RATERS = (Role.HR_ADMIN, Role.AUDITOR)

Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
ScorecardReader = Annotated[Principal, requires(*SEES_ALL, Role.MANAGER, Role.EMPLOYEE)]
ScorecardLister = Annotated[Principal, requires(*SEES_ALL, Role.MANAGER)]
TemplateReader = Annotated[Principal, requires(*SEES_ALL, Role.MANAGER)]
CycleReader = Annotated[Principal, requires(*SEES_ALL, Role.FACILITATOR, Role.MANAGER, Role.EMPLOYEE)]


async def find_cycle(tx: AsyncConnection, who: Principal, cycle: CycleId) -> Cycle:
    found = await cycles.get(tx, who.tenant, cycle)
    if found is None:
        raise NotFound("there is no such cycle")
    return found


def day_in_question(cycle: Cycle, now: datetime) -> date:
    """The day on which a reporting line is asked for: today while the cycle runs, then its last day."""
    return min(now.date(), cycle.period.ends_on)


def own_line(who: Principal) -> EmployeeId | None:
    """The manager whose line is all this principal sees; `None` for those who see everybody."""
    if who.has(*SEES_ALL):
        return None
    if who.employee is None:
        raise Forbidden("the token names no employee whose line could be looked up", code="no-employee")
    return who.employee


async def require_sight(tx: AsyncConnection, who: Principal, cycle: Cycle, employee: EmployeeId, now: datetime) -> None:
    """Refuse unless this principal may see that person's scorecard, whether or not there is one."""
    manager = own_line(who)
    if manager is None or (who.has(Role.EMPLOYEE) and manager == employee):
        return
    if who.has(Role.MANAGER):
        day = day_in_question(cycle, now)
        if await workforce.reports_to(tx, who.tenant, employee, manager, day):
            return
    raise Forbidden("this scorecard is not yours to see", code="not-in-line")
