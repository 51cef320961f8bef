"""Batches of several partitions at once, with the handlers that do so here."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.handlers import SUBSCRIPTIONS
from shared.contracts.event import Event
from shared.contracts.scoring import ScorecardComputed
from shared.contracts.topics import KPI_EVENTS
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Batch, headers_of
from shared.messaging.log import Partition
from tests.memory_broker import MemoryBroker
from tests.scoring.conftest import House, Houses, settle_in
from tests.scoring.events import correction, employee, kpi, seals, void
from tests.shared.ledger import eventually, running

FIRST = [[kpi(f"a-{n}", "360", who=f"e-{n}") for n in (1, 2)], [kpi(f"a-{n}", "360", who=f"e-{n}") for n in (3, 4)]]


def second() -> list[list[Event]]:
    """Of each partition's people all that can be said: new ones, corrected and voided ones, and that a cycle ends."""
    batches: list[list[Event]] = []
    for first, marker in zip(FIRST, seals(streams=("kpi-events",)), strict=True):
        corrected, voided = first
        late = kpi(f"late-{corrected.employee}", "300", who=corrected.employee)
        batches.append([correction(corrected, 1, "300"), void(voided, 1), late, marker])
    return batches


def append(broker: MemoryBroker, house: House, partition: int, events: list[Event]) -> None:
    for event in events:
        headers = headers_of(
            event_id=f"id-{event.model_dump_json()}",
            event_type=event.TYPE,
            time=house.clock(),
            source="ingest",
            provider=event.provider,
            key=event.key(),
            traceparent=None,
        )
        broker.append(
            Partition(KPI_EVENTS.name, partition), event.key().encode(), event.model_dump_json().encode(), headers
        )


async def test_batches_of_two_partitions_lock_nothing_in_common_and_leave_what_one_after_the_other_leaves(
    houses: Houses,
) -> None:
    found = []
    for at_once in (2, 1):
        house = await settle_in(await houses())
        await house.told(employee("e-3"), employee("e-4"))
        await house.settled()
        await consume(house, at_once)
        await house.settled()
        cards = {card.employee: card for card in await house.announced(ScorecardComputed)}
        sums = await house.rows("SELECT employee, day, numerator, events FROM day_sums ORDER BY 1, 2")
        sealed = await house.rows("SELECT stream, partition FROM cycle_seals ORDER BY 1, 2")
        found.append(([(name, cards[name].score, cards[name].coverage) for name in sorted(cards)], sums, sealed))
    assert found[0] == found[1]
    assert len(found[0][2]) == 2


async def consume(house: House, at_once: int) -> None:
    """Both partitions, twice; the second batches end only when the handlers of `at_once` of them are done."""
    broker = MemoryBroker({KPI_EVENTS.name: 2})
    (ours,) = (each for each in SUBSCRIPTIONS if each.topic == KPI_EVENTS)
    handled: list[int] = []
    done = asyncio.Barrier(at_once)

    async def handle(tx: AsyncConnection, batch: Batch) -> None:
        await ours.handler(tx, batch)
        handled.append(len(batch.deliveries))
        if len(batch.deliveries) > 2:
            async with asyncio.timeout(10):  # both transactions are open, with all their locks
                await done.wait()

    subscription = replace(ours, handler=handle, together=at_once > 1)
    consumer = Consumer(
        house.database, [subscription], lambda: broker.reader("scoring", [KPI_EVENTS.name]), house.clock
    )
    for partition, events in enumerate(FIRST):
        append(broker, house, partition, [*events])
    async with running(consumer):
        await eventually(lambda: are(handled, 2))
        for partition, told in enumerate(second()):
            append(broker, house, partition, told)
        await eventually(lambda: are(handled, 4))
    assert sorted(handled) == [2, 2, 4, 4]


async def are(handled: list[int], count: int) -> bool:
    return len(handled) >= count
