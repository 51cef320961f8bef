"""How the consumer loop reads any log. The memory broker and Kafka are held to the same sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging.consumer import DataLost
from shared.messaging.log import LogReader, Partition
from tests.shared.brokers import Broker, HeldReader, LogSuite, advance_as_another_owner_would, applied, calls, ready
from tests.shared.ledger import (
    Ledger,
    as_sent,
    events,
    eventually,
    killed,
    kpi,
    run_until_it_fails,
    running,
)


class BrokerSuite(LogSuite):
    async def test_events_of_one_key_take_effect_in_their_order(
        self, broker: Broker, ledger_database: Database
    ) -> None:
        topic = broker.topic(3)
        await broker.create(topic)
        ledger = Ledger(ledger_database, topic)
        sent = events(90, employees=3)
        for number in range(3):
            await broker.append(topic, [as_sent(e) for e in sent if e.employee == f"e-{number}"], partition=number)
        async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=7)):
            await eventually(lambda: applied(ledger, 90))
        by_employee = await ledger.effects_by_employee()
        assert by_employee == {f"e-{n}": [e.event for e in sent if e.employee == f"e-{n}"] for n in range(3)}

    async def test_what_a_crash_left_unapplied_is_delivered_again(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(5)])

        async def hang(_: Sequence[str]) -> None:
            await asyncio.sleep(3600)

        ledger.before_effect = hang
        await killed(ledger.consumer(lambda: broker.reader(topic)), lambda: calls(ledger, 1))
        assert (await ledger.effects(), await ledger.position()) == ([], 0)
        ledger.before_effect = None
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 5))
        assert await ledger.effects() == [f"k-{n}" for n in range(5)]

    async def test_what_was_committed_before_a_crash_is_not_applied_again(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(5)])
        await killed(ledger.consumer(lambda: broker.reader(topic)), lambda: applied(ledger, 5))
        await broker.commit(topic, 0)
        await broker.append(topic, [as_sent(kpi("k-5"))])
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 6))
        assert await ledger.effects() == [f"k-{n}" for n in range(6)]

    async def test_reading_starts_at_the_databases_position_whatever_the_group_committed(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(10)])
        await broker.commit(topic, 7)
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 10))
        assert await ledger.effects() == [f"k-{n}" for n in range(10)]

    async def test_no_partition_is_left_out_for_good_however_much_waits_in_the_others(self, broker: Broker) -> None:
        topic = broker.topic(12)
        await broker.create(topic)
        sent = [as_sent(event) for event in events(200)]
        for number in range(12):
            await broker.append(topic, sent, partition=number)
        seen: set[Partition] = set()
        reader = broker.reader(topic)
        await reader.open()
        try:
            while len(reader.assigned()) < 12:
                await reader.poll(2)
            for partition in reader.assigned():
                reader.seek(partition, 0)
            for _ in range(50):
                polled = await reader.poll(2)
                assert all(len(records) <= 2 for records in polled.values())
                seen |= polled.keys()
        finally:
            await reader.close()
        assert {partition.number for partition in seen} == set(range(12))

    async def test_two_consumers_share_the_partitions_and_hand_them_over(
        self, broker: Broker, ledger_database: Database
    ) -> None:
        topic = broker.topic(4)
        await broker.create(topic)
        ledger = Ledger(ledger_database, topic)
        first, second = (ledger.consumer(lambda: broker.reader(topic), batch_size=20) for _ in range(2))
        sent = events(400, employees=4)

        async def append(part: int) -> None:
            for number in range(4):
                batch = [as_sent(e) for e in sent[part * 100 : part * 100 + 100] if e.employee == f"e-{number}"]
                await broker.append(topic, batch, partition=number)

        await append(0)
        async with running(first):
            await eventually(lambda: applied(ledger, 100))
            async with running(second):
                await eventually(lambda: ready(second))
                await append(1)
                await eventually(lambda: applied(ledger, 200))
                await append(2)
            await append(3)
            await eventually(lambda: applied(ledger, 400))
        by_employee = await ledger.effects_by_employee()
        assert by_employee == {f"e-{n}": [e.event for e in sent if e.employee == f"e-{n}"] for n in range(4)}

    async def test_an_owner_that_was_stopped_and_goes_on_too_late_changes_nothing(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(10)])
        held = HeldReader(broker.reader(topic))
        async with running(ledger.consumer(lambda: held)):
            await asyncio.wait_for(held.polled.wait(), 10)
            ours = await advance_as_another_owner_would(ledger, 6)
            held.go_on.set()
            await eventually(lambda: applied(ledger, 4))
        assert ours == 6
        assert await ledger.effects() == ["k-6", "k-7", "k-8", "k-9"]

    @pytest.mark.parametrize("reports", [True, False], ids=["with committed offsets", "without"])
    async def test_a_rebalance_that_changes_nothing_does_not_interrupt_reading(
        self, broker: Broker, ledger_database: Database, reports: bool
    ) -> None:
        topic = broker.topic(2)  # so that one of them stays whoever passes by
        await broker.create(topic)
        ledger = Ledger(ledger_database, topic)

        def open_reader() -> LogReader:
            reader = HeldReader(broker.reader(topic), reports=reports)
            reader.go_on.set()
            return reader

        async def append(start: int) -> None:
            for number in range(2):
                sent = [as_sent(kpi(f"k-{number}-{n}", f"e-{number}")) for n in range(start, start + 5)]
                await broker.append(topic, sent, partition=number)

        await append(0)
        async with running(ledger.consumer(open_reader)):
            await eventually(lambda: applied(ledger, 10))
            await broker.rebalance(topic)
            await append(5)
            await eventually(lambda: applied(ledger, 20), within=10)
        assert await ledger.effects_by_employee() == {f"e-{m}": [f"k-{m}-{n}" for n in range(10)] for m in range(2)}

    async def test_a_rebalance_in_the_middle_of_a_batch_repeats_nothing(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        shaken = asyncio.Event()

        async def shake(_: Sequence[str]) -> None:
            if not shaken.is_set():
                await broker.rebalance(topic)
                shaken.set()

        ledger.before_effect = shake
        await broker.append(topic, [as_sent(event) for event in events(10)])
        async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=5)):
            await eventually(lambda: applied(ledger, 10))
        assert await ledger.effects() == [f"k-{n}" for n in range(10)]

    async def test_a_topic_that_does_not_exist_is_waited_for(self, broker: Broker, ledger_database: Database) -> None:
        topic = broker.topic(1)
        ledger = Ledger(ledger_database, topic)
        consumer = ledger.consumer(lambda: broker.reader(topic))
        async with running(consumer):
            await asyncio.sleep(0.3)
            assert consumer.unready() is not None
            await broker.create(topic)
            await broker.append(topic, [as_sent(event) for event in events(3)])
            await eventually(lambda: applied(ledger, 3))
            assert consumer.unready() is None

    async def test_records_cut_off_before_they_were_applied_stop_the_loop(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(10)])
        ledger.failures["k-0"].append(KeyError("any bug"))
        with pytest.raises(KeyError):
            await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))
        await broker.cut(topic, 4)
        with pytest.raises(DataLost, match="from 4 to 10, but we are at 0"):
            await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))
        assert (await ledger.effects(), await ledger.position()) == ([], 0)

    async def test_records_cut_off_under_a_reader_stop_the_loop(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        held = HeldReader(broker.reader(topic))
        readers = [held, broker.reader(topic)]
        await broker.append(topic, [as_sent(event) for event in events(3)])
        running = asyncio.create_task(run_until_it_fails(ledger.consumer(lambda: readers.pop(0), batch_size=3)))
        await asyncio.wait_for(held.polled.wait(), 10)
        await broker.append(topic, [as_sent(event) for event in events(7, start=3)])
        await broker.cut(topic, 8)
        held.go_on.set()
        with pytest.raises(DataLost):
            await running
        assert (await ledger.effects(), await ledger.position()) == (["k-0", "k-1", "k-2"], 3)

    async def test_a_new_subscription_begins_at_the_start_of_the_log(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(10)])
        await broker.cut(topic, 4)
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 6))
        assert await ledger.effects() == [f"k-{n}" for n in range(4, 10)]

    async def test_a_topic_made_anew_under_a_position_stops_the_loop(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(3)])
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 3))
        assert await advance_as_another_owner_would(ledger, 30, expected=3) == 30
        with pytest.raises(DataLost, match="made anew"):
            await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))

    async def test_offsets_without_a_record_are_passed_over(self, broker: Broker, topic: Topic, ledger: Ledger) -> None:
        for start in (0, 3, 6):
            await broker.append_and_skip(topic, [as_sent(event) for event in events(3, start=start)])
        async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=3)):
            await eventually(lambda: applied(ledger, 9))
        assert await ledger.effects() == [f"k-{n}" for n in range(9)]
        assert await ledger.position() == 11
