"""A person's scorecards, computed anew and kept when they say something new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands import announcing
from services.scoring.commands.planning import Planned, feedback, plan
from services.scoring.model.cycles import Cycle, CycleState
from services.scoring.model.scorecards import Scorecard, ScorecardVersion, Status
from services.scoring.rules.scorecards import compose
from services.scoring.store import facts, scorecards
from services.scoring.store.documents import digest
from shared.contracts.ids import ProviderId
from shared.messaging import outbox

RESCORE = "rescore"
"""Timer per person, keyed by employee."""


async def rescore(
    tx: AsyncConnection, provider: ProviderId, watermarks: Mapping[str, int], cycles: Sequence[Cycle], now: datetime
) -> None:
    """Score people, given with their watermarks, in these cycles, whose state the caller holds.

    What is read here must be all there is up to the watermarks: the transaction is a snapshot, or holds the people.
    """
    if not watermarks or not cycles:
        return
    planned = await plan(tx, provider, sorted(watermarks), cycles)
    observed = iter(
        await facts.segment_sums(tx, provider, [(each.employee, piece) for each in planned for piece in each.segments])
    )
    said = await feedback(tx, provider, planned)
    changed = []
    for each in planned:
        sums = [next(observed) | said.get((each.cycle.cycle, each.employee), {}) for _ in each.segments]
        result = compose(each.segments, sums, each.placement, each.cycle.period)
        if each.latest is None or each.latest.digest != digest(result):
            changed.append(_next_version(each, result, watermarks[each.employee], now))
    if changed:
        await scorecards.save(tx, provider, changed)
    outbox.append(tx, [announcing.scorecard_computed(provider, card) for card in changed])
    outbox.append(tx, [announcing.late_notice(provider, card, now) for card in changed if card.status is Status.LATE])


def _next_version(planned: Planned, result: Scorecard, watermark: int, now: datetime) -> ScorecardVersion:
    return ScorecardVersion(
        cycle=planned.cycle.cycle,
        employee=planned.employee,
        version=planned.latest.version + 1 if planned.latest else 1,
        status=Status.LATE if planned.cycle.state is CycleState.FROZEN else Status.CURRENT,
        watermark=watermark,
        as_of=now,
        result=result,
    )
