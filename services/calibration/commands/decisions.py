"""Deciding on the subjects of an open session: confirming, changing, and the second person's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.commands.access import actor, cycle_of, person, refusal, refuse_outside, refuse_own_case
from services.calibration.model import Act, Case, Decision, Rationale, Refused, Session, SessionState, Step
from services.calibration.store import decisions, sessions, subjects, traces
from shared import audit, telemetry
from shared.auth import Principal
from shared.contracts.ids import Band, EmployeeId, SessionId
from shared.errors import Conflict, NotFound
from shared.versions import Precondition


async def _enter(tx: AsyncConnection, who: Principal, session: SessionId, employees: Sequence[EmployeeId]) -> Session:
    refuse_own_case(who, employees)
    found = await sessions.share_session(tx, session)
    if found is None:
        raise NotFound("no such session")
    await refuse_outside(tx, who, found, employees, rules.reach_of_decider(person(who), found.plan))
    if found.state is not SessionState.OPEN:
        raise Conflict(f"decisions are made while a session is open; this one is {found.state}", code="session-state")
    return found


async def _case(tx: AsyncConnection, session: Session, employee: EmployeeId, if_match: Precondition) -> Case:
    case = (await subjects.lock_cases(tx, session.id, [employee])).get(employee)
    if case is None:
        raise NotFound("no such subject in this session")
    if_match.check(case.version)
    return case


async def _stand(
    tx: AsyncConnection,
    who: Principal,
    case: Case,
    step: Step | Refused,
    now: datetime,
    rationale: Rationale | None,
    reason: str | None,
) -> None:
    if isinstance(step, Refused):
        raise refusal(step)
    made = Decision(case, step, actor(who), now, rationale, reason)
    await subjects.save(tx, who.tenant, [made])
    telemetry.link(await traces.of_scorecards(tx, case.cycle, [case.employee]))
    await note_decision(tx, who, made)


async def note_decision(tx: AsyncConnection, who: Principal, made: Decision) -> None:
    """That it was decided, not what: people who read the audit may be subjects too. The version leads to the rest."""
    judged = made.step.act in (Act.APPROVE, Act.REJECT)
    action = f"{made.case.stage}.{'judged' if judged else 'decided'}"
    subject = f"session/{made.case.session}/subjects/{made.case.employee}"
    await audit.record(tx, who.subject, made.at, action, subject, version=made.version)


async def confirm(
    tx: AsyncConnection, who: Principal, session: SessionId, employee: EmployeeId, if_match: Precondition, now: datetime
) -> None:
    found = await _enter(tx, who, session, [employee])
    case = await _case(tx, found, employee, if_match)
    await _stand(tx, who, case, rules.confirm(case), now, None, None)


async def change(
    tx: AsyncConnection,
    who: Principal,
    session: SessionId,
    employee: EmployeeId,
    band: Band | None,
    rationale: Rationale,
    if_match: Precondition,
    now: datetime,
) -> None:
    found = await _enter(tx, who, session, [employee])
    case = await _case(tx, found, employee, if_match)
    bands = (await cycle_of(tx, found)).bands
    await _stand(tx, who, case, rules.change(case, bands, band), now, rationale, None)


async def judge(
    tx: AsyncConnection,
    who: Principal,
    session: SessionId,
    employee: EmployeeId,
    approve: bool,
    reason: str,
    if_match: Precondition,
    now: datetime,
) -> None:
    """The second person's yes or no to a change by two bands or more."""
    found = await _enter(tx, who, session, [employee])
    case = await _case(tx, found, employee, if_match)
    step = rules.judge(case, approve, await decisions.asker(tx, case), person(who))
    await _stand(tx, who, case, step, now, None, reason)


async def confirm_many(
    tx: AsyncConnection, who: Principal, session: SessionId, versions: Mapping[EmployeeId, int], now: datetime
) -> Mapping[EmployeeId, Case | Decision | None]:
    """Confirm those who are still at the version that was seen.

    For each, what came of it: the decision; the case as it is when somebody was faster; nothing for no subject.
    """
    found = await _enter(tx, who, session, sorted(versions))
    cases = await subjects.lock_cases(tx, found.id, sorted(versions))
    made = {
        employee: Decision(case, rules.confirm(case), actor(who), now)
        for employee, case in cases.items()
        if case.version == versions[employee]
    }
    if made:
        await subjects.save(tx, who.tenant, list(made.values()))
        telemetry.link(await traces.of_scorecards(tx, found.cycle, list(made)))
        await audit.record(tx, who.subject, now, "session.confirmations", f"session/{session}", subjects=len(made))
    return {employee: made.get(employee) or cases.get(employee) for employee in versions}
