"""People and cycles as other services announce them: whole states, of which the newest counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.commands.notices import give
from services.notifications.store import notices, people
from shared.contracts.ids import ProviderId
from shared.contracts.scoring import CycleChanged
from shared.contracts.states import newest
from shared.contracts.workforce import EmployeeChanged

REQUEST_WAITS = timedelta(days=14)
"""How long a request to a unit reaches people whose record comes after it: as long as topics keep records."""


async def learn_people(
    tx: AsyncConnection, provider: ProviderId, events: Iterable[EmployeeChanged], now: datetime
) -> None:
    """Who was unknown may be whom an earlier request to a unit was meant for."""
    states = newest(events)
    changed, unknown = await people.learn_people(tx, provider, states)
    await people.replace_assignments(tx, provider, [state for state in states if state.employee in changed])
    await give(tx, provider, await notices.addressed_late(tx, provider, unknown, now - REQUEST_WAITS), now)


async def learn_cycles(tx: AsyncConnection, provider: ProviderId, events: Iterable[CycleChanged]) -> None:
    await people.learn_cycles(tx, provider, newest(events))
