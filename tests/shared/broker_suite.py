"""What the consumer loop promises on any log. The memory broker and Kafka are held to the same sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pytest

from shared.contracts.topics import Topic
from shared.database import Database
from shared.errors import RuleViolation
from shared.messaging import batches, dead_letters, positions
from shared.messaging.consumer import DataLost
from shared.messaging.dead_letters import SubscriptionHalted
from shared.messaging.envelope import Record
from shared.messaging.log import LogReader, Partition
from tests.shared.ledger import (
    SERVICE,
    Ledger,
    Sent,
    as_sent,
    events,
    eventually,
    killed,
    kpi,
    run_until_it_fails,
    running,
    unreadable,
)


class Broker(Protocol):
    """What the suite does to a log, beside reading it."""

    def topic(self, partitions: int) -> Topic: ...

    async def create(self, topic: Topic) -> None: ...

    async def append(self, topic: Topic, records: Sequence[Sent], partition: int = 0) -> None: ...

    async def append_and_skip(self, topic: Topic, records: Sequence[Sent]) -> None:
        """Append to partition 0 and use up one more offset that holds no record."""
        ...

    async def cut(self, topic: Topic, first: int) -> None:
        """Delete what lies before `first` in partition 0."""
        ...

    async def commit(self, topic: Topic, offset: int) -> None:
        """Have the group's committed offset of partition 0 say `offset`."""
        ...

    async def rebalance(self, topic: Topic) -> None:
        """Have everybody assigned anew, without a change of members in the end."""
        ...

    def reader(self, topic: Topic) -> LogReader:
        """A new member of the service's group."""
        ...


class HeldReader:
    """Passes everything on, but keeps back what it polled until `go_on` is set; may keep all reports to itself."""

    def __init__(self, reader: LogReader, *, reports: bool = True) -> None:
        self._reader = reader
        self._reports = reports
        self.polled = asyncio.Event()
        self.go_on = asyncio.Event()

    async def open(self) -> None:
        await self._reader.open()

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        found = await self._reader.poll(limit)
        if found and self.sought():
            self.polled.set()
            await self.go_on.wait()
        return found

    def assigned(self) -> frozenset[Partition]:
        return self._reader.assigned()

    def sought(self) -> frozenset[Partition]:
        return self._reader.sought()

    def seek(self, partition: Partition, offset: int) -> None:
        self._reader.seek(partition, offset)

    async def first_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return await self._reader.first_offsets(partitions)

    async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return await self._reader.end_offsets(partitions)

    def high_water(self, partition: Partition) -> int:
        return self._reader.high_water(partition)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        if self._reports:
            await self._reader.report(positions)

    async def close(self) -> None:
        await self._reader.close()


class BrokerSuite:
    """Subclasses give `broker`; `ledger_database` comes from the conftest."""

    @pytest.fixture
    async def topic(self, broker: Broker) -> Topic:
        topic = broker.topic(1)
        await broker.create(topic)
        return topic

    @pytest.fixture
    def ledger(self, ledger_database: Database, topic: Topic) -> Ledger:
        return Ledger(ledger_database, topic)

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
        with pytest.raises(DataLost, match="from 4 to 10, but ledger is at 0"):
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

    async def test_a_record_that_cannot_be_read_is_parked_with_its_bytes_and_the_others_take_effect(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        bad = Sent(b"\x00\xff", b"\xfe not json", [("ce_type", b"plumbline.kpi.recorded.v1"), ("ce_id", b"\xff")])
        await broker.append(topic, [as_sent(kpi("k-0")), bad, as_sent(kpi("k-1"))])
        ledger.failures["k-1"].append(ConnectionResetError())
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 2))
        assert ledger.calls == [["k-0", "k-1"], ["k-0", "k-1"]]
        assert await ledger.parked() == [(1, "invalid-message")]
        async with ledger.database.begin() as tx:
            (letter,) = await dead_letters.page(tx, provider=None, state=None, topic=None, after=None, limit=10)
        assert (letter.record.topic, letter.record.partition, letter.subscription) == (topic.name, 0, SERVICE)
        assert (letter.record.key, letter.record.value, list(letter.record.headers)) == (
            bad.key,
            bad.value,
            bad.headers,
        )

    async def test_records_with_odd_headers_are_parked_and_do_not_stop_the_loop(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        odd: list[Sent] = [
            Sent(b"k", None, []),
            Sent(b"k", b"{}", [("ce_type", None), ("ce_id", b"1")]),
            Sent(b"k", b"{}", [("a\x00b", b"1"), ("ce_type", b"plumbline.kpi.recorded.v1"), ("ce_id", b"1")]),
            Sent(b"k", b"{}", [("ce_plumblineprovider", b"a\x00cme"), ("traceparent", b"\xff")]),
        ]
        await broker.append(topic, [*odd, as_sent(kpi("k-0"))])
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 1))
        assert await ledger.parked() == [(n, "invalid-message") for n in range(4)]
        async with ledger.database.begin() as tx:
            letters = await dead_letters.page(tx, provider=None, state=None, topic=None, after=None, limit=10)
        assert [list(letter.record.headers) for letter in letters] == [sent.headers for sent in odd]

    async def test_of_a_batch_exactly_the_refused_record_is_parked(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(6)])
        ledger.failures["k-2"].append(RuleViolation("never", code="impossible"))
        ledger.lasting.add("k-2")
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 5))
        assert await ledger.effects() == ["k-0", "k-1", "k-3", "k-4", "k-5"]
        assert await ledger.parked() == [(2, "impossible")]
        assert await ledger.position() == 6

    async def test_after_a_transient_error_the_whole_batch_comes_again(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(4)])
        ledger.failures["k-3"].extend([ConnectionResetError(), TimeoutError()])
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 4))
        assert ledger.calls == [["k-0", "k-1", "k-2", "k-3"]] * 3
        assert await ledger.effects() == ["k-0", "k-1", "k-2", "k-3"]

    async def test_no_number_of_transient_errors_parks_a_record(
        self, broker: Broker, topic: Topic, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.messaging.consumer.backoff", lambda failures, longest: 0.001)
        await broker.append(topic, [as_sent(event) for event in events(2)])
        ledger.failures["k-0"].extend(ConnectionResetError() for _ in range(2 + batches.PARK_AFTER))
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 2))
        assert await ledger.parked() == []

    async def test_a_bug_ends_the_loop_and_the_position_has_not_moved(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(kpi("k-0")), unreadable(), as_sent(kpi("k-3"))])
        ledger.failures["k-3"].append(KeyError("any bug"))
        with pytest.raises(KeyError):
            await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))
        assert (await ledger.effects(), await ledger.parked(), await ledger.position()) == ([], [], 0)

    @pytest.mark.parametrize("silent", [False, True], ids=["a bug", "a death without a word"])
    async def test_only_a_record_that_ended_the_process_many_times_is_parked(
        self, broker: Broker, topic: Topic, ledger: Ledger, silent: bool
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(6)])
        ledger.failures["k-3"].append(KeyError("any bug"))
        ledger.lasting.add("k-3")
        ended = 0
        while not await ledger.parked():
            ended += 1
            assert ended < 20
            await end_once(ledger, lambda: broker.reader(topic), silent=silent)
        assert ended > batches.PARK_AFTER
        assert await ledger.parked() == [(3, "crashed")]
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 5))
        assert await ledger.effects() == ["k-0", "k-1", "k-2", "k-4", "k-5"]

    async def test_many_bad_records_halt_the_subscription_until_their_letters_are_resolved(
        self, broker: Broker, topic: Topic, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "BREAKER_WINDOW", 50)
        monkeypatch.setattr(dead_letters, "BREAKER_LIMIT", 10)
        await broker.append(topic, [as_sent(kpi("k-0")), *(unreadable() for _ in range(15)), as_sent(kpi("k-1"))])
        for _ in range(batches.PARK_AFTER + 2):
            with pytest.raises(SubscriptionHalted, match="11 of the last 50"):
                await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))
            assert len(await ledger.parked()) == 10
            assert (await ledger.effects(), await ledger.position()) == (["k-0"], 11)
        await discard_all(ledger)
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 2))
        assert await ledger.parked() == [(offset, "invalid-message") for offset in range(11, 16)]


async def applied(ledger: Ledger, count: int) -> bool:
    return len(await ledger.effects()) >= count


async def calls(ledger: Ledger, count: int) -> bool:
    return len(ledger.calls) >= count


async def ready(consumer: object) -> bool:
    return consumer.unready() is None  # type: ignore[attr-defined]


async def advance_as_another_owner_would(ledger: Ledger, to: int, expected: int = 0) -> int:
    async with ledger.database.begin() as tx:
        assert await positions.advance(tx, SERVICE, ledger.topic.name, 0, expected, to)
    return await ledger.position()


async def end_once(ledger: Ledger, open_reader: object, *, silent: bool) -> None:
    """One life of a process: it ends at the failing record, or as soon as that record is parked."""
    seen = len(ledger.calls)

    async def hang_at_the_bad_one(found: Sequence[str]) -> None:
        if "k-3" in found:
            await asyncio.sleep(3600)

    async def over() -> bool:
        return any("k-3" in call for call in ledger.calls[seen:]) or bool(await ledger.parked())

    if silent:
        ledger.before_effect = hang_at_the_bad_one
        await killed(ledger.consumer(open_reader), over)  # type: ignore[arg-type]
        ledger.before_effect = None
        return
    task = asyncio.create_task(run_until_it_fails(ledger.consumer(open_reader)))  # type: ignore[arg-type]

    async def done() -> bool:
        return task.done() or bool(await ledger.parked())

    await eventually(done)
    task.cancel()
    await asyncio.wait([task])


async def discard_all(ledger: Ledger) -> None:
    async with ledger.database.begin() as tx:
        for letter in await dead_letters.page(tx, provider=None, state="parked", topic=None, after=None, limit=100):
            locked = await dead_letters.get(tx, letter.id, None)
            await dead_letters.discard(tx, locked, by="op", reason="known", now=letter.parked_at)
