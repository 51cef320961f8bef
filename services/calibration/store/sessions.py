"""Sessions and the cycles they are held for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Row, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.model import CaseState, Cycle, Plan, Scope, Session, SessionState
from services.calibration.tables import cycles, sessions, subjects
from shared.contracts.ids import Band, CycleId, EmployeeId, ProviderId, SessionId
from shared.keyset import keyset


def _session(row: Row[tuple[object, ...]]) -> Session:
    scope = Scope(tuple(row.units), tuple(row.clients), tuple(row.lines_of_business), tuple(row.grades))
    return Session(
        id=SessionId(row.session),
        cycle=CycleId(row.cycle),
        plan=Plan(row.name, scope, row.owner, row.facilitator, tuple(row.participants), row.deadline),
        state=SessionState(row.state),
        version=row.version,
        created_by=row.created_by,
        created_at=row.created_at,
        opened_at=row.opened_at,
        locked_at=row.locked_at,
        published_at=row.published_at,
        published_by=row.published_by,
    )


async def cycle(tx: AsyncConnection, wanted: CycleId) -> Cycle | None:
    row = (await tx.execute(select(cycles).where(cycles.c.cycle == wanted))).one_or_none()
    if row is None:
        return None
    bands = tuple(Band(band) for band in row.bands)
    return Cycle(wanted, row.state == "frozen", row.ends_on, bands, row.scorecards)


async def session(tx: AsyncConnection, wanted: SessionId) -> Session | None:
    row = (await tx.execute(select(sessions).where(sessions.c.session == wanted))).one_or_none()
    return _session(row) if row else None


async def lock_session(tx: AsyncConnection, wanted: SessionId) -> Session | None:
    """For a change of the session as a whole: nobody decides on one of its subjects meanwhile."""
    row = (await tx.execute(select(sessions).where(sessions.c.session == wanted).with_for_update())).one_or_none()
    return _session(row) if row else None


async def share_session(tx: AsyncConnection, wanted: SessionId) -> Session | None:
    """For work on single subjects: side by side with others, but not with a change of the session."""
    row = (
        await tx.execute(select(sessions).where(sessions.c.session == wanted).with_for_update(read=True))
    ).one_or_none()
    return _session(row) if row else None


def _fields(plan: Plan) -> dict[str, str | list[str] | datetime | None]:
    return {
        "name": plan.name,
        "units": list(plan.scope.units),
        "clients": list(plan.scope.clients),
        "lines_of_business": list(plan.scope.lines_of_business),
        "grades": list(plan.scope.grades),
        "owner": plan.owner,
        "facilitator": plan.facilitator,
        "participants": list(plan.participants),
        "deadline": plan.deadline,
    }


async def add_session(
    tx: AsyncConnection,
    provider: ProviderId,
    wanted: SessionId | None,
    cycle_id: CycleId,
    plan: Plan,
    by: str,
    now: datetime,
) -> Session | None:
    """The new session, or `None` when its id is taken."""
    values = {"provider_id": provider, "cycle": cycle_id, "created_by": by, "created_at": now, **_fields(plan)}
    if wanted is not None:
        values["session"] = wanted
    made = insert(sessions).values(values).on_conflict_do_nothing().returning(sessions)
    row = (await tx.execute(made)).one_or_none()
    return _session(row) if row else None


async def change_plan(tx: AsyncConnection, wanted: SessionId, plan: Plan) -> Session:
    return await _change(tx, wanted, _fields(plan))


async def change_state(
    tx: AsyncConnection, wanted: SessionId, state: SessionState, **fields: str | datetime | None
) -> Session:
    return await _change(tx, wanted, {"state": state.value, **fields})


async def _change(tx: AsyncConnection, wanted: SessionId, values: Mapping[str, object]) -> Session:
    changed = update(sessions).where(sessions.c.session == wanted)
    changed = changed.values(version=sessions.c.version + 1, **values)
    return _session((await tx.execute(changed.returning(sessions))).one())


_LOCK_DUE = text("""
    UPDATE sessions SET state = 'locked', locked_at = :now, version = version + 1
    WHERE session IN (SELECT session FROM sessions WHERE session = ANY(CAST(:sessions AS text[]))
                      AND state = 'open' AND deadline <= :now ORDER BY session FOR UPDATE)
    RETURNING session
""")
_LOCK_LATER = text("""
    SELECT session, deadline FROM sessions
    WHERE session = ANY(CAST(:sessions AS text[])) AND state IN ('prepared', 'open', 'locked') AND deadline > :now
""")


async def lock_overdue(tx: AsyncConnection, wanted: Sequence[str], now: datetime) -> list[SessionId]:
    """Lock those whose deadline has come; which they were."""
    locked = await tx.scalars(_LOCK_DUE, {"sessions": list(wanted), "now": now})
    return sorted(SessionId(each) for each in locked)


async def later_deadlines(
    tx: AsyncConnection, wanted: Sequence[str], now: datetime
) -> list[tuple[SessionId, datetime]]:
    rows = await tx.execute(_LOCK_LATER, {"sessions": list(wanted), "now": now})
    return [(SessionId(row.session), row.deadline) for row in rows]


async def sessions_page(
    tx: AsyncConnection,
    *,
    of: EmployeeId | None,
    cycle_id: CycleId | None,
    state: SessionState | None,
    after: tuple[str, ...] | None,
    limit: int,
) -> list[Session]:
    """`of` somebody: the sessions they own, facilitate or take part in."""
    found = select(sessions)
    if of is not None:
        mine = sessions.c.participants.contains([of])
        found = found.where(or_(sessions.c.owner == of, sessions.c.facilitator == of, mine))
    if cycle_id is not None:
        found = found.where(sessions.c.cycle == cycle_id)
    if state is not None:
        found = found.where(sessions.c.state == state.value)
    return [_session(row) for row in await tx.execute(keyset(found, (sessions.c.session,), after, limit))]


async def counts(
    tx: AsyncConnection, wanted: Sequence[SessionId], without: EmployeeId | None
) -> dict[SessionId, dict[CaseState, int]]:
    """How many subjects of each session stand where, leaving one out: the state of their own case is not theirs."""
    tally = select(subjects.c.session, subjects.c.state, func.count()).where(subjects.c.session.in_(wanted))
    if without is not None:
        tally = tally.where(subjects.c.employee != without)
    found: dict[SessionId, dict[CaseState, int]] = {each: {} for each in wanted}
    for session_id, state, people in await tx.execute(tally.group_by(subjects.c.session, subjects.c.state)):
        found[session_id][CaseState(state)] = people
    return found
