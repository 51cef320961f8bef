"""Revisions: a published band, and the newer scorecard that puts it in question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Row, Select, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.model import Case, CaseState, Decision, Revision, Stage
from services.calibration.store import decisions as history
from services.calibration.store.lines import line_of
from services.calibration.tables import classifications, revisions, scorecards, sessions, subjects
from shared.contracts.ids import CycleId, EmployeeId, ProviderId, SessionId
from shared.keyset import keyset


async def session_of(tx: AsyncConnection, cycle: CycleId, employee: EmployeeId) -> SessionId | None:
    """The session that calibrates or calibrated somebody in a cycle."""
    found = select(subjects.c.session).where(subjects.c.cycle == cycle, subjects.c.employee == employee)
    session = await tx.scalar(found.where(~subjects.c.released))
    return SessionId(session) if session else None


async def lock_newest(tx: AsyncConnection, cycle: CycleId, employee: EmployeeId) -> Revision | None:
    """Somebody's newest revision, under the lock of the subject; the session is shared already."""
    subject = select(subjects).where(subjects.c.cycle == cycle, subjects.c.employee == employee, ~subjects.c.released)
    held = (await tx.execute(subject.with_for_update())).one_or_none()
    newest = select(revisions).where(revisions.c.cycle == cycle, revisions.c.employee == employee)
    row = (await tx.execute(newest.order_by(revisions.c.number.desc()).limit(1))).one_or_none()
    if held is None or row is None:
        return None
    case = Case(
        session=held.session,
        cycle=cycle,
        employee=employee,
        stage=Stage.REVISION,
        version=held.version,
        state=CaseState(row.state),
        standing=held.band,
        band=row.band,
        scorecard_version=row.scorecard_version,
    )
    return Revision(row.number, case, row.opened_at)


_PUT = text("""
    INSERT INTO revisions (provider_id, cycle, employee, number, session, state, scorecard_version, band, decided,
                           opened_at)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:cycles AS text[]), CAST(:employees AS text[]),
                         CAST(:numbers AS integer[]), CAST(:sessions AS text[]), CAST(:states AS text[]),
                         CAST(:cards AS bigint[]), CAST(:bands AS text[]), CAST(:decided AS bigint[]),
                         CAST(:opened AS timestamptz[]))
    ON CONFLICT (provider_id, cycle, employee, number) DO UPDATE
    SET state = excluded.state, scorecard_version = excluded.scorecard_version, band = excluded.band,
        decided = excluded.decided
""")
_COUNT_UP = text("""
    UPDATE subjects SET version = made.version
    FROM unnest(CAST(:sessions AS text[]), CAST(:employees AS text[]), CAST(:versions AS bigint[]))
         AS made (session, employee, version)
    WHERE subjects.session = made.session AND subjects.employee = made.employee
""")


async def save(tx: AsyncConnection, provider: ProviderId, made: Sequence[tuple[Revision, Decision]]) -> None:
    """Append decisions on locked revisions and let them stand."""
    steps = [decision for _, decision in made]
    await history.append(tx, provider, steps)
    held_in, employees = [each.case.session for each in steps], [each.case.employee for each in steps]
    await tx.execute(
        _COUNT_UP, {"sessions": held_in, "employees": employees, "versions": [each.version for each in steps]}
    )
    await tx.execute(
        _PUT,
        {
            "providers": [provider for _ in made],
            "cycles": [each.case.cycle for each in steps],
            "employees": employees,
            "numbers": [revision.number for revision, _ in made],
            "sessions": held_in,
            "states": [each.step.state.value for each in steps],
            "cards": [each.scorecard_version for each in steps],
            "bands": [each.step.band for each in steps],
            "decided": [None if each.step.state is CaseState.UNDECIDED else each.version for each in steps],
            "opened": [revision.opened_at for revision, _ in made],
        },
    )


_SETTLE = text("""
    UPDATE subjects SET state = 'changed', band = :band, decided = :version, scorecard_version = card.version,
        score = card.score, coverage = card.coverage, proposed_band = card.proposed_band
    FROM scorecards AS card
    WHERE subjects.session = :session AND subjects.employee = :employee
      AND card.cycle = subjects.cycle AND card.employee = subjects.employee AND card.version = :card
""")


async def settle(tx: AsyncConnection, made: Decision) -> None:
    """Let the subject itself stand on the band and the scorecard of a revision that was made."""
    await tx.execute(
        _SETTLE,
        {
            "band": made.step.band,
            "version": made.version,
            "session": made.case.session,
            "employee": made.case.employee,
            "card": made.scorecard_version,
        },
    )


Shown = Row[tuple[str]]


def _rows() -> Select[tuple[str]]:
    card = and_(
        scorecards.c.cycle == revisions.c.cycle,
        scorecards.c.employee == revisions.c.employee,
        scorecards.c.version == revisions.c.scorecard_version,
    )
    current = (
        select(func.max(classifications.c.version))
        .where(classifications.c.cycle == revisions.c.cycle, classifications.c.employee == revisions.c.employee)
        .scalar_subquery()
    )
    subject = and_(subjects.c.session == revisions.c.session, subjects.c.employee == revisions.c.employee)
    return select(
        revisions,
        subjects.c.version,
        subjects.c.band.label("current_band"),
        scorecards.c.score,
        scorecards.c.proposed_band,
        current.label("classification_version"),
    ).select_from(
        revisions.join(subjects, subject)
        .join(sessions, sessions.c.session == revisions.c.session)
        .outerjoin(scorecards, card)
    )


async def revisions_page(
    tx: AsyncConnection,
    *,
    without: EmployeeId | None,
    of: tuple[EmployeeId, date] | None,
    cycle: CycleId | None,
    state: CaseState | None,
    after: tuple[str, str, int] | None,
    limit: int,
) -> Sequence[Shown]:
    """`of` somebody: those of sessions they own or facilitate, and where they take part, of their line on that day."""
    found = _rows()
    if without is not None:
        found = found.where(revisions.c.employee != without)
    if of is not None:
        takes_part = and_(sessions.c.participants.contains([of[0]]), revisions.c.employee.in_(line_of(*of)))
        found = found.where(or_(sessions.c.owner == of[0], sessions.c.facilitator == of[0], takes_part))
    if cycle is not None:
        found = found.where(revisions.c.cycle == cycle)
    if state is not None:
        found = found.where(revisions.c.state == state.value)
    key = (revisions.c.cycle, revisions.c.employee, revisions.c.number)
    return (await tx.execute(keyset(found, key, after, limit))).all()


async def newest(tx: AsyncConnection, cycle: CycleId, employee: EmployeeId) -> Shown | None:
    found = _rows().where(revisions.c.cycle == cycle, revisions.c.employee == employee)
    return (await tx.execute(found.order_by(revisions.c.number.desc()).limit(1))).one_or_none()
