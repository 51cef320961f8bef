"""People and metrics as ingest announces them: whole states, of which the newest counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands.rescoring import RESCORE
from services.scoring.model.people import Assignment, Person, Placement
from services.scoring.model.templates import Aggregation, MetricRule, MissingData
from services.scoring.store import cycles, templates, workforce
from shared.contracts.ids import ProviderId
from shared.contracts.states import newest
from shared.contracts.workforce import Direction, EmployeeChanged, MetricDefined
from shared.messaging import timers


async def learn_people(
    tx: AsyncConnection, provider: ProviderId, events: Sequence[EmployeeChanged], *, due_at: datetime
) -> None:
    states: dict[str, EmployeeChanged] = {state.employee: state for state in newest(events)}
    if await cycles.hold_calendar(tx, provider):
        await timers.schedule(tx, RESCORE, provider, states, due_at)
    news = await workforce.learn_versions(tx, provider, {name: state.version for name, state in states.items()})
    if news:
        await workforce.replace(tx, provider, {name: _person(states[name]) for name in news})


async def learn_metrics(tx: AsyncConnection, provider: ProviderId, events: Sequence[MetricDefined]) -> None:
    """Scores do not move: a published template version keeps the metric as it was at its publication."""
    await templates.learn_metrics(
        tx,
        provider,
        {state.metric: (state.version, _rule(state), state.developmental_only) for state in newest(events)},
    )


def _person(state: EmployeeChanged) -> Person:
    return Person(
        tuple(
            Assignment(
                each.valid_from,
                each.valid_to,
                Placement(
                    each.role, each.grade, each.unit, each.manager, each.client, each.line_of_business, each.site
                ),
            )
            for each in state.assignments
        ),
        tuple((absence.starts_on, absence.ends_on) for absence in state.absences),
    )


def _rule(state: MetricDefined) -> MetricRule:
    return MetricRule(
        state.direction is Direction.HIGHER_IS_BETTER,
        Aggregation(state.aggregation.value),
        MissingData(state.missing_data.value),
        state.minimum_volume,
    )
