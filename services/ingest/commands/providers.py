"""Providers, their clients and their metrics."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import CREATED, By, Put, decide
from services.ingest.model import Client, Metric, Provider
from services.ingest.store import metrics, providers
from shared import audit
from shared.contracts.workforce import Aggregation, Direction, MetricDefined, MissingData
from shared.errors import Conflict, FieldProblem, RuleViolation
from shared.messaging import outbox
from shared.web import Precondition


async def add_provider(tx: AsyncConnection, provider: Provider, by: By) -> tuple[Provider, bool]:
    """The provider and whether it is new."""
    kept = await providers.add_or_read_provider(tx, provider)
    if kept is None:
        await audit.record(tx, by.actor, by.now, "provider.created", f"provider/{provider.id}")
        return provider, True
    if kept.name != provider.name:
        raise Conflict("a provider of this id exists under another name", code="provider-exists")
    return kept, False


async def put_client(tx: AsyncConnection, client: Client, if_match: Precondition, by: By) -> Put:
    if not await providers.provider_exists(tx, by.provider):
        raise Conflict("an operator has to create the provider first", code="unknown-provider")
    kept = await providers.add_or_lock_client(tx, by.provider, client)
    put = CREATED if kept is None else decide(kept, client, if_match)
    if kept is not None and put.changed:
        dropped = set(kept.state.lines_of_business) - set(client.lines_of_business)
        used = await providers.lines_in_use(tx, by.provider, client.id, dropped)
        if used:
            problem = FieldProblem("/lines_of_business", "in-use", f"still named elsewhere: {', '.join(used)}")
            raise RuleViolation("people or sources work there", code="line-of-business-in-use", problems=[problem])
        await providers.change_client(tx, by.provider, client, put.version)
    if put.changed:
        await audit.record(tx, by.actor, by.now, "client.saved", f"client/{client.id}", version=put.version)
    return put


async def put_metric(tx: AsyncConnection, metric: Metric, if_match: Precondition, by: By) -> Put:
    kept = await metrics.add_or_lock(tx, by.provider, metric)
    put = CREATED if kept is None else decide(kept, metric, if_match)
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
