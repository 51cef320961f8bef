"""The freeze of a cycle: a barrier behind which every accepted event is in a final scorecard.

Ingest puts a marker into every partition of both streams, behind everything it had accepted. When all were read, what
stood before them is stored, and each person it touched either was scored with it or has a timer that says so. One walk
over the people then scores those with a timer and those without a scorecard. The cycle's row is locked in each step and
held shared by every other scoring, so that no version slips in between the count and the announcement.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands import announcing
from services.scoring.commands.rescoring import RESCORE, rescore
from services.scoring.model.cycles import Cycle, CycleState
from services.scoring.store import cycles, facts, scorecards, workforce
from shared.contracts.ids import ProviderId
from shared.contracts.topics import FEEDBACK, KPI_EVENTS
from shared.messaging import outbox, timers

FREEZE = "freeze"
"""Timer per cycle, keyed by cycle."""
SWEEP = "sweep"
"""Timer per cycle, keyed `<cycle>:<last employee scheduled>`; no id holds a colon."""
STREAMS = (KPI_EVENTS.name, FEEDBACK.name)
_FREEZE_STEP = 500
_SWEEP_STEP = 5_000
_WAIT = timedelta(milliseconds=200)


def sweep_key(cycle: str, after: str = "") -> str:
    return f"{cycle}:{after}"


async def sweep(tx: AsyncConnection, provider: ProviderId, key: str, now: datetime) -> None:
    """Have the next people of a cycle scored, because the cycle or its templates changed."""
    name, _, after = key.partition(":")
    cycle = await cycles.get(tx, provider, name)
    if cycle is None:
        return
    period = cycle.period
    people = await workforce.assigned_between(
        tx, provider, period.starts_on, period.ends_on, after=after, limit=_SWEEP_STEP
    )
    await timers.schedule(tx, RESCORE, provider, people, now)
    if len(people) == _SWEEP_STEP:
        await timers.schedule(tx, SWEEP, provider, [sweep_key(name, people[-1])], now)


async def advance_freeze(tx: AsyncConnection, provider: ProviderId, name: str, now: datetime) -> None:
    """One step of a freeze; it schedules the next one, or ends in the frozen cycle with its number of scorecards."""
    cycle = await cycles.lock(tx, provider, name)
    if cycle is None or cycle.state is not CycleState.FREEZING or not await _is_sealed(tx, provider, name):
        return
    if await scorecards.pending(tx, provider, kind=SWEEP, prefix=sweep_key(name)):
        await timers.schedule(tx, FREEZE, provider, [name], now + _WAIT)
        return
    people = await scorecards.behind(tx, provider, cycle, kind=RESCORE, limit=_FREEZE_STEP)
    await rescore(tx, provider, await facts.lock_heads(tx, provider, people), [cycle], now)
    if len(people) == _FREEZE_STEP:
        await cycles.update(tx, provider, replace(cycle, frozen_upto=people[-1]))
        await timers.schedule(tx, FREEZE, provider, [name], now)
        return
    count = await scorecards.count(tx, provider, name)
    await announce(tx, provider, replace(cycle, state=CycleState.FROZEN, scorecards=count))


async def announce(tx: AsyncConnection, provider: ProviderId, cycle: Cycle) -> Cycle:
    """Store the new state of a locked cycle as its next version, and tell it."""
    changed = replace(cycle, version=cycle.version + 1)
    await cycles.update(tx, provider, changed)
    outbox.append(tx, [announcing.cycle_changed(provider, changed)])
    return changed


async def _is_sealed(tx: AsyncConnection, provider: ProviderId, cycle: str) -> bool:
    found = await cycles.seals(tx, provider, [cycle])
    passed = [found[cycle, stream] for stream in STREAMS if (cycle, stream) in found]
    return len(passed) == len(STREAMS) and all(each.seen == each.of for each in passed)
