"""Templates, their versions, and the metrics they may weigh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.templates import (
    Aggregation,
    MetricRule,
    MissingData,
    Selector,
    Template,
    TemplateDraft,
    TemplateHead,
    TemplateVersion,
    VersionState,
)
from services.scoring.store.documents import GATES, METRICS, PARTS
from shared.contracts.ids import ProviderId

_INSERT = text("""
    INSERT INTO templates (provider_id, template, name, role, client, line_of_business)
    VALUES (:provider, :template, :name, :role, :client, :line_of_business)
    ON CONFLICT DO NOTHING RETURNING template
""")
_HEADS = text("""
    SELECT head.template, head.name, head.role, head.client, head.line_of_business, count(each.version) AS versions,
           coalesce(array_agg(each.version ORDER BY each.version) FILTER (WHERE each.state = 'published'), '{}')
               AS published
    FROM templates AS head LEFT JOIN template_versions AS each USING (provider_id, template)
    WHERE head.provider_id = :provider AND head.template > :after
      AND head.template = coalesce(CAST(:template AS text), head.template)
    GROUP BY head.provider_id, head.template ORDER BY head.template LIMIT :limit
""")
_LOCK = text("SELECT template FROM templates WHERE provider_id = :provider AND template = :template FOR UPDATE")
_ADD_VERSION = text("""
    INSERT INTO template_versions (provider_id, template, version, state, effective_from, coverage_minimum,
                                   weight_maximum, parts, gates, metrics)
    SELECT :provider, :template, coalesce(max(version), 0) + 1, 'draft', :effective_from, :coverage_minimum,
           :weight_maximum, CAST(CAST(:parts AS text) AS jsonb), CAST(CAST(:gates AS text) AS jsonb), '{}'
    FROM template_versions WHERE provider_id = :provider AND template = :template
    RETURNING version
""")
_VERSIONS = text("""
    SELECT template, version, state, effective_from, coverage_minimum, weight_maximum, CAST(parts AS text) AS parts,
           CAST(gates AS text) AS gates, CAST(metrics AS text) AS metrics, published_at, published_by
    FROM template_versions
    WHERE provider_id = :provider AND template = :template AND version > :after
      AND version = coalesce(CAST(:version AS integer), version)
    ORDER BY version LIMIT :limit
""")
_PUBLISH = text("""
    UPDATE template_versions
    SET state = 'published', metrics = CAST(CAST(:metrics AS text) AS jsonb), published_at = :now, published_by = :by
    WHERE provider_id = :provider AND template = :template AND version = :version
""")
_PUBLISHED = text("""
    SELECT head.role, head.client, head.line_of_business, each.template, each.version, each.effective_from,
           each.coverage_minimum, each.weight_maximum, CAST(each.parts AS text) AS parts,
           CAST(each.gates AS text) AS gates, CAST(each.metrics AS text) AS metrics
    FROM template_versions AS each JOIN templates AS head USING (provider_id, template)
    WHERE each.provider_id = :provider AND each.state = 'published' AND each.effective_from <= :until
    ORDER BY each.template, each.version
""")
_LEARN_METRICS = text("""
    INSERT INTO metrics AS known (provider_id, metric, version, higher_is_better, aggregation, missing_data,
                                  minimum_volume, developmental_only)
    SELECT :provider, row.*
    FROM unnest(CAST(:metrics AS text[]), CAST(:versions AS integer[]), CAST(:higher AS boolean[]),
                CAST(:aggregations AS text[]), CAST(:missing AS text[]), CAST(:minimums AS numeric[]),
                CAST(:developmental AS boolean[])) AS row (metric)
    ORDER BY row.metric
    ON CONFLICT (provider_id, metric) DO UPDATE
    SET version = excluded.version, higher_is_better = excluded.higher_is_better, aggregation = excluded.aggregation,
        missing_data = excluded.missing_data, minimum_volume = excluded.minimum_volume,
        developmental_only = excluded.developmental_only
    WHERE known.version < excluded.version
""")
_METRICS = text("""
    SELECT metric, higher_is_better, aggregation, missing_data, minimum_volume, developmental_only
    FROM metrics WHERE provider_id = :provider AND metric = ANY(CAST(:metrics AS text[]))
""")


async def insert(tx: AsyncConnection, provider: ProviderId, template: str, name: str, selector: Selector) -> bool:
    """`False` when its id or its selector is taken."""
    values = {
        "provider": provider,
        "template": template,
        "name": name,
        "role": selector.role,
        "client": selector.client,
        "line_of_business": selector.line_of_business,
    }
    return (await tx.execute(_INSERT, values)).scalar_one_or_none() is not None


async def heads(
    tx: AsyncConnection, provider: ProviderId, *, template: str | None = None, after: str = "", limit: int = 1
) -> list[TemplateHead]:
    values = {"provider": provider, "template": template, "after": after, "limit": limit}
    return [
        TemplateHead(
            row.template,
            row.name,
            Selector(row.role, row.client, row.line_of_business),
            row.versions,
            tuple(row.published),
        )
        for row in await tx.execute(_HEADS, values)
    ]


async def lock(tx: AsyncConnection, provider: ProviderId, template: str) -> bool:
    """Whether it exists; nobody adds or publishes a version of it until the transaction ends."""
    found = await tx.execute(_LOCK, {"provider": provider, "template": template})
    return found.scalar_one_or_none() is not None


async def add_version(tx: AsyncConnection, provider: ProviderId, content: TemplateVersion) -> int:
    values = {
        "provider": provider,
        "template": content.template,
        "effective_from": content.effective_from,
        "coverage_minimum": content.coverage_minimum,
        "weight_maximum": content.weight_maximum,
        "parts": PARTS.dump_json(content.parts).decode(),
        "gates": GATES.dump_json(content.gates).decode(),
    }
    return int((await tx.execute(_ADD_VERSION, values)).scalar_one())


async def versions(
    tx: AsyncConnection,
    provider: ProviderId,
    template: str,
    *,
    version: int | None = None,
    after: int = 0,
    limit: int = 1,
) -> list[TemplateDraft]:
    values = {"provider": provider, "template": template, "version": version, "after": after, "limit": limit}
    return [
        TemplateDraft(_content(row), VersionState(row.state), row.published_at, row.published_by)
        for row in await tx.execute(_VERSIONS, values)
    ]


async def publish(
    tx: AsyncConnection,
    provider: ProviderId,
    content: TemplateVersion,
    metrics: Mapping[str, MetricRule],
    *,
    by: str,
    now: datetime,
) -> None:
    values = {
        "provider": provider,
        "template": content.template,
        "version": content.version,
        "metrics": METRICS.dump_json(metrics).decode(),
        "by": by,
        "now": now,
    }
    await tx.execute(_PUBLISH, values)


async def published(tx: AsyncConnection, provider: ProviderId, until: date) -> list[Template]:
    """Every template with those of its published versions that begin by `until`."""
    found: dict[str, list[TemplateVersion]] = defaultdict(list)
    selectors: dict[str, Selector] = {}
    for row in await tx.execute(_PUBLISHED, {"provider": provider, "until": until}):
        selectors[row.template] = Selector(row.role, row.client, row.line_of_business)
        found[row.template].append(_content(row))
    return [Template(selectors[name], tuple(each)) for name, each in found.items()]


async def learn_metrics(
    tx: AsyncConnection,
    provider: ProviderId,
    metrics: Mapping[str, tuple[int, MetricRule, bool]],
) -> None:
    """Keep each definition (version, rule, developmental only) that is newer than the one known."""
    names = sorted(metrics)
    rules = [metrics[name][1] for name in names]
    values = {
        "provider": provider,
        "metrics": names,
        "versions": [metrics[name][0] for name in names],
        "higher": [rule.higher_is_better for rule in rules],
        "aggregations": [rule.aggregation.value for rule in rules],
        "missing": [rule.missing_data.value for rule in rules],
        "minimums": [rule.minimum_volume for rule in rules],
        "developmental": [metrics[name][2] for name in names],
    }
    await tx.execute(_LEARN_METRICS, values)


async def metrics(
    tx: AsyncConnection, provider: ProviderId, names: Sequence[str]
) -> tuple[dict[str, MetricRule], frozenset[str]]:
    """The rules of those that are defined, and which of them are developmental."""
    rows = (await tx.execute(_METRICS, {"provider": provider, "metrics": sorted(names)})).all()
    rules = {
        row.metric: MetricRule(
            row.higher_is_better, Aggregation(row.aggregation), MissingData(row.missing_data), row.minimum_volume
        )
        for row in rows
    }
    return rules, frozenset(row.metric for row in rows if row.developmental_only)


def _content(row: Row[tuple[object, ...]]) -> TemplateVersion:
    return TemplateVersion(
        template=row.template,
        version=row.version,
        effective_from=row.effective_from,
        coverage_minimum=row.coverage_minimum,
        weight_maximum=row.weight_maximum,
        parts=PARTS.validate_json(row.parts),
        gates=GATES.validate_json(row.gates),
        metrics=METRICS.validate_json(row.metrics),
    )
