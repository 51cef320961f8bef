"""The metric dictionary: what is measured, and how it is read."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import By, Put, decide
from services.ingest.model import Metric
from services.ingest.store import metrics
from shared import audit
from shared.contracts.workforce import Aggregation, Direction, MetricDefined, MissingData
from shared.errors import RuleViolation
from shared.field_problems import FieldProblem
from shared.messaging import outbox
from shared.versions import Precondition


async def put_metric(tx: AsyncConnection, metric: Metric, if_match: Precondition, by: By) -> Put:
    kept = await metrics.add_or_lock(tx, by.provider, metric)
    put = decide(kept, metric, if_match)
    if kept is not None and put.changed:
        if kept.state.aggregation != metric.aggregation:
            problem = FieldProblem("/aggregation", "fixed", f"it is {kept.state.aggregation}; define another metric")
            detail = "what was measured in one way cannot be read in another"
            raise RuleViolation(detail, code="aggregation-fixed", problems=[problem])
        await metrics.change(tx, by.provider, metric, put.version)
    if put.changed:
        outbox.append(tx, [_defined(metric, put.version, by)])
        await audit.record(tx, by.actor, by.now, "metric.saved", f"metric/{metric.key}", version=put.version)
    return put


def _defined(metric: Metric, version: int, by: By) -> MetricDefined:
    return MetricDefined(
        provider=by.provider,
        metric=metric.key,
        version=version,
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
