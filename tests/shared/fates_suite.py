"""What becomes of records that cannot be read, are refused, or are too much for us, on any log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.contracts.topics import Topic
from shared.errors import Conflict, RuleViolation
from shared.messaging import consumer, dead_letters
from shared.messaging.dead_letters import SubscriptionHalted
from shared.messaging.retries import PARK_AFTER
from tests.shared.brokers import Broker, LogSuite, applied
from tests.shared.ledger import (
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


class FatesSuite(LogSuite):
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
        assert (letter.record.topic, letter.record.partition) == (topic.name, 0)
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

    async def test_a_consumer_that_goes_record_by_record_for_long_is_ready_while_it_goes_on(
        self, broker: Broker, topic: Topic, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumer, "STALL_SECONDS", 1.0)
        problems: list[str | None] = []

        async def slowly(_: Sequence[str]) -> None:
            await asyncio.sleep(0.25)
            if len(ledger.calls) > 2:  # before that nothing is committed
                problems.append(ours.unready())

        async def hang(_: Sequence[str]) -> None:
            await mended.wait()

        async def unready() -> bool:
            return ours.unready() is not None

        mended = asyncio.Event()
        ledger.before_effect = slowly
        ledger.failures["k-9"].append(RuleViolation("not yet"))
        await broker.append(topic, [as_sent(event) for event in events(10)])
        ours = ledger.consumer(lambda: broker.reader(topic))
        async with running(ours):
            await eventually(lambda: applied(ledger, 10))
            assert problems == [None] * 9
            ledger.before_effect = hang
            await broker.append(topic, [as_sent(kpi("k-10"))])
            await eventually(unready)
            mended.set()

    async def test_a_letter_is_replayed_once_when_what_was_wrong_is_mended(
        self, broker: Broker, topic: Topic, ledger: Ledger
    ) -> None:
        await broker.append(topic, [as_sent(event) for event in events(3)])
        ledger.failures["k-1"].append(RuleViolation("not yet"))
        ledger.lasting.add("k-1")
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 2))
        ledger.failures.clear()
        await replay_all(ledger)
        assert await ledger.effects() == ["k-0", "k-2", "k-1"]
        assert await ledger.parked() == []
        with pytest.raises(Conflict):
            await replay_all(ledger, state="replayed")
        assert await ledger.effects() == ["k-0", "k-2", "k-1"]

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
        ledger.failures["k-0"].extend(ConnectionResetError() for _ in range(2 + PARK_AFTER))
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
        assert ended > PARK_AFTER
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
        for _ in range(PARK_AFTER + 2):
            with pytest.raises(SubscriptionHalted, match="11 of the last 50"):
                await run_until_it_fails(ledger.consumer(lambda: broker.reader(topic)))
            assert len(await ledger.parked()) == 10
            assert (await ledger.effects(), await ledger.position()) == (["k-0"], 11)
        await discard_all(ledger)
        async with running(ledger.consumer(lambda: broker.reader(topic))):
            await eventually(lambda: applied(ledger, 2))
        assert await ledger.parked() == [(offset, "invalid-message") for offset in range(11, 16)]


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


async def replay_all(ledger: Ledger, state: str = "parked") -> None:
    async with ledger.database.begin() as tx:
        for letter in await dead_letters.page(tx, provider=None, state=state, topic=None, after=None, limit=100):
            locked = await dead_letters.get(tx, letter.id, None)
            await dead_letters.replay(tx, locked, [ledger.subscription], by="op", now=letter.parked_at)
