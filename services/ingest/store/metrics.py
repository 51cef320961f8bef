from __future__ import annotations

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Kept, Metric
from services.ingest.tables import metrics
from shared.contracts.ids import MetricKey, ProviderId
from shared.keyset import keyset

_DESCRIBED = [column for column in metrics.c if column.name not in ("provider_id", "metric", "version")]


def _metric(row: Row[tuple[object, ...]]) -> Kept[Metric]:
    return Kept(Metric(MetricKey(row.metric), *(getattr(row, column.name) for column in _DESCRIBED)), row.version)


def _columns(metric: Metric) -> dict[str, object]:
    return {column.name: getattr(metric, column.name) for column in _DESCRIBED}


async def add_or_lock(tx: AsyncConnection, provider: ProviderId, metric: Metric) -> Kept[Metric] | None:
    """The metric as it is, locked until the transaction ends, or `None` when it was added."""
    values = {"provider_id": provider, "metric": metric.key, **_columns(metric)}
    added = insert(metrics).values(values).on_conflict_do_nothing().returning(metrics.c.metric)
    if (await tx.execute(added)).one_or_none() is not None:
        return None
    mine = select(metrics).where(metrics.c.provider_id == provider, metrics.c.metric == metric.key)
    return _metric((await tx.execute(mine.with_for_update())).one())


async def change(tx: AsyncConnection, provider: ProviderId, metric: Metric, version: int) -> None:
    mine = (metrics.c.provider_id == provider) & (metrics.c.metric == metric.key)
    await tx.execute(update(metrics).where(mine).values(_columns(metric) | {"version": version}))


async def one(tx: AsyncConnection, key: MetricKey) -> Kept[Metric] | None:
    row = (await tx.execute(select(metrics).where(metrics.c.metric == key))).one_or_none()
    return None if row is None else _metric(row)


async def page(tx: AsyncConnection, after: tuple[object, ...] | None, fetch: int) -> list[Kept[Metric]]:
    return [_metric(row) for row in await tx.execute(keyset(select(metrics), (metrics.c.metric,), after, fetch))]
