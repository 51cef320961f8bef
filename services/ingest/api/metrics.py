"""The metric dictionary."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from fastapi import Response
from pydantic import BaseModel, Field

from services.ingest.api.shapes import Id, Text, answer_put, by
from services.ingest.commands import metrics as commands
from services.ingest.model import Kept, Metric
from services.ingest.store import metrics as store
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, MetricKey
from shared.contracts.workforce import Aggregation, Direction, MissingData
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, IfMatch, Page, Paging, Router, WithoutIdleZeros, requires

router = Router(prefix="/metrics", tags=["metrics"])
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR)]


class MetricIn(Body):
    """Who answers for a metric, where it comes from and how it is read: without these nobody can judge by it."""

    name: Text
    owner: Text
    source_system: Text
    unit: Text
    direction: Direction
    aggregation: Aggregation
    precision: Annotated[int, Field(ge=0, le=15)]
    missing_data: MissingData = MissingData.EXCLUDE_AND_REWEIGHT
    minimum_volume: Annotated[Decimal, Field(ge=0, max_digits=15), WithoutIdleZeros] = Decimal(0)
    developmental_only: bool = False

    def metric(self, key: MetricKey) -> Metric:
        return Metric(
            key,
            self.name,
            self.owner,
            self.source_system,
            self.unit,
            self.direction.value,
            self.aggregation.value,
            self.precision,
            self.missing_data.value,
            self.minimum_volume,
            self.developmental_only,
        )


class MetricOut(BaseModel):
    metric: str
    version: int
    name: str
    owner: str
    source_system: str
    unit: str
    direction: Direction
    aggregation: Aggregation
    precision: int
    missing_data: MissingData
    minimum_volume: Decimal
    developmental_only: bool

    @classmethod
    def of(cls, kept: Kept[Metric]) -> Self:
        metric = kept.state
        return cls(
            metric=metric.key,
            version=kept.version,
            name=metric.name,
            owner=metric.owner,
            source_system=metric.source_system,
            unit=metric.unit,
            direction=Direction(metric.direction),
            aggregation=Aggregation(metric.aggregation),
            precision=metric.precision,
            missing_data=MissingData(metric.missing_data),
            minimum_volume=metric.minimum_volume,
            developmental_only=metric.developmental_only,
        )


@router.put("/{metric}", response_model=MetricOut, responses={201: {"model": MetricOut}})
async def put_metric(
    metric: Annotated[MetricKey, IDENTIFIER],
    body: MetricIn,
    who: Editor,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> MetricOut:
    wanted = body.metric(metric)
    async with app.database.begin(who.tenant) as tx:
        put = await commands.put_metric(tx, wanted, if_match, by(who, app))
    return MetricOut.of(Kept(wanted, answer_put(response, put)))


@router.get("", response_model=Page[MetricOut])
async def list_metrics(who: Reader, app: App, paging: Paging) -> Page[MetricOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found = await store.page(tx, paging.after(tuple[Id]), paging.fetch)
    return paging.page(MetricOut, [MetricOut.of(kept) for kept in found], key=lambda one: (one.metric,))


@router.get("/{metric}")
async def get_metric(metric: Annotated[MetricKey, IDENTIFIER], who: Reader, app: App, response: Response) -> MetricOut:
    async with app.database.begin(who.tenant) as tx:
        kept = await store.one(tx, metric)
    if kept is None:
        raise NotFound("there is no metric of this key")
    response.headers["ETag"] = etag(kept.version)
    return MetricOut.of(kept)
