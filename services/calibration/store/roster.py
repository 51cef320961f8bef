"""What people see of a session's subjects: the scored band and the manager's rating beside the calibrated band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.model import CaseState, Tally
from services.calibration.store.lines import line_of
from services.calibration.tables import employees, late_scorecards, manager_ratings, scorecards, subjects
from shared.contracts.ids import CycleId, EmployeeId, SessionId, UnitId
from shared.keyset import keyset

Line = tuple[EmployeeId, date]
"""A manager and the day on which their reporting line is meant."""


@dataclass(frozen=True, slots=True)
class View:
    """Whom somebody may see: all but themself, or of those the people in their line."""

    without: EmployeeId | None
    line: Line | None

    def limits(self, employee: ColumnElement[str]) -> ColumnElement[bool]:
        shown: list[ColumnElement[bool]] = [true() if self.without is None else employee != self.without]
        if self.line is not None:
            shown.append(employee.in_(line_of(*self.line)))
        return and_(*shown)


_DECIDED = subjects.c.state.in_((CaseState.CONFIRMED.value, CaseState.CHANGED.value))
_result: ColumnElement[str] = case((_DECIDED, subjects.c.band), else_=subjects.c.proposed_band)

_RATING = (
    select(manager_ratings.c.rating)
    .where(manager_ratings.c.cycle == subjects.c.cycle, manager_ratings.c.employee == subjects.c.employee)
    # Of several managers in a cycle the one at its end speaks, else the last who spoke.
    .order_by(
        manager_ratings.c.rater.is_not_distinct_from(scorecards.c.manager).desc(),
        manager_ratings.c.submitted_at.desc(),
        manager_ratings.c.rater,
    )
    .limit(1)
    .lateral("rating")
)
_SOURCE = (
    subjects.join(
        scorecards,
        and_(scorecards.c.cycle == subjects.c.cycle, scorecards.c.employee == subjects.c.employee),
    )
    .outerjoin(employees, employees.c.employee == subjects.c.employee)
    .outerjoin(_RATING, true())
)


def _rows() -> Select[tuple[str]]:
    return select(
        subjects,
        employees.c.display_name,
        scorecards.c.role,
        scorecards.c.grade,
        scorecards.c.unit,
        scorecards.c.manager,
        scorecards.c.client,
        scorecards.c.line_of_business,
        scorecards.c.site,
        _RATING.c.rating.label("manager_rating"),
    ).select_from(_SOURCE)


Subject = Row[tuple[str]]


async def subject(tx: AsyncConnection, session: SessionId, employee: EmployeeId) -> Subject | None:
    found = _rows().where(subjects.c.session == session, subjects.c.employee == employee)
    return (await tx.execute(found)).one_or_none()


async def subjects_page(
    tx: AsyncConnection,
    session: SessionId,
    view: View,
    *,
    state: CaseState | None,
    unit: UnitId | None,
    manager: EmployeeId | None,
    band: str | None,
    unrated: bool | None,
    after: tuple[str, ...] | None,
    limit: int,
) -> Sequence[Subject]:
    found = _rows().where(subjects.c.session == session, view.limits(subjects.c.employee))
    if state is not None:
        found = found.where(subjects.c.state == state.value)
    if unit is not None:
        found = found.where(scorecards.c.unit == unit)
    if manager is not None:
        found = found.where(scorecards.c.manager == manager)
    if band is not None:
        found = found.where(_result == band)
    if unrated is not None:
        found = found.where(_result.is_(None) if unrated else _result.is_not(None))
    return (await tx.execute(keyset(found, (subjects.c.employee,), after, limit))).all()


async def tallies(tx: AsyncConnection, session: SessionId, view: View) -> list[Tally]:
    facts = (subjects.c.proposed_band, _RATING.c.rating, subjects.c.state, subjects.c.band)
    found = select(*facts, func.count().label("people")).select_from(_SOURCE)
    found = found.where(subjects.c.session == session, view.limits(subjects.c.employee)).group_by(*facts)
    return [
        Tally(row.proposed_band, row.rating, CaseState(row.state), row.band, row.people)
        for row in await tx.execute(found)
    ]


async def late_scorecard(tx: AsyncConnection, cycle: CycleId, employee: EmployeeId) -> Subject | None:
    """A version computed after the freeze that nobody has accepted: without effect, but to be seen."""
    found = (
        select(late_scorecards)
        .join(
            scorecards,
            and_(scorecards.c.cycle == late_scorecards.c.cycle, scorecards.c.employee == late_scorecards.c.employee),
        )
        .where(late_scorecards.c.cycle == cycle, late_scorecards.c.employee == employee)
        .where(late_scorecards.c.version > scorecards.c.version)
    )
    return (await tx.execute(found)).one_or_none()
