"""What ingest does when scoring changes a cycle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import date
from decimal import Decimal

import httpx
from sqlalchemy import text

from services.ingest.handlers import on_cycles
from shared.contracts.ids import Band, CycleId, ProviderId
from shared.contracts.kpi import FeedbackSubmitted, IntakeSealed
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


async def markers(world: World) -> list[tuple[str, int | None]]:
    return [(found.topic, found.partition) for found in await world.waiting("plumbline.intake.sealed.v1")]


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
    busy, sealed = asyncio.Event(), asyncio.Event()
    before: list[str] = []

    async def write(writer: int) -> None:
        number = 0
        while not sealed.is_set():
            ids = [f"w{writer}-{number}-{n}" for n in range(20)]
            answer = await world.send([seen(event) for event in ids])
            assert answer.json()["accepted"] == 20
            acknowledged.extend(ids)
            if len(acknowledged) >= 200:
                busy.set()
            number += 1

    async def freeze() -> None:
        await busy.wait()
        before.extend(acknowledged)
        await deliver(world, cycle(2, CycleState.FREEZING))
        sealed.set()

    await asyncio.gather(freeze(), *(write(writer) for writer in range(5)))
    streams = [found for found in await world.waiting() if found.topic in ("kpi-events", "feedback")]
    order = [json.loads(found.message.body).get("event") for found in streams]
    places = [place for place, event in enumerate(order) if event is None]
    assert places == list(range(places[0], places[0] + 24))
    assert {f"acd/{event}" for event in before} <= set(order[: places[0]])


async def _waiting_for_locks(world: World, transactions: int) -> None:
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while len(await world.rows(waiting)) < transactions:
            continue


async def _freezing_waits_for(world: World, blocking: str, post: Coroutine[None, None, httpx.Response]) -> None:
    """Hold up `post` in the middle of its transaction by a row lock it needs, and freeze the cycle meanwhile."""
    async with world.database.begin(ACME) as tx:
        await tx.execute(text(blocking))
        posting = asyncio.create_task(post)
        await _waiting_for_locks(world, 1)
        freezing = asyncio.create_task(deliver(world, cycle(2, CycleState.FREEZING)))
        await _waiting_for_locks(world, 2)
        assert not posting.done() and not freezing.done() and await markers(world) == []
    await freezing
    assert (await posting).json()["accepted"] >= 1


async def test_events_on_their_way_when_the_cycle_freezes_stand_before_the_seal(world: World) -> None:
    await deliver(world, cycle(1))
    await world.send(seen())
    sent = [seen("evt-2"), {"id": "c-1", "corrects": "evt-1", "numerator": 1, "denominator": 1}]
    await _freezing_waits_for(world, "SELECT 1 FROM kpi_events FOR UPDATE", world.send(sent))
    kinds = [body.get("event") for body in await world.announced() if "event" in body or "stream" in body]
    assert kinds == ["acd/evt-1", "acd/evt-2", "acd/c-1"] + [None] * 24


async def test_a_rating_on_its_way_when_the_cycle_freezes_stands_before_the_seal(world: World) -> None:
    await deliver(world, cycle(1))
    rating = {"cycle": "2026-11", "employee": "e-1", "category": "peer", "rating": 3, "rater": "e-2"}
    await world.post("/feedback", rating)
    again = world.post("/feedback", [rating | {"rating": 4}])
    await _freezing_waits_for(world, "SELECT 1 FROM feedback_threads FOR UPDATE", again)
    kinds = [type(found.event) for found in await world.waiting() if found.topic == "feedback"]
    assert kinds == [FeedbackSubmitted] * 2 + [IntakeSealed] * 12
