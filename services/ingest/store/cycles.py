"""Cycles as scoring announced them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Cycle
from shared.contracts.ids import CycleId, ProviderId

_KNOWN = text("""
    SELECT cycle_id, version, state, starts_on, ends_on, bands FROM cycles
    WHERE provider_id = :provider AND cycle_id = ANY(CAST(:ids AS text[]))
""")
# An older state that arrives again must not turn a newer one back.
_LEARN = text("""
    INSERT INTO cycles (provider_id, cycle_id, version, state, starts_on, ends_on, bands)
    SELECT :provider, * FROM unnest(CAST(:ids AS text[]), CAST(:versions AS integer[]), CAST(:states AS text[]),
                                    CAST(:starts AS date[]), CAST(:ends AS date[]), CAST(:bands AS integer[]))
    ON CONFLICT (provider_id, cycle_id) DO UPDATE
    SET version = excluded.version, state = excluded.state, starts_on = excluded.starts_on,
        ends_on = excluded.ends_on, bands = excluded.bands
    WHERE cycles.version < excluded.version
""")


async def known(tx: AsyncConnection, provider: ProviderId, ids: Collection[CycleId]) -> dict[CycleId, Cycle]:
    rows = await tx.execute(_KNOWN, {"provider": provider, "ids": sorted(ids)})
    return {CycleId(row.cycle_id): Cycle(*row) for row in rows}


async def learn(tx: AsyncConnection, provider: ProviderId, states: Sequence[Cycle]) -> None:
    """Keep newer states, one per cycle."""
    values = {
        "provider": provider,
        "ids": [cycle.id for cycle in states],
        "versions": [cycle.version for cycle in states],
        "states": [cycle.state for cycle in states],
        "starts": [cycle.starts_on for cycle in states],
        "ends": [cycle.ends_on for cycle in states],
        "bands": [cycle.bands for cycle in states],
    }
    await tx.execute(_LEARN, values)
