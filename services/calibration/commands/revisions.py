"""Deciding whether a published band stands beside a newer scorecard."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.commands.access import actor, cycle_of, person, refusal, refuse_outside, refuse_own_case
from services.calibration.commands.decisions import note_decision
from services.calibration.commands.publication import announced, bands_by_rating
from services.calibration.model import CaseState, Decision, Rationale, Refused, Revision, Session, Step
from services.calibration.store import classifications, decisions, revisions, sessions, traces
from shared import telemetry
from shared.auth import Principal
from shared.contracts.ids import Band, CycleId, EmployeeId
from shared.errors import Conflict, NotFound
from shared.messaging import outbox
from shared.versions import Precondition


async def _enter(
    tx: AsyncConnection, who: Principal, cycle: CycleId, employee: EmployeeId, if_match: Precondition
) -> tuple[Session, Revision]:
    refuse_own_case(who, [employee])
    of = await revisions.session_of(tx, cycle, employee)
    session = await sessions.share_session(tx, of) if of else None
    if session is None:
        raise NotFound("no such revision")
    await refuse_outside(tx, who, session, [employee], rules.reach_of_decider(person(who), session.plan))
    revision = await revisions.lock_newest(tx, cycle, employee)
    if revision is None:
        raise NotFound("no such revision")
    if_match.check(revision.case.version)
    if revision.case.state in rules.DECIDED:
        raise Conflict("this revision is decided", code="revision-closed")
    return session, revision


async def _stand(
    tx: AsyncConnection,
    who: Principal,
    session: Session,
    revision: Revision,
    step: Step | Refused,
    now: datetime,
    rationale: Rationale | None,
    reason: str | None,
) -> None:
    if isinstance(step, Refused):
        raise refusal(step)
    made = Decision(revision.case, step, actor(who), now, rationale, reason)
    await revisions.save(tx, who.tenant, [(revision, made)])
    telemetry.link(await traces.of_scorecards(tx, session.cycle, [revision.case.employee]))
    if step.state is CaseState.CHANGED:
        await revisions.settle(tx, made)
        bands = bands_by_rating(await cycle_of(tx, session))
        rows = await classifications.publish(tx, session.id, revision.case.employee, bands, who.subject, now)
        outbox.append(tx, announced(rows))
    await note_decision(tx, who, made)


async def confirm(
    tx: AsyncConnection, who: Principal, cycle: CycleId, employee: EmployeeId, if_match: Precondition, now: datetime
) -> None:
    """The published version stays; nothing is announced."""
    session, revision = await _enter(tx, who, cycle, employee, if_match)
    await _stand(tx, who, session, revision, rules.confirm(revision.case), now, None, None)


async def revise(
    tx: AsyncConnection,
    who: Principal,
    cycle: CycleId,
    employee: EmployeeId,
    band: Band | None,
    rationale: Rationale,
    if_match: Precondition,
    now: datetime,
) -> None:
    session, revision = await _enter(tx, who, cycle, employee, if_match)
    bands = (await cycle_of(tx, session)).bands
    step = rules.change(revision.case, bands, band)
    await _stand(tx, who, session, revision, step, now, rationale, None)


async def judge(
    tx: AsyncConnection,
    who: Principal,
    cycle: CycleId,
    employee: EmployeeId,
    approve: bool,
    reason: str,
    if_match: Precondition,
    now: datetime,
) -> None:
    session, revision = await _enter(tx, who, cycle, employee, if_match)
    step = rules.judge(revision.case, approve, await decisions.asker(tx, revision.case), person(who))
    await _stand(tx, who, session, revision, step, now, None, reason)
