"""From a scorecard version to every event that counted in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal, Self

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.api.access import SEES_RATERS, ScorecardReader, find_cycle, require_sight
from services.scoring.api.scorecards import CycleKey, Employee, VersionNumber
from services.scoring.model.facts import Leaf
from services.scoring.model.scorecards import ScorecardVersion
from services.scoring.model.templates import PartKind
from services.scoring.store import lineage as store
from services.scoring.store import scorecards, templates
from services.scoring.store.lineage import Behind, Wanted
from shared.auth import Principal
from shared.contracts.ids import IDENTIFIER, MetricKey
from shared.errors import NotFound
from shared.web import App, Paging, Router, Written

router = Router(prefix="/cycles/{cycle}/scorecards", tags=["scorecards"])


class BranchOut(BaseModel):
    """What one part used in one segment, or one gate in all; the leaves of its source add up to it."""

    part: str | None
    kind: Literal["metric", "feedback", "gate"]
    source: str
    starts_on: date
    ends_on: date
    numerator: Written
    denominator: Written
    events: int


class LeafOut(BaseModel):
    kind: PartKind
    source: str
    starts_on: date | None
    event: str
    effective_event: str
    revision: int
    occurred_on: date
    numerator: Written
    denominator: Written

    @classmethod
    def of(cls, leaf: Leaf) -> Self:
        return cls.model_validate(leaf, from_attributes=True)


class LineageOut(BaseModel):
    cycle: str
    employee: str
    version: int
    watermark: int
    parts: list[BranchOut]
    items: list[LeafOut]
    next: str | None


@router.get("/{employee}/lineage", response_model=LineageOut)
async def get_lineage(
    cycle: CycleKey,
    employee: Employee,
    who: ScorecardReader,
    app: App,
    paging: Paging,
    version: VersionNumber = None,
    metric: Annotated[MetricKey, IDENTIFIER] | None = None,
) -> LineageOut | Response:
    async with app.database.begin(who.tenant) as tx:
        await require_sight(tx, who, await find_cycle(tx, who, cycle), employee, app.clock())
        card = await scorecards.get(tx, who.tenant, cycle, employee, version)
        if card is None:
            raise NotFound("there is no such scorecard")
        wanted = [each for each in await _wanted(tx, who, card) if metric in (None, each.metric)]
        categories = _categories(card) if metric is None and who.has(*SEES_RATERS) else []
        leaves = await store.leaves(
            tx, who.tenant, card, wanted, categories, after=paging.after(Behind), limit=paging.fetch
        )
    page = paging.page(
        LeafOut,
        [LeafOut.of(leaf) for leaf in leaves],
        key=lambda leaf: (leaf.occurred_on, leaf.kind, leaf.source, leaf.event),
    )
    if isinstance(page, Response):
        return page
    return LineageOut(
        cycle=cycle,
        employee=employee,
        version=card.version,
        watermark=card.watermark,
        parts=[branch for branch in _branches(card) if metric in (None, branch.source)],
        items=page.items,
        next=page.next,
    )


async def _wanted(tx: AsyncConnection, who: Principal, card: ScorecardVersion) -> list[Wanted]:
    """The metrics of each segment: those of its parts, and those of the gates its version has."""
    gates: dict[tuple[str, int], list[str]] = {}
    wanted: set[tuple[str, date, date]] = set()
    for segment in card.result.segments:
        if segment.template is None or segment.template_version is None:
            continue
        key = (segment.template, segment.template_version)
        if key not in gates:
            found = await templates.versions(tx, who.tenant, segment.template, version=segment.template_version)
            gates[key] = [gate.metric for each in found for gate in each.content.gates]
        metrics = [part.source for part in segment.parts if part.kind is PartKind.METRIC]
        wanted |= {(metric, segment.starts_on, segment.ends_on) for metric in (*metrics, *gates[key])}
    return [Wanted(*each) for each in sorted(wanted)]


def _categories(card: ScorecardVersion) -> list[str]:
    parts = (part for segment in card.result.segments for part in segment.parts)
    return sorted({part.source for part in parts if part.kind is PartKind.FEEDBACK})


def _branches(card: ScorecardVersion) -> Iterator[BranchOut]:
    segments = card.result.segments
    for segment in segments:
        for part in segment.parts:
            yield BranchOut(
                part=part.part,
                kind=part.kind.value,
                source=part.source,
                starts_on=segment.starts_on,
                ends_on=segment.ends_on,
                numerator=part.numerator,
                denominator=part.denominator,
                events=part.events,
            )
    for gate in card.result.gates:
        yield BranchOut(
            part=None,
            kind="gate",
            source=gate.metric,
            starts_on=segments[0].starts_on,
            ends_on=segments[-1].ends_on,
            numerator=gate.numerator,
            denominator=gate.denominator,
            events=gate.events,
        )
