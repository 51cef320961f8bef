"""What other services announced: kept where it is new, and applied to whatever rests on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.commands import adjustments
from services.compensation.model.award import Classification, Span
from services.compensation.store import copies, runs
from services.compensation.store.copies import ClassificationRow, CycleRow, PersonRow
from shared.contracts.ids import ProviderId
from shared.contracts.outcomes import ClassificationPublished, ClassificationRevised
from shared.contracts.scoring import CycleChanged
from shared.contracts.states import newest
from shared.contracts.workforce import Assignment, EmployeeChanged

AnyClassification = ClassificationPublished | ClassificationRevised

_ASSIGNMENTS = TypeAdapter(tuple[Assignment, ...])


async def learn_people(tx: AsyncConnection, provider: ProviderId, events: Sequence[EmployeeChanged]) -> None:
    people = [
        PersonRow(
            event.employee,
            event.version,
            _ASSIGNMENTS.dump_json(event.assignments).decode(),
            tuple(Span(each.valid_from, each.valid_to) for each in event.assignments),
            tuple(Span(each.starts_on, each.ends_on) for each in event.absences),
        )
        for event in newest(events)
    ]
    changed = await copies.learn_people(tx, provider, people)
    if changed:
        await runs.make_stale(tx, employees=changed)


async def learn_cycles(tx: AsyncConnection, provider: ProviderId, events: Sequence[CycleChanged]) -> None:
    rows = [
        CycleRow(
            event.cycle,
            event.version,
            event.state,
            event.starts_on,
            event.ends_on,
            tuple(cut.band for cut in event.bands),
            event.scorecards,
        )
        for event in newest(events)
    ]
    await copies.learn_cycles(tx, provider, rows)


async def learn_classifications(
    tx: AsyncConnection, provider: ProviderId, events: Sequence[AnyClassification], now: datetime
) -> None:
    """Keep each newer version; open runs become stale, decided awards are computed again.

    Versions of one person are applied one after the other, even out of one batch, so that the ledger does not depend
    on how the log was cut into batches.
    """
    for wave in _waves(events):
        changed = await copies.learn_classifications(tx, provider, [_row(event) for event in wave])
        if not changed:
            continue
        for cycle in sorted({cycle for cycle, _ in changed}):
            await runs.make_stale(tx, cycle=cycle)
        await adjustments.readjust(tx, provider, changed, now)


def _waves(events: Sequence[AnyClassification]) -> Iterator[list[AnyClassification]]:
    """The events in their order, cut so that nobody is twice in one cycle within a wave."""
    wave: dict[tuple[str, str], AnyClassification] = {}
    for event in events:
        if (event.cycle, event.employee) in wave:
            yield list(wave.values())
            wave = {}
        wave[event.cycle, event.employee] = event
    if wave:
        yield list(wave.values())


def _row(event: AnyClassification) -> ClassificationRow:
    place = event.placement
    found = Classification(event.version, event.band, event.score, event.scorecard_version, place.grade, place.unit)
    return ClassificationRow(event.cycle, event.employee, found, place.client, place.line_of_business, place.site)
