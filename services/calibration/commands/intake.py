"""What arrives from other services. The same events in any order, and any number of times, leave the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.model import Actor, Decision
from services.calibration.store import copies, revisions, subjects
from shared.contracts.ids import ProviderId
from shared.contracts.kpi import FeedbackCategory, FeedbackSubmitted
from shared.contracts.scoring import CycleChanged, ScorecardComputed, ScorecardStatus
from shared.contracts.states import newest
from shared.contracts.workforce import EmployeeChanged
from shared.errors import RuleViolation

SCORING = Actor("scoring", None)


async def learn_people(tx: AsyncConnection, events: Iterable[EmployeeChanged]) -> None:
    await copies.learn_people(tx, newest(events))


async def learn_cycles(tx: AsyncConnection, events: Iterable[CycleChanged]) -> None:
    await copies.learn_cycles(tx, newest(events))


async def learn_ratings(tx: AsyncConnection, events: Iterable[FeedbackSubmitted]) -> None:
    """Managers' proposed ratings; other feedback has its own readers."""
    rated = [event for event in events if event.category is FeedbackCategory.MANAGER]
    if any(event.rater == event.employee for event in rated):
        raise RuleViolation("nobody rates their own case as its manager", code="own-case")
    ordered = sorted(rated, key=lambda event: (event.revision, event.feedback))
    latest = {(event.cycle, event.employee, event.rater): event for event in ordered}
    if latest:
        await copies.learn_ratings(tx, [latest[key] for key in sorted(latest)])


async def learn_scorecards(
    tx: AsyncConnection, provider: ProviderId, events: Sequence[ScorecardComputed], now: datetime
) -> None:
    """Store what has effect and, apart, what is late; then let it reach the subjects that stood on an older one."""
    await subjects.enter_cycles(tx, provider, [event.cycle for event in events])
    late = [event for event in events if event.status is ScorecardStatus.LATE]
    effective = [event for event in events if event.status is not ScorecardStatus.LATE]
    if late:
        await copies.learn_late(tx, _latest(late))
    if not effective:
        return
    counted = {(event.cycle, event.employee) for event in effective if event.status is ScorecardStatus.CURRENT}
    latest = _latest(effective)
    await copies.learn_scorecards(tx, latest, counted)
    await _reach_subjects(tx, provider, [(event.cycle, event.employee) for event in latest], now)


def _latest(events: Iterable[ScorecardComputed]) -> list[ScorecardComputed]:
    latest = {(event.cycle, event.employee): event for event in sorted(events, key=lambda event: event.version)}
    return [latest[key] for key in sorted(latest)]


async def _reach_subjects(tx: AsyncConnection, provider: ProviderId, keys: Sequence[copies.Key], now: datetime) -> None:
    outdated = await subjects.lock_outdated(tx, keys)
    taken = [
        Decision(each.case, rules.take_up(each), SCORING, now, card=each.card)
        for each in outdated
        if not each.published
    ]
    if taken:
        await subjects.save(tx, provider, taken)
    questioned = [(rules.question(each, now), each) for each in outdated if each.published]
    if questioned:
        opened = [
            (revision, Decision(revision.case, rules.take_up(each), SCORING, now, card=each.card))
            for revision, each in questioned
        ]
        await revisions.save(tx, provider, opened)
