"""Cycles, and what keeps events, scores and freezes of them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.cycles import Cycle, CycleState, Period
from services.scoring.store.documents import BANDS
from shared.contracts.ids import ProviderId

# Taken shared by every batch that asks which cycles there are, exclusively by whoever adds one: a batch that did not
# see the new cycle has committed before the cycle's own round over all people begins.
_HOLD_CALENDAR = text("SELECT pg_advisory_xact_lock_shared(hashtextextended('scoring.calendar/' || :provider, 0))")
_CHANGE_CALENDAR = text("SELECT pg_advisory_xact_lock(hashtextextended('scoring.calendar/' || :provider, 0))")

_COLUMNS = """cycle, version, name, state, starts_on, ends_on, CAST(bands AS text) AS bands, scorecards, frozen_upto
    FROM cycles WHERE provider_id = :provider"""
_ACTIVE = text(f"SELECT {_COLUMNS} AND state <> 'closed' ORDER BY cycle")
_HOLD_ACTIVE = text(f"SELECT {_COLUMNS} AND state <> 'closed' ORDER BY cycle FOR SHARE")
_HOLD_ALL = text(f"SELECT {_COLUMNS} ORDER BY cycle FOR SHARE")
_HOLD = text(f"SELECT {_COLUMNS} AND cycle = :cycle FOR SHARE")
_LOCK = text(f"SELECT {_COLUMNS} AND cycle = :cycle FOR UPDATE")
_GET = text(f"SELECT {_COLUMNS} AND cycle = :cycle")
_PAGE = text(f"""
    SELECT {_COLUMNS} AND cycle > :after AND state = coalesce(CAST(:state AS text), state)
    ORDER BY cycle LIMIT :limit
""")
_INSERT = text("""
    INSERT INTO cycles (provider_id, cycle, version, name, state, starts_on, ends_on, bands)
    VALUES (:provider, :cycle, 1, :name, 'open', :starts_on, :ends_on, CAST(CAST(:bands AS text) AS jsonb))
    ON CONFLICT DO NOTHING RETURNING cycle
""")
_UPDATE = text("""
    UPDATE cycles SET version = :version, state = :state, scorecards = :scorecards, frozen_upto = :frozen_upto
    WHERE provider_id = :provider AND cycle = :cycle
""")
_SEAL = text("""
    INSERT INTO cycle_seals (provider_id, cycle, stream, partition, partitions, sealed_at)
    SELECT :provider, row.*
    FROM unnest(CAST(:cycles AS text[]), CAST(:streams AS text[]), CAST(:partitions AS integer[]),
                CAST(:counts AS integer[]), CAST(:sealed AS timestamptz[])) AS row
    ON CONFLICT DO NOTHING
""")
_SEALS = text("""
    SELECT cycle, stream, count(*) AS seen, max(partitions) AS of FROM cycle_seals
    WHERE provider_id = :provider AND cycle = ANY(CAST(:cycles AS text[])) GROUP BY cycle, stream
""")


@dataclass(frozen=True, slots=True)
class Seal:
    cycle: str
    stream: str
    partition: int
    partitions: int
    sealed_at: datetime


async def hold_calendar(tx: AsyncConnection, provider: ProviderId) -> list[Cycle]:
    """The cycles that can still get scorecards. None is added until the transaction ends."""
    await tx.execute(_HOLD_CALENDAR, {"provider": provider})
    return [_cycle(row) for row in await tx.execute(_ACTIVE, {"provider": provider})]


async def insert(tx: AsyncConnection, provider: ProviderId, cycle: Cycle) -> bool:
    """`False` when the id is taken. Waits for every batch that may not have seen it."""
    await tx.execute(_CHANGE_CALENDAR, {"provider": provider})
    values = {
        "provider": provider,
        "cycle": cycle.cycle,
        "name": cycle.name,
        "starts_on": cycle.period.starts_on,
        "ends_on": cycle.period.ends_on,
        "bands": BANDS.dump_json(cycle.period.bands).decode(),
    }
    return (await tx.execute(_INSERT, values)).scalar_one_or_none() is not None


async def hold_active(tx: AsyncConnection, provider: ProviderId) -> list[Cycle]:
    """The cycles that can still get scorecards; none changes its state until the transaction ends.

    Call it before locking people: a freeze holds its cycle while it locks them.
    """
    return [_cycle(row) for row in await tx.execute(_HOLD_ACTIVE, {"provider": provider})]


async def hold_all(tx: AsyncConnection, provider: ProviderId) -> list[Cycle]:
    """Every cycle there ever was; none is added and none changes its state until the transaction ends."""
    await tx.execute(_HOLD_CALENDAR, {"provider": provider})
    return [_cycle(row) for row in await tx.execute(_HOLD_ALL, {"provider": provider})]


async def hold(tx: AsyncConnection, provider: ProviderId, cycle: str) -> Cycle | None:
    return _first((await tx.execute(_HOLD, {"provider": provider, "cycle": cycle})).one_or_none())


async def lock(tx: AsyncConnection, provider: ProviderId, cycle: str) -> Cycle | None:
    return _first((await tx.execute(_LOCK, {"provider": provider, "cycle": cycle})).one_or_none())


async def get(tx: AsyncConnection, provider: ProviderId, cycle: str) -> Cycle | None:
    return _first((await tx.execute(_GET, {"provider": provider, "cycle": cycle})).one_or_none())


async def page(
    tx: AsyncConnection, provider: ProviderId, state: CycleState | None, *, after: str, limit: int
) -> list[Cycle]:
    values = {"provider": provider, "state": state and state.value, "after": after, "limit": limit}
    return [_cycle(row) for row in await tx.execute(_PAGE, values)]


async def update(tx: AsyncConnection, provider: ProviderId, cycle: Cycle) -> None:
    """Store what changes about a cycle: its state, version, count and how far its freeze came."""
    values = {
        "provider": provider,
        "cycle": cycle.cycle,
        "version": cycle.version,
        "state": cycle.state.value,
        "scorecards": cycle.scorecards,
        "frozen_upto": cycle.frozen_upto,
    }
    await tx.execute(_UPDATE, values)


async def seal(tx: AsyncConnection, provider: ProviderId, seals: Sequence[Seal]) -> None:
    """Note markers that were read; the same one again changes nothing."""
    await tx.execute(
        _SEAL,
        {
            "provider": provider,
            "cycles": [seal.cycle for seal in seals],
            "streams": [seal.stream for seal in seals],
            "partitions": [seal.partition for seal in seals],
            "counts": [seal.partitions for seal in seals],
            "sealed": [seal.sealed_at for seal in seals],
        },
    )


class Passed(NamedTuple):
    """How many partitions' markers of a stream were read, of how many."""

    seen: int
    of: int


async def seals(tx: AsyncConnection, provider: ProviderId, cycles: Sequence[str]) -> dict[tuple[str, str], Passed]:
    """By cycle and stream."""
    rows = await tx.execute(_SEALS, {"provider": provider, "cycles": list(cycles)})
    return {(row.cycle, row.stream): Passed(row.seen, row.of) for row in rows}


def _cycle(row: Row[tuple[object, ...]]) -> Cycle:
    return Cycle(
        cycle=row.cycle,
        version=row.version,
        name=row.name,
        state=CycleState(row.state),
        period=Period(row.starts_on, row.ends_on, BANDS.validate_json(row.bands)),
        scorecards=row.scorecards,
        frozen_upto=row.frozen_upto,
    )


def _first(row: Row[tuple[object, ...]] | None) -> Cycle | None:
    return None if row is None else _cycle(row)
