"""Everything derived, computed a second time from stored facts and decisions, and held against what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands.planning import feedback, plan
from services.scoring.commands.rescoring import RESCORE
from services.scoring.model.cycles import Cycle
from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Segment
from services.scoring.model.templates import PartKind
from services.scoring.rules.rounding import exact_sum
from services.scoring.rules.scorecards import compose
from services.scoring.store import cycles, facts, recomputing
from services.scoring.store.documents import digest
from services.scoring.store.recomputing import DaySum
from shared.contracts.ids import ProviderId


class Comparison:
    """A table as it is shown and as it comes out again, hashed row by row."""

    def __init__(self) -> None:
        self._shown, self._again = sha256(), sha256()
        self.differences: list[str] = []

    @property
    def hashes(self) -> tuple[str, str]:
        return self._shown.hexdigest(), self._again.hexdigest()

    def add(self, key: str, shown: str | None, again: str | None) -> None:
        if shown is not None:
            self._shown.update(f"{key} {shown}\n".encode())
        if again is not None:
            self._again.update(f"{key} {again}\n".encode())
        if shown != again:
            self.differences.append(f"{key}: shown {shown}, recomputed {again}")


@dataclass(slots=True)
class Rebuilt:
    day_sums: Comparison = field(default_factory=Comparison)
    scorecards: Comparison = field(default_factory=Comparison)
    due: int = 0
    """People who are yet to be scored with what was stored lately: their scorecards were left out."""


async def compare(tx: AsyncConnection, provider: ProviderId, found: Rebuilt, *, after: str, limit: int) -> str | None:
    """Compare the next people behind `after`; the last of them, `None` when there is nobody left."""
    active = await cycles.hold_active(tx, provider)
    names = await recomputing.people(tx, provider, after=after, limit=limit)
    if not names:
        return None
    await facts.lock_heads(tx, provider, names)
    again = await recomputing.recomputed(tx, provider, names)
    _compare_sums(found.day_sums, await recomputing.kept(tx, provider, names), again)
    if active:
        waiting = await recomputing.waiting(tx, provider, names, kind=RESCORE)
        found.due += len(waiting)
        settled = [name for name in names if name not in waiting]
        await _compare_scorecards(tx, provider, found.scorecards, settled, active, again)
    return names[-1]


def _compare_sums(comparison: Comparison, kept: Sequence[DaySum], again: Sequence[DaySum]) -> None:
    shown, recomputed = (
        {f"{row.employee} {row.day} {row.metric}": f"{row.numerator}/{row.denominator} {row.events}" for row in rows}
        for rows in (kept, again)
    )
    for key in sorted(shown.keys() | recomputed.keys()):
        comparison.add(key, shown.get(key), recomputed.get(key))


async def _compare_scorecards(
    tx: AsyncConnection,
    provider: ProviderId,
    comparison: Comparison,
    names: Sequence[str],
    active: Sequence[Cycle],
    days: Sequence[DaySum],
) -> None:
    planned = await plan(tx, provider, names, active)
    said = await feedback(tx, provider, planned)
    of: dict[str, list[DaySum]] = {}
    for row in days:
        of.setdefault(row.employee, []).append(row)
    for each in planned:
        heard = said.get((each.cycle.cycle, each.employee), {})
        sums = [_within(of.get(each.employee, ()), segment, heard) for segment in each.segments]
        result = compose(each.segments, sums, each.placement, each.cycle.period)
        shown = None if each.latest is None else each.latest.digest.hex()
        comparison.add(f"{each.cycle.cycle} {each.employee}", shown, digest(result).hex())


def _within(rows: Sequence[DaySum], segment: Segment, said: Mapping[Source, Sums]) -> dict[Source, Sums]:
    by_metric: dict[str, list[DaySum]] = {}
    for row in rows:
        if segment.starts_on <= row.day <= segment.ends_on:
            by_metric.setdefault(row.metric, []).append(row)
    found: dict[Source, Sums] = dict(said)
    for metric, of_metric in by_metric.items():
        found[PartKind.METRIC, metric] = Sums(
            exact_sum(row.numerator for row in of_metric),
            exact_sum(row.denominator for row in of_metric),
            sum(row.events for row in of_metric),
            max(row.day for row in of_metric),
        )
    return found
