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
from shared.contracts.workforce import Direction, EmployeeChanged, MetricDefined
from shared.messaging import timers


async def put_people(
    tx: AsyncConnection, provider: ProviderId, states: Sequence[EmployeeChanged], *, due_at: datetime
) -> None:
    newest: dict[str, EmployeeChanged] = {}
    for state in states:
        if state.employee not in newest or newest[state.employee].version < state.version:
            newest[state.employee] = state
    if await cycles.hold_calendar(tx, provider):
        await timers.schedule(tx, RESCORE, provider, newest, due_at)
    news = await workforce.take_newer(tx, provider, {name: state.version for name, state in newest.items()})
    if news:
        await workforce.replace(tx, provider, {name: _person(newest[name]) for name in news})


async def put_metrics(tx: AsyncConnection, provider: ProviderId, states: Sequence[MetricDefined]) -> None:
    """Scores do not move: a published template version keeps the metric as it was at its publication."""
    newest: dict[str, MetricDefined] = {
        state.metric: state for state in sorted(states, key=lambda state: state.version)
    }
    await templates.put_metrics(
        tx, provider, {name: (state.version, _rule(state), state.developmental_only) for name, state in newest.items()}
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
