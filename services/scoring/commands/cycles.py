"""The life of a cycle: open, freezing, frozen, closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands import announcing
from services.scoring.commands.freezing import FREEZE, SWEEP, announce, sweep_key
from services.scoring.model.cycles import Cycle, CycleState, Period
from services.scoring.rules import bands
from services.scoring.rules.templates import unknown_gate_bands
from services.scoring.store import cycles, templates
from shared import audit
from shared.auth import Principal
from shared.contracts.ids import CycleId
from shared.errors import Conflict, NotFound, refuse_any
from shared.field_problems import FieldProblem
from shared.messaging import outbox, timers


async def open_cycle(
    tx: AsyncConnection, who: Principal, cycle_id: CycleId, name: str, period: Period, now: datetime
) -> Cycle:
    if period.ends_on < period.starts_on:
        backwards = FieldProblem("/ends_on", "before-start", "a cycle ends on or after the day it starts")
        refuse_any([backwards], "cycle-refused")
    refuse_any(bands.problems(period.bands), "cycle-refused")
    cycle = Cycle(cycle_id, 1, name, CycleState.OPEN, period)
    if not await cycles.insert(tx, who.tenant, cycle):
        raise Conflict("there is a cycle of this id", code="cycle-exists")
    in_use = await templates.published(tx, who.tenant, period.ends_on)
    refuse_any(unknown_gate_bands(in_use, period), "gate-band-unknown")
    await timers.schedule(tx, SWEEP, who.tenant, [sweep_key(cycle_id)], now)
    outbox.append(tx, [announcing.cycle_changed(who.tenant, cycle)])
    await audit.record(tx, who.subject, now, "cycle.opened", f"cycle/{cycle_id}")
    return cycle


async def begin_freeze(tx: AsyncConnection, who: Principal, cycle_id: CycleId, now: datetime) -> Cycle:
    """Announce the freeze; it ends by itself once everything accepted before was read and scored."""
    cycle = await _lock(tx, who, cycle_id)
    if cycle.state is not CycleState.OPEN:
        raise Conflict(f"the cycle is {cycle.state}, not open", code="not-open")
    changed = await announce(tx, who.tenant, replace(cycle, state=CycleState.FREEZING))
    await timers.schedule(tx, FREEZE, who.tenant, [cycle_id], now)
    await audit.record(tx, who.subject, now, "cycle.freeze-requested", f"cycle/{cycle_id}")
    return changed


async def close(tx: AsyncConnection, who: Principal, cycle_id: CycleId, now: datetime) -> Cycle:
    """No scorecard of the cycle gets another version: neither late events nor acceptances reach it any more."""
    cycle = await _lock(tx, who, cycle_id)
    if cycle.state is not CycleState.FROZEN:
        raise Conflict(f"the cycle is {cycle.state}, not frozen", code="not-frozen")
    changed = await announce(tx, who.tenant, replace(cycle, state=CycleState.CLOSED))
    await audit.record(tx, who.subject, now, "cycle.closed", f"cycle/{cycle_id}")
    return changed


async def _lock(tx: AsyncConnection, who: Principal, cycle_id: CycleId) -> Cycle:
    cycle = await cycles.lock(tx, who.tenant, cycle_id)
    if cycle is None:
        raise NotFound("there is no such cycle")
    return cycle
