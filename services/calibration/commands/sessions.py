"""A session as a whole: prepared, opened on a complete copy, locked, reopened, cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.commands.access import cycle_of, person
from services.calibration.model import Move, Plan, Session, SessionState
from services.calibration.store import sessions, subjects
from shared import audit
from shared.auth import Principal
from shared.contracts.ids import CycleId, ProviderId, SessionId
from shared.errors import Conflict, Forbidden, NotFound, RuleViolation
from shared.field_problems import FieldProblem
from shared.messaging import timers
from shared.versions import Precondition

DEADLINE = "session-deadline"


async def locked_for(tx: AsyncConnection, who: Principal, session: SessionId, move: Move) -> Session:
    """The session, held for a change of it as a whole that its state allows and this person may make."""
    found = await sessions.lock_session(tx, session)
    if found is None:
        raise NotFound("no such session")
    if not rules.leads(person(who), found.plan):
        raise Forbidden("this session is led by somebody else", code="not-in-session")
    if not rules.allowed(move, found.state):
        raise Conflict(f"a session that is {found.state} cannot be asked to {move}", code="session-state")
    return found


def refuse_past(deadline: datetime, now: datetime) -> None:
    if deadline <= now:
        found = FieldProblem("/deadline", "in-the-past", "a deadline lies ahead")
        raise RuleViolation("the deadline has passed", code="deadline-passed", problems=[found])


async def prepare(
    tx: AsyncConnection, who: Principal, wanted: SessionId | None, cycle: CycleId, plan: Plan, now: datetime
) -> Session:
    refuse_past(plan.deadline, now)
    if await sessions.cycle(tx, cycle) is None:
        found = FieldProblem("/cycle", "unknown", "no such cycle has been announced")
        raise RuleViolation("the cycle is not known here", code="unknown-cycle", problems=[found])
    made = await sessions.add_session(tx, who.tenant, wanted, cycle, plan, who.subject, now)
    if made is None:
        raise Conflict("a session with this id exists", code="id-taken")
    await timers.schedule(tx, DEADLINE, who.tenant, [made.id], plan.deadline)
    await audit.record(tx, who.subject, now, "session.created", f"session/{made.id}", cycle=cycle)
    return made


async def edit(
    tx: AsyncConnection, who: Principal, session: SessionId, plan: Plan, if_match: Precondition, now: datetime
) -> Session:
    await timers.schedule(tx, DEADLINE, who.tenant, [session], plan.deadline)
    found = await locked_for(tx, who, session, Move.EDIT)
    if_match.check(found.version)
    if plan.deadline != found.plan.deadline:
        refuse_past(plan.deadline, now)
    if plan.scope != found.plan.scope and found.state is not SessionState.PREPARED:
        raise Conflict("the subjects are fixed: the scope can no longer change", code="session-state")
    changed = await sessions.change_plan(tx, session, plan)
    await audit.record(tx, who.subject, now, "session.edited", f"session/{session}")
    return changed


async def open_session(
    tx: AsyncConnection, who: Principal, session: SessionId, leave_out_taken: bool, now: datetime
) -> Session:
    """Fix the subjects, once this copy is known to hold every scorecard that the freeze announced."""
    found = await locked_for(tx, who, session, Move.OPEN)
    if found.plan.deadline <= now:
        raise Conflict("the deadline has passed: move it first", code="deadline-passed")
    await subjects.enter_cycle_alone(tx, who.tenant, found.cycle)
    await _require_complete_copy(tx, found)
    taken, first = await subjects.taken_elsewhere(tx, session)
    if taken and not leave_out_taken:
        raise Conflict(
            f"{taken} people of this scope are in another session of the cycle: {', '.join(first)}"
            + (" …" if taken > len(first) else ""),
            code="subjects-taken",
        )
    added = await subjects.add_subjects(tx, session)
    if not added:
        raise Conflict("nobody with a scorecard is in this scope", code="nobody-in-scope")
    opened = await sessions.change_state(tx, session, SessionState.OPEN, opened_at=now)
    await audit.record(tx, who.subject, now, "session.opened", f"session/{session}", subjects=added, left_out=taken)
    return opened


async def _require_complete_copy(tx: AsyncConnection, session: Session) -> None:
    cycle = await cycle_of(tx, session)
    if not cycle.frozen or cycle.scorecards is None:
        raise Conflict("the cycle is not frozen", code="cycle-not-frozen")
    held = await subjects.scorecards_held(tx, session.cycle)
    if held < cycle.scorecards:
        missing = cycle.scorecards - held
        raise Conflict(f"{missing} of the cycle's {cycle.scorecards} scorecards are missing", code="copy-incomplete")
    if held > cycle.scorecards:
        raise Conflict(f"{held} scorecards are here, {cycle.scorecards} were announced", code="copy-incomplete")


async def lock(tx: AsyncConnection, who: Principal, session: SessionId, now: datetime) -> Session:
    await locked_for(tx, who, session, Move.LOCK)
    locked = await sessions.change_state(tx, session, SessionState.LOCKED, locked_at=now)
    await audit.record(tx, who.subject, now, "session.locked", f"session/{session}")
    return locked


async def lock_overdue(tx: AsyncConnection, provider: ProviderId, keys: Sequence[str], now: datetime) -> None:
    """Lock the open sessions whose deadline has come. A deadline that was moved gets its timer again."""
    locked = await sessions.lock_overdue(tx, keys, now)
    for session, deadline in await sessions.later_deadlines(tx, keys, now):
        await timers.schedule(tx, DEADLINE, provider, [session], deadline)
    for session in locked:
        await audit.record(tx, "deadline", now, "session.locked", f"session/{session}")


async def reopen(
    tx: AsyncConnection, who: Principal, session: SessionId, reason: str, deadline: datetime, now: datetime
) -> Session:
    refuse_past(deadline, now)
    await timers.schedule(tx, DEADLINE, who.tenant, [session], deadline)
    await locked_for(tx, who, session, Move.REOPEN)
    opened = await sessions.change_state(tx, session, SessionState.OPEN, locked_at=None, deadline=deadline)
    await audit.record(tx, who.subject, now, "session.reopened", f"session/{session}", reason=reason)
    return opened


async def cancel(tx: AsyncConnection, who: Principal, session: SessionId, reason: str, now: datetime) -> Session:
    """Give its subjects free for other sessions; what was decided here stays on record."""
    await locked_for(tx, who, session, Move.CANCEL)
    await subjects.release_subjects(tx, session)
    cancelled = await sessions.change_state(tx, session, SessionState.CANCELLED)
    await audit.record(tx, who.subject, now, "session.cancelled", f"session/{session}", reason=reason)
    return cancelled
