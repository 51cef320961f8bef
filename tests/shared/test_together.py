"""Batches of several partitions at once, and what that must not change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging.log import LogBroken
from shared.messaging.retries import PARK_AFTER
from tests.shared.brokers import applied
from tests.shared.ledger import Ledger, as_sent, eventually, killed, kpi, run_until_it_fails, running
from tests.shared.test_broker_memory import InMemory

INNOCENT, DEADLY = 0, 1


@pytest.fixture
def broker() -> InMemory:
    return InMemory()


@pytest.fixture
async def topic(broker: InMemory) -> Topic:
    topic = broker.topic(partitions=2)
    await broker.create(topic)
    return topic


@pytest.fixture
def ledger(ledger_database: Database, topic: Topic) -> Ledger:
    return Ledger(ledger_database, topic, together=True)


async def tell(broker: InMemory, topic: Topic, mark: str) -> None:
    """One record in each partition."""
    for partition in (INNOCENT, DEADLY):
        await broker.append(topic, [as_sent(kpi(f"{mark}-{partition}", f"e-{partition}"))], partition)


async def test_two_partitions_are_applied_at_once_after_the_first_batch_of_each_went_alone(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    at_work, seen = 0, []

    async def slowly(_: Sequence[str]) -> None:
        nonlocal at_work
        at_work += 1
        await asyncio.sleep(0.1)
        seen.append(at_work)
        at_work -= 1

    ledger.before_effect = slowly
    await tell(broker, topic, "first")
    async with running(ledger.consumer(lambda: broker.reader(topic))):
        await eventually(lambda: applied(ledger, 2))
        assert seen == [1, 1]
        await tell(broker, topic, "second")
        await eventually(lambda: applied(ledger, 4))
    assert max(seen[2:]) == 2
    assert await ledger.repeated() == []


async def test_a_record_that_kills_is_parked_and_never_one_that_was_being_applied_beside_it(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    async def hang_at_the_deadly_one(found: Sequence[str]) -> None:
        await asyncio.sleep(3600 if f"x-{DEADLY}" in found else 0.05)

    async def over() -> bool:
        return any(f"x-{DEADLY}" in call for call in ledger.calls[seen:]) or bool(await ledger.parked())

    ledger.before_effect = hang_at_the_deadly_one
    lives = 0
    while not await ledger.parked():
        seen = len(ledger.calls)
        # New work for the innocent partition before each life: its batch, too, is there when the process dies.
        await broker.append(topic, [as_sent(kpi(f"n-{lives}", "e-0"))], INNOCENT)
        if not lives:
            await broker.append(topic, [as_sent(kpi(f"x-{DEADLY}", "e-1"))], DEADLY)
        lives += 1
        assert lives < 20
        await killed(ledger.consumer(lambda: broker.reader(topic)), over)
    assert lives > PARK_AFTER
    ledger.before_effect = None
    async with running(ledger.consumer(lambda: broker.reader(topic))):
        await eventually(lambda: applied(ledger, lives))
    assert await ledger.parked() == [(0, "crashed")]
    assert await ledger.effects() == [f"n-{life}" for life in range(lives)]


async def test_a_bug_ends_the_process_after_what_was_at_work_beside_it_is_finished(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    async def slowly(found: Sequence[str]) -> None:
        await asyncio.sleep(0.2 if f"second-{INNOCENT}" in found else 0.02)

    ledger.before_effect = slowly
    await tell(broker, topic, "first")
    task = asyncio.create_task(run_until_it_fails(ledger.consumer(lambda: broker.reader(topic))))
    await eventually(lambda: applied(ledger, 2))
    ledger.failures[f"second-{DEADLY}"].append(KeyError("any bug"))
    await tell(broker, topic, "second")
    with pytest.raises(KeyError):
        await task
    assert sorted(await ledger.effects()) == [f"first-{INNOCENT}", f"first-{DEADLY}", f"second-{INNOCENT}"]


@pytest.mark.parametrize("handled", [LogBroken("the connection is gone"), TimeoutError()], ids=["log", "transient"])
@pytest.mark.parametrize("bug_in", [INNOCENT, DEADLY])
async def test_a_bug_is_raised_also_where_a_batch_beside_it_only_has_to_be_repeated(
    broker: InMemory, topic: Topic, ledger: Ledger, handled: Exception, bug_in: int
) -> None:
    await tell(broker, topic, "first")
    task = asyncio.create_task(run_until_it_fails(ledger.consumer(lambda: broker.reader(topic))))
    await eventually(lambda: applied(ledger, 2))
    ledger.failures[f"second-{bug_in}"].append(KeyError("any bug"))
    ledger.failures[f"second-{1 - bug_in}"].append(handled)
    await tell(broker, topic, "second")
    with pytest.raises(KeyError):
        await task


async def test_a_batch_that_fails_for_now_is_repeated_and_those_at_work_beside_it_are_not(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    async def slowly(found: Sequence[str]) -> None:
        await asyncio.sleep(0.2 if f"second-{INNOCENT}" in found else 0.02)

    ledger.before_effect = slowly
    await tell(broker, topic, "first")
    async with running(ledger.consumer(lambda: broker.reader(topic))):
        await eventually(lambda: applied(ledger, 2))
        ledger.failures[f"second-{DEADLY}"].append(ConnectionResetError())
        await tell(broker, topic, "second")
        await eventually(lambda: applied(ledger, 4))
        await tell(broker, topic, "third")
        await eventually(lambda: applied(ledger, 6))
    calls = [event for call in ledger.calls for event in call]
    assert [calls.count(f"second-{partition}") for partition in (INNOCENT, DEADLY)] == [1, 2]
    by_employee = await ledger.effects_by_employee()
    assert by_employee == {f"e-{n}": [f"{mark}-{n}" for mark in ("first", "second", "third")] for n in range(2)}
    assert await ledger.positions() == {INNOCENT: 3, DEADLY: 3}
