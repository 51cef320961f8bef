"""A late version takes effect when a person says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands import announcing
from services.scoring.model.cycles import CycleState
from services.scoring.model.scorecards import Acceptance, ScorecardVersion, Status
from services.scoring.store import cycles, scorecards
from shared import audit, telemetry
from shared.auth import Principal
from shared.contracts.ids import CycleId, EmployeeId
from shared.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from shared.messaging import outbox


async def accept(
    tx: AsyncConnection,
    who: Principal,
    cycle_id: CycleId,
    employee: EmployeeId,
    version: int,
    reason: str,
    now: datetime,
) -> ScorecardVersion:
    """The next version, equal to the late one, with effect. Only the newest version can be accepted."""
    if who.employee == employee:
        raise Forbidden("nobody decides on their own scorecard", code="own-case")
    cycle = await cycles.hold(tx, who.tenant, cycle_id)
    await scorecards.lock_latest(tx, who.tenant, [cycle_id], [employee])
    late = await scorecards.get(tx, who.tenant, cycle_id, employee)
    if cycle is None or late is None:
        raise NotFound("there is no such scorecard")
    if late.version != version:
        raise PreconditionFailed(f"version {late.version} is the newest; read it before you decide")
    if late.status is not Status.LATE or cycle.state is not CycleState.FROZEN:
        raise Conflict(f"the version is {late.status} in a cycle that is {cycle.state}", code="not-late")
    accepted = replace(
        late,
        version=version + 1,
        status=Status.ACCEPTED,
        as_of=now,
        acceptance=Acceptance(version, who.subject, reason),
    )
    await scorecards.save(tx, who.tenant, [accepted])
    telemetry.link([await scorecards.made_by(tx, who.tenant, cycle_id, employee, version)])
    outbox.append(tx, [announcing.scorecard_computed(who.tenant, accepted)])
    subject = f"scorecard/{cycle_id}/{employee}"
    await audit.record(tx, who.subject, now, "scorecard.accepted", subject, late_version=version, reason=reason)
    return accepted
