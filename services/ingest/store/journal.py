"""The append-only journal of KPI events, and the refused bodies that claimed the id of one of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import JournalRow, Original
from services.ingest.tables import conflicts
from shared.contracts.event import person_key
from shared.contracts.ids import EmployeeId, KpiEventId, MetricKey, ProviderId, SourceId
from shared.contracts.topics import KPI_EVENTS
from shared.keyset import keyset
from shared.messaging import outbox
from shared.statements import Statement, column

# Shared by everything that announces KPI events or feedback of a provider, taken alone by the seal. Outbox rows are
# written at the end of a transaction, under this lock: whoever holds it alone knows that all that was acknowledged
# before has smaller outbox ids, and that whatever comes later gets greater ones than its own.
_INTAKE = "hashtextextended('intake of ' || :provider, 0)"
JOIN_INTAKE = f"pg_advisory_xact_lock_shared({_INTAKE})"
_JOIN_INTAKE = Statement(f"SELECT {JOIN_INTAKE}")
_CLOSE_INTAKE = text(f"SELECT pg_advisory_xact_lock({_INTAKE})")


async def join_intake(tx: AsyncConnection, provider: ProviderId) -> None:
    """Take part in the provider's intake until the transaction ends; before anything is read that a seal changes."""
    await _JOIN_INTAKE.rows(tx, provider=provider)


async def close_intake(tx: AsyncConnection, provider: ProviderId) -> None:
    """Wait for everybody who takes part in the intake, and keep others waiting until the transaction ends."""
    await tx.execute(_CLOSE_INTAKE, {"provider": provider})


_APPEND = Statement("""
    WITH event AS (
        SELECT * FROM unnest(string_to_array(:ids, E'\\x1f'), string_to_array(:kinds, E'\\x1f'),
                string_to_array(:roots, E'\\x1f', ''), string_to_array(:revisions, E'\\x1f'),
                string_to_array(:agents, E'\\x1f', ''), string_to_array(:employees, E'\\x1f'),
                string_to_array(:metrics, E'\\x1f'), string_to_array(:ats, E'\\x1f'),
                string_to_array(:days, E'\\x1f'), string_to_array(:numerators, E'\\x1f', ''),
                string_to_array(:denominators, E'\\x1f', ''), string_to_array(:hashes, E'\\x1f'))
         AS event (id, kind, root, revision, agent, employee, metric, at, day, numerator, denominator, hash)
    ), written AS (
        INSERT INTO kpi_events (provider_id, event_id, kind, root_id, revision, agent, employee_id, metric, occurred_at,
                                occurred_on, numerator, denominator, body_hash, recorded_at, trace_id)
        SELECT :provider, event.id, kind, root, CAST(revision AS integer), agent, employee, metric,
               CAST(at AS timestamptz), CAST(day AS date), CAST(numerator AS numeric), CAST(denominator AS numeric),
               decode(hash, 'hex'), :now, :trace_id
        FROM event
        ON CONFLICT DO NOTHING
        RETURNING event_id
    )
    SELECT id FROM event EXCEPT SELECT event_id FROM written
""")
_DIGESTS = Statement("""
    SELECT event_id, body_hash FROM kpi_events
    WHERE provider_id = :provider AND event_id = ANY(CAST(:ids AS text[]))
""")


async def append(
    tx: AsyncConnection, provider: ProviderId, rows: Collection[JournalRow], now: datetime, trace_id: str | None
) -> set[KpiEventId]:
    """Write the rows whose id is free; which ids were not."""
    if not rows:
        return set()
    # Sorted by id, so that two requests with the same events wait for one another instead of forever.
    by_field = dict(zip(JournalRow._fields, zip(*sorted(rows), strict=True), strict=True))
    values = {
        "ids": column(by_field["id"]),
        "kinds": column(by_field["kind"]),
        "roots": column(root or "" for root in by_field["root"]),
        "revisions": column(map(str, by_field["revision"])),
        "agents": column(agent or "" for agent in by_field["agent"]),
        "employees": column(by_field["employee"]),
        "metrics": column(by_field["metric"]),
        "ats": column(map(datetime.isoformat, by_field["occurred_at"])),
        "days": column(map(date.isoformat, by_field["occurred_on"])),
        "numerators": column("" if number is None else str(number) for number in by_field["numerator"]),
        "denominators": column("" if number is None else str(number) for number in by_field["denominator"]),
        "hashes": column(map(bytes.hex, by_field["digest"])),
    }
    taken = await _APPEND.rows(tx, provider=provider, now=now, trace_id=trace_id, **values)
    return {KpiEventId(row["id"]) for row in taken}


async def digests(tx: AsyncConnection, provider: ProviderId, ids: Collection[KpiEventId]) -> dict[KpiEventId, bytes]:
    """Of those ids that are taken."""
    if not ids:
        return {}
    rows = await _DIGESTS.rows(tx, provider=provider, ids=list(ids))
    return {KpiEventId(event): bytes(found) for event, found in rows}


_LOCK_ORIGINALS = text("""
    SELECT event_id FROM kpi_events
    WHERE provider_id = :provider AND event_id = ANY(CAST(:ids AS text[]))
    ORDER BY event_id FOR UPDATE
""")
# A statement of its own: revisions that were committed while the lock was waited for are seen only by a later one.
_ORIGINALS = text("""
    SELECT event_id, kind, agent, employee_id, metric, occurred_at, occurred_on,
           coalesce((SELECT max(revision) FROM kpi_events AS later
                     WHERE later.provider_id = :provider AND later.root_id = original.event_id), 0) AS revisions
    FROM kpi_events AS original
    WHERE provider_id = :provider AND event_id = ANY(CAST(:ids AS text[]))
""")


async def lock_originals(
    tx: AsyncConnection, provider: ProviderId, ids: Collection[KpiEventId]
) -> dict[KpiEventId, Original]:
    """The named events as they are; nobody else amends them until the transaction ends."""
    values = {"provider": provider, "ids": sorted(ids)}
    await tx.execute(_LOCK_ORIGINALS, values)
    return {KpiEventId(row.event_id): Original(*row) for row in await tx.execute(_ORIGINALS, values)}


class Refused(NamedTuple):
    """A body under an id that another body has."""

    id: KpiEventId
    recorded: bytes
    refused: bytes
    body: str


_KEEP = text("""
    INSERT INTO conflicts (provider_id, source_id, event_id, recorded_hash, refused_hash, refused_body, received_at,
                           trace_id)
    SELECT :provider, :source, id, recorded, refused, body, :now, :trace_id
    FROM unnest(CAST(:ids AS text[]), CAST(:recorded AS bytea[]), CAST(:refused AS bytea[]), CAST(:bodies AS text[]))
         AS item (id, recorded, refused, body)
    ON CONFLICT (provider_id, event_id, refused_hash) DO NOTHING
""")


async def keep_conflicts(
    tx: AsyncConnection,
    provider: ProviderId,
    source: SourceId,
    refused: Sequence[Refused],
    now: datetime,
    trace_id: str | None,
) -> None:
    """Once per body, however often it is sent again."""
    values = {
        "provider": provider,
        "source": source,
        "now": now,
        "trace_id": trace_id,
        "ids": [item.id for item in refused],
        "recorded": [item.recorded for item in refused],
        "refused": [item.refused for item in refused],
        "bodies": [item.body for item in refused],
    }
    await tx.execute(_KEEP, values)


class ConflictRow(NamedTuple):
    sequence: int
    source: SourceId
    event: KpiEventId
    recorded: bytes
    refused: bytes
    body: str
    received_at: datetime
    trace_id: str | None


async def conflicts_page(
    tx: AsyncConnection, source: SourceId | None, after: tuple[object, ...] | None, fetch: int
) -> list[ConflictRow]:
    columns = [column for column in conflicts.c if column.name != "provider_id"]
    chosen = select(*columns)
    if source is not None:
        chosen = chosen.where(conflicts.c.source_id == source)
    return [ConflictRow(*row) for row in await tx.execute(keyset(chosen, (conflicts.c.sequence,), after, fetch))]


class StoryRow(NamedTuple):
    """A line of the journal, as it is read back."""

    id: KpiEventId
    kind: Literal["observation", "correction", "void"]
    revision: int
    agent: str | None
    employee: EmployeeId
    metric: MetricKey
    occurred_at: datetime
    occurred_on: date
    numerator: Decimal | None
    denominator: Decimal | None
    recorded_at: datetime
    trace_id: str | None


_STORY = text("""
    WITH named AS (
        SELECT coalesce(root_id, event_id) AS root FROM kpi_events WHERE provider_id = :provider AND event_id = :event
    )
    SELECT event_id, kind, revision, agent, employee_id, metric, occurred_at, occurred_on, numerator, denominator,
           recorded_at, trace_id
    FROM kpi_events, named
    WHERE provider_id = :provider AND (event_id = root OR root_id = root)
    ORDER BY revision
""")


async def story(tx: AsyncConnection, provider: ProviderId, event: KpiEventId) -> list[StoryRow]:
    """The original behind any id of its story, then its revisions in their order; nothing for an unknown id."""
    return [StoryRow(*row) for row in await tx.execute(_STORY, {"provider": provider, "event": event})]


async def waiting(
    tx: AsyncConnection, provider: ProviderId, employee: EmployeeId, ids: Collection[KpiEventId]
) -> set[KpiEventId]:
    """Which of one person's events have not left for Kafka."""
    bodies = await outbox.waiting(tx, provider, KPI_EVENTS.name, person_key(provider, employee))
    return {KpiEventId(json.loads(body)["event"]) for body in bodies} & set(ids)
