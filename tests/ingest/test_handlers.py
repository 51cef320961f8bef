"""What ingest does when scoring changes a cycle."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal

from services.ingest.handlers import on_cycles
from services.ingest.store.journal import join_intake
from shared.contracts.ids import Band, CycleId, ProviderId
from shared.contracts.scoring import BandCut, CycleChanged, CycleState
from shared.messaging.envelope import Batch, Delivery
from tests.ingest.conftest import NOW, World, seen

ACME = ProviderId("acme")


def cycle(version: int, state: CycleState = CycleState.OPEN, name: str = "2026-11", bands: int = 5) -> CycleChanged:
    return CycleChanged(
        provider=ACME,
        cycle=CycleId(name),
        version=version,
        name=name,
        state=state,
        starts_on=date(2026, 11, 1),
        ends_on=date(2026, 11, 30),
        bands=tuple(BandCut(band=Band(str(n)), cut_score=Decimal(n)) for n in range(bands)),
    )


async def deliver(world: World, *events: CycleChanged) -> None:
    deliveries = tuple(Delivery(event, f"id-{n}", n, None) for n, event in enumerate(events))
    async with world.database.begin(ACME) as tx:
        await on_cycles(tx, Batch(ACME, deliveries, NOW, lag=0))


async def markers(world: World) -> list[tuple[str, int]]:
    found = await world.rows(
        "SELECT topic, partition FROM outbox WHERE event_type = 'plumbline.intake.sealed.v1' ORDER BY id"
    )
    return [(topic, number) for topic, number in found]


async def test_a_freeze_seals_every_partition_of_both_streams_once(world: World) -> None:
    await deliver(world, cycle(1), cycle(2, CycleState.FREEZING))
    expected = [("kpi-events", n) for n in range(12)] + [("feedback", n) for n in range(12)]
    assert await markers(world) == expected
    (first, *_) = await world.announced("plumbline.intake.sealed.v1")
    assert (first["cycle"], first["stream"], first["partitions"]) == ("2026-11", "kpi-events", 12)
    await deliver(world, cycle(2, CycleState.FREEZING))
    await deliver(world, cycle(1), cycle(2, CycleState.FREEZING), cycle(3, CycleState.FROZEN))
    assert await markers(world) == expected
    assert await world.rows("SELECT version, state, bands FROM cycles") == [(3, "frozen", 5)]


async def test_an_older_state_turns_nothing_back(world: World) -> None:
    await deliver(world, cycle(4, CycleState.CLOSED, bands=3))
    await deliver(world, cycle(2, CycleState.FREEZING), cycle(3, CycleState.FROZEN))
    assert await markers(world) == []
    assert await world.rows("SELECT version, state, bands FROM cycles") == [(4, "closed", 3)]


async def test_another_cycle_or_another_freeze_is_sealed_again(world: World) -> None:
    await deliver(world, cycle(1), cycle(2, CycleState.FREEZING), cycle(1, CycleState.FREEZING, "2026-12"))
    assert len(await markers(world)) == 48
    await deliver(world, cycle(3), cycle(4, CycleState.FREEZING))
    assert len(await markers(world)) == 72


async def test_everything_acknowledged_before_the_seal_stands_before_it(world: World) -> None:
    """Writers post while the cycle freezes; what any of them had the answer for when the freeze arrived has a smaller
    outbox id than every marker, and nothing lies between the markers."""
    await deliver(world, cycle(1))
    acknowledged: list[str] = []
    sealed = asyncio.Event()
    before: list[str] = []

    async def write(writer: int) -> None:
        number = 0
        while not sealed.is_set():
            ids = [f"w{writer}-{number}-{n}" for n in range(20)]
            answer = await world.send([seen(event) for event in ids])
            assert answer.json()["accepted"] == 20
            acknowledged.extend(ids)
            number += 1

    async def freeze() -> None:
        while len(acknowledged) < 200:
            await asyncio.sleep(0.01)
        before.extend(acknowledged)
        await deliver(world, cycle(2, CycleState.FREEZING))
        sealed.set()

    await asyncio.gather(freeze(), *(write(writer) for writer in range(5)))
    rows = await world.rows(
        "SELECT CAST(body AS jsonb) ->> 'event' FROM outbox WHERE topic IN ('kpi-events', 'feedback') ORDER BY id"
    )
    order = [event for (event,) in rows]
    places = [place for place, event in enumerate(order) if event is None]
    assert places == list(range(places[0], places[0] + 24))
    assert {f"acd/{event}" for event in before} <= set(order[: places[0]])


async def test_a_writer_that_has_not_committed_is_waited_for(world: World) -> None:
    await deliver(world, cycle(1))
    async with world.database.begin(ACME) as tx:
        await join_intake(tx, ACME)
        freezing = asyncio.create_task(deliver(world, cycle(2, CycleState.FREEZING)))
        await asyncio.sleep(0.2)
        assert not freezing.done() and await markers(world) == []
    await freezing
    assert len(await markers(world)) == 24
