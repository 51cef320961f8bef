"""Everything a request's events are judged by, in one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import AgentMapping, Roster, Workplace
from services.ingest.store.journal import JOIN_INTAKE
from shared.contracts.ids import EmployeeId, MetricKey, ProviderId, SourceId
from shared.statements import Statement, column

# No seal changes what is read here: it may be read as of before the lock was granted. Plans are kept for it, and made
# for empty tables any index looks as good as the key. So no table is joined, which could read another one whole for
# each row, and each is asked for in the order of its key, which no other index has.
_ROSTER = Statement(f"""
    WITH mapping AS MATERIALIZED (
        SELECT agent, employee_id, valid_from, valid_to FROM source_agents
        WHERE provider_id = :provider AND source_id = :source AND agent = ANY(string_to_array(:agents, E'\\x1f'))
        ORDER BY agent, valid_from
    )
    SELECT 'joined', CAST({JOIN_INTAKE} AS text),
           NULL, CAST(NULL AS date), CAST(NULL AS date), NULL, NULL, CAST(NULL AS text[])
    UNION ALL (
        SELECT 'source', client_id, NULL, NULL, NULL, NULL, NULL, lines_of_business FROM sources
        WHERE provider_id = :provider AND source_id = ANY(ARRAY[:source]) ORDER BY source_id
    ) UNION ALL (
        SELECT 'metric', metric, aggregation, NULL, NULL, NULL, NULL, NULL FROM metrics
        WHERE provider_id = :provider AND metric = ANY(string_to_array(:metrics, E'\\x1f')) ORDER BY metric
    )
    UNION ALL SELECT 'mapping', agent, employee_id, valid_from, valid_to, NULL, NULL, NULL FROM mapping
    UNION ALL (
        SELECT 'place', employee_id, time_zone, valid_from, valid_to, client_id, line_of_business, NULL
        FROM assignments
        WHERE provider_id = :provider AND employee_id = ANY(
            ARRAY(SELECT employee_id FROM mapping) || string_to_array(:people, E'\\x1f'))
        ORDER BY employee_id, valid_from
    )
""")  # noqa: S608 - the interpolated text is a constant


async def join_and_read(
    tx: AsyncConnection,
    provider: ProviderId,
    source: SourceId,
    *,
    agents: Collection[str],
    people: Collection[EmployeeId],
    metrics: Collection[MetricKey],
) -> Roster | None:
    """Take part in the provider's intake until the transaction ends, and what is known of whom and what is named,
    with everybody the agents stand for; `None` without such a source."""
    named = {"agents": column(agents), "people": column(people), "metrics": column(metrics)}
    rows = await _ROSTER.rows(tx, provider=provider, source=source, **named)
    roster: Roster | None = None
    mappings: dict[str, list[AgentMapping]] = defaultdict(list)
    workplaces: dict[EmployeeId, list[Workplace]] = defaultdict(list)
    aggregations: dict[MetricKey, str] = {}
    for kind, key, second, start, end, client, line, lines in rows:
        if kind == "mapping":
            mappings[key].append(AgentMapping(key, second, start, end))
        elif kind == "place":
            workplaces[key].append(Workplace(start, end, ZoneInfo(second), client, line))
        elif kind == "metric":
            aggregations[key] = second
        elif kind == "source":
            roster = Roster(key, frozenset(lines), mappings, workplaces, aggregations)
    return roster
