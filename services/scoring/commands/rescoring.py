"""A person's scorecards, computed anew and kept when they say something new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from services.scoring.commands import announcing
from services.scoring.model.cycles import Cycle, CycleState
from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Person, Placement, Segment
from services.scoring.model.scorecards import ScorecardVersion, Status
from services.scoring.model.templates import Part, PartKind
from services.scoring.rules import segments as segmenting
from services.scoring.rules.scorecards import compose
from services.scoring.rules.templates import TemplateBook
from services.scoring.store import facts, scorecards, templates, workforce
from services.scoring.store.documents import digest
from shared.contracts.ids import ProviderId
from shared.messaging import outbox

RESCORE = "rescore"
"""Timer per person, keyed by employee."""
_SOONEST = timedelta(seconds=1)
_LATEST = timedelta(seconds=15)
_RECORDS_PER_SECOND = 1_000


def rescore_at(now: datetime, lag: int) -> datetime:
    """When to score people whose events just came in: the further behind, the more events one scoring should cover."""
    return now + min(_LATEST, _SOONEST + timedelta(seconds=lag / _RECORDS_PER_SECOND))


@dataclass(frozen=True, slots=True)
class _Due:
    cycle: Cycle
    employee: str
    segments: tuple[Segment, ...]
    placement: Placement


async def rescore(
    tx: AsyncSession, provider: ProviderId, employees: Sequence[str], cycles: Sequence[Cycle], now: datetime
) -> None:
    """Score these people in these cycles, whose state the caller holds, with everything stored by now.

    Whoever has no assignment in a cycle is scored there only if they once had one: unrated, at their last place.
    """
    # Lock people before reading anything about them: what is read then is all there is up to the watermark, and for
    # one person outbox id order equals commit order.
    watermarks = await facts.lock_heads(tx, provider, employees)
    if not watermarks or not cycles:
        return
    names = sorted(watermarks)
    people = await workforce.people(tx, provider, names)
    until = max(cycle.period.ends_on for cycle in cycles)
    book = TemplateBook(await templates.published(tx, provider, until))
    latest = await scorecards.latest(tx, provider, [cycle.cycle for cycle in cycles], names)
    due = [
        each
        for cycle in cycles
        for name in names
        if (each := _due(cycle, name, people.get(name), book, scored=(cycle.cycle, name) in latest))
    ]
    changed = []
    for each, sums in zip(due, await _sums(tx, provider, due), strict=True):
        result = compose(each.segments, sums, each.placement, each.cycle.period)
        before = latest.get((each.cycle.cycle, each.employee))
        if before is None or before.digest != digest(result):
            changed.append(
                ScorecardVersion(
                    cycle=each.cycle.cycle,
                    employee=each.employee,
                    version=before.version + 1 if before else 1,
                    status=Status.LATE if each.cycle.state is CycleState.FROZEN else Status.CURRENT,
                    watermark=watermarks[each.employee],
                    as_of=now,
                    result=result,
                )
            )
    if changed:
        await scorecards.save(tx, provider, changed)
    outbox.append(tx, [announcing.scorecard_computed(provider, card) for card in changed])
    outbox.append(tx, [announcing.late_notice(provider, card, now) for card in changed if card.status is Status.LATE])


def _due(cycle: Cycle, employee: str, person: Person | None, book: TemplateBook, *, scored: bool) -> _Due | None:
    if person is None:
        return None
    pieces = segmenting.cut(person, cycle.period, book)
    place = segmenting.placement(person.assignments, cycle.period)
    return _Due(cycle, employee, pieces, place) if pieces or scored else None


async def _sums(tx: AsyncSession, provider: ProviderId, due: Sequence[_Due]) -> list[list[Mapping[Source, Sums]]]:
    """For each due scorecard, the sums of each of its segments."""
    pieces = [(each.employee, segment) for each in due for segment in each.segments]
    observed = iter(await facts.segment_sums(tx, provider, pieces))
    rated: Mapping[tuple[str, str], dict[Source, Sums]] = {}
    if any(part.kind is PartKind.FEEDBACK for _, segment in pieces for part in _parts(segment)):
        cycles = {each.cycle.cycle for each in due}
        rated = await facts.rating_sums(tx, provider, sorted(cycles), sorted({each.employee for each in due}))
    return [[next(observed) | rated.get((each.cycle.cycle, each.employee), {}) for _ in each.segments] for each in due]


def _parts(segment: Segment) -> tuple[Part, ...]:
    return segment.version.parts if segment.version else ()
