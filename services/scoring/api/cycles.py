"""Cycles: opened, frozen and closed by people, frozen in the end by the barrier."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from fastapi import Response
from pydantic import BaseModel, Field, StringConstraints

from services.scoring.api.access import CycleReader, Editor, find_cycle
from services.scoring.commands import cycles as commands
from services.scoring.commands.freezing import STREAMS
from services.scoring.model.cycles import BandCut, Cycle, CycleState, Period
from services.scoring.store import cycles as store
from shared.contracts.ids import IDENTIFIER, Band, CycleId
from shared.versions import etag
from shared.web import App, Body, Day, Once, Page, Paging, Router, WithoutIdleZeros

router = Router(prefix="/cycles", tags=["cycles"])

CycleKey = Annotated[CycleId, IDENTIFIER]


class BandIn(Body):
    band: Annotated[Band, IDENTIFIER]
    cut_score: Annotated[Decimal, Field(max_digits=30, decimal_places=12), WithoutIdleZeros]


class CycleIn(Body):
    cycle: CycleKey
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    starts_on: Day
    ends_on: Day
    bands: Annotated[list[BandIn], Field(max_length=50)]

    def period(self) -> Period:
        cuts = tuple(BandCut(each.band, each.cut_score) for each in self.bands)
        return Period(self.starts_on, self.ends_on, cuts)


class CycleOut(BaseModel):
    """`sealed` counts the partitions in which the marker of the freeze was read."""

    cycle: str
    version: int
    name: str
    state: CycleState
    starts_on: date
    ends_on: date
    bands: tuple[BandCut, ...]
    scorecards: int | None
    sealed: dict[str, int]

    @classmethod
    def of(cls, cycle: Cycle, seals: Mapping[tuple[str, str], tuple[int, int]]) -> Self:
        return cls(
            cycle=cycle.cycle,
            version=cycle.version,
            name=cycle.name,
            state=cycle.state,
            starts_on=cycle.period.starts_on,
            ends_on=cycle.period.ends_on,
            bands=cycle.period.bands,
            scorecards=cycle.scorecards,
            sealed={stream: seals.get((cycle.cycle, stream), (0, 0))[0] for stream in STREAMS},
        )


@router.post("", status_code=201)
async def post_cycle(body: CycleIn, who: Editor, app: App, response: Response) -> CycleOut:
    async with app.database.begin(who.tenant) as tx:
        cycle = await commands.open_cycle(tx, who, body.cycle, body.name, body.period(), app.clock())
    response.headers["ETag"] = etag(cycle.version)
    return CycleOut.of(cycle, {})


@router.get("", response_model=Page[CycleOut])
async def list_cycles(
    who: CycleReader, app: App, paging: Paging, state: CycleState | None = None
) -> Page[CycleOut] | Response:
    (after,) = paging.after(tuple[str]) or ("",)
    async with app.database.begin(who.tenant) as tx:
        found = await store.page(tx, who.tenant, state, after=after, limit=paging.fetch)
        seals = await store.seals(tx, who.tenant, [cycle.cycle for cycle in found])
    return paging.page(CycleOut, [CycleOut.of(cycle, seals) for cycle in found], key=lambda row: (row.cycle,))


@router.get("/{cycle}")
async def get_cycle(cycle: CycleKey, who: CycleReader, app: App, response: Response) -> CycleOut:
    async with app.database.begin(who.tenant) as tx:
        found = await find_cycle(tx, who, cycle)
        seals = await store.seals(tx, who.tenant, [cycle])
    response.headers["ETag"] = etag(found.version)
    return CycleOut.of(found, seals)


@router.post("/{cycle}/freeze", status_code=202, response_model=CycleOut)
async def freeze_cycle(cycle: CycleKey, who: Editor, app: App, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def freeze() -> CycleOut:
            return CycleOut.of(await commands.begin_freeze(tx, who, cycle, app.clock()), {})

        return await once(tx, who, freeze)


@router.post("/{cycle}/close", response_model=CycleOut)
async def close_cycle(cycle: CycleKey, who: Editor, app: App, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def close() -> CycleOut:
            closed = await commands.close(tx, who, cycle, app.clock())
            return CycleOut.of(closed, await store.seals(tx, who.tenant, [cycle]))

        return await once(tx, who, close)
