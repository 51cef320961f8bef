"""Which scorecards people have, cut into segments, and what was said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.cycles import Cycle
from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Placement, Segment
from services.scoring.model.templates import PartKind
from services.scoring.rules import segments as segmenting
from services.scoring.rules.templates import TemplateBook
from services.scoring.store import ratings, scorecards, templates, workforce
from services.scoring.store.scorecards import Latest
from shared.contracts.ids import ProviderId


@dataclass(frozen=True, slots=True)
class Planned:
    """A scorecard to compute; `latest` is the version there is."""

    cycle: Cycle
    employee: str
    segments: tuple[Segment, ...]
    placement: Placement
    latest: Latest | None


async def plan(
    tx: AsyncConnection, provider: ProviderId, employees: Sequence[str], cycles: Sequence[Cycle]
) -> list[Planned]:
    """The scorecards of these people in these cycles; nobody else adds a version to those that exist until the
    transaction ends, so that for one scorecard the order of outbox ids is that of its versions.

    Whoever has no assignment in a cycle is scored there only if they once had one: unrated, at their last place.
    """
    people = await workforce.people(tx, provider, employees)
    until = max(cycle.period.ends_on for cycle in cycles)
    book = TemplateBook(await templates.published(tx, provider, until))
    latest = await scorecards.lock_latest(tx, provider, [cycle.cycle for cycle in cycles], employees)
    planned = []
    for cycle in cycles:
        for name in sorted(people):
            before = latest.get((cycle.cycle, name))
            pieces = segmenting.cut(people[name], cycle.period, book)
            if pieces or before:
                place = segmenting.placement(people[name].assignments, cycle.period)
                planned.append(Planned(cycle, name, pieces, place, before))
    return planned


async def feedback(
    tx: AsyncConnection, provider: ProviderId, planned: Sequence[Planned]
) -> Mapping[tuple[str, str], dict[Source, Sums]]:
    """By cycle and employee, what was said of people, where any of their templates weighs it."""
    versions = {id(segment.version): segment.version for each in planned for segment in each.segments}
    parts = [part for version in versions.values() if version for part in version.parts]
    if not any(part.kind is PartKind.FEEDBACK for part in parts):
        return {}
    cycles = {each.cycle.cycle for each in planned}
    return await ratings.sums(tx, provider, sorted(cycles), sorted({each.employee for each in planned}))
