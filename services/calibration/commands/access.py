"""Who may reach what: asked before anything is read that the answer would show."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.model import Actor, Cycle, Person, Reach, Refused, Session
from services.calibration.store import lines, sessions
from services.calibration.store.roster import View
from shared.auth import Principal
from shared.contracts.ids import EmployeeId, SessionId
from shared.errors import Conflict, Forbidden, NotFound, RuleViolation
from shared.field_problems import FieldProblem


def person(who: Principal) -> Person:
    return Person(who.subject, who.employee, frozenset(role.value for role in who.roles))


def actor(who: Principal) -> Actor:
    return Actor(who.subject, who.employee)


def refuse_own_case(who: Principal, employees: Sequence[EmployeeId]) -> None:
    if any(rules.own_case(person(who), employee) for employee in employees):
        raise Forbidden("nobody sees or decides their own case", code="own-case")


async def refuse_outside(
    tx: AsyncConnection, who: Principal, session: Session, employees: Sequence[EmployeeId], reach: Reach
) -> None:
    """Refuse whoever does not reach every one of `employees` in this session."""
    if reach is Reach.ALL:
        return
    if reach is Reach.NONE or who.employee is None:
        raise Forbidden("this session is not yours", code="not-in-session")
    cycle = await cycle_of(tx, session)
    if len(await lines.in_line(tx, who.employee, employees, cycle.ends_on)) < len(set(employees)):
        raise Forbidden("outside your reporting line on the cycle's last day", code="not-in-line")


async def viewed(tx: AsyncConnection, who: Principal, session: SessionId) -> tuple[Session, Cycle, View]:
    """A session with whom of it somebody may see; whoever may see nobody is refused."""
    found = await sessions.session(tx, session)
    if found is None:
        raise NotFound("no such session")
    reach = rules.reach_of_reader(person(who), found.plan)
    if reach is Reach.NONE:
        raise Forbidden("this session is not yours", code="not-in-session")
    cycle = await cycle_of(tx, found)
    line = (who.employee, cycle.ends_on) if reach is Reach.LINE and who.employee is not None else None
    return found, cycle, View(who.employee, line)


async def cycle_of(tx: AsyncConnection, session: Session) -> Cycle:
    cycle = await sessions.cycle(tx, session.cycle)
    if cycle is None:
        raise NotFound("no such cycle")
    return cycle


def refusal(refused: Refused) -> RuleViolation | Conflict | Forbidden:
    """The error in which a rule's no reaches the caller."""
    if refused.code == "second-person-needed":
        return Forbidden(refused.detail, code=refused.code)
    if refused.pointer is None:
        return Conflict(refused.detail, code=refused.code)
    found = FieldProblem(refused.pointer, refused.code, refused.detail)
    return RuleViolation(refused.detail, code=refused.code, problems=[found])
