"""Work that is due later runs once per due time, with everything that caused it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.databases import DatabaseUrls, drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from shared import telemetry
from shared.clock import utc_now
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.errors import NotFound, RuleViolation, is_transient
from shared.messaging import outbox, timers
from shared.messaging.retries import PARK_AFTER, SINGLE_AFTER
from shared.messaging.schema import MACHINERY_0001, MACHINERY_0002, statements
from shared.messaging.subscriptions import DueTimers, Timer
from shared.messaging.timers import ParkedTimer, TimerRuns
from tests.shared.ledger import kpi

ACME, BETA = ProviderId("acme"), ProviderId("beta")
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
WRITE = text("INSERT INTO effects (provider, employee, event) SELECT :provider, '', unnest(CAST(:keys AS text[]))")


async def schedule(database: Database, keys: Sequence[str], due_at: datetime, provider: ProviderId = ACME) -> None:
    async with database.begin(provider) as tx:
        await timers.schedule(tx, "rescore", provider, keys, due_at)


async def scheduled(database: Database) -> list[tuple[str, datetime]]:
    async with database.begin() as tx:
        rows = await tx.execute(text("SELECT key, due_at FROM timers ORDER BY key, due_at"))
        return [(row.key, row.due_at) for row in rows]


async def ran(database: Database) -> Counter[str]:
    async with database.begin() as tx:
        return Counter(row.event for row in await tx.execute(text("SELECT event FROM effects")))


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def note(tx: AsyncConnection, due: DueTimers) -> None:
    await tx.execute(WRITE, {"provider": due.provider, "keys": due.keys})


async def fail(_: AsyncConnection, __: DueTimers) -> None:
    raise KeyError("any bug")


async def test_a_key_runs_once_at_the_earliest_of_its_times(ledger_database: Database) -> None:
    for hours in (1, 0, 2):
        await schedule(ledger_database, ["a"], NOON + timedelta(hours=hours))
    times = [NOON + timedelta(hours=hours) for hours in (-1, 0, 1, 2)]
    found = [await timers.run_due(ledger_database, Timer("rescore", note), now) for now in times]
    assert found == [0, 1, 0, 0]
    assert await ran(ledger_database) == Counter(["a"])


async def test_only_what_is_due_runs_in_the_providers_name_and_is_gone_afterwards(ledger_database: Database) -> None:
    seen: list[tuple[str, str | None, Sequence[str]]] = []

    async def look(tx: AsyncConnection, due: DueTimers) -> None:
        setting = text("SELECT current_setting('plumbline.provider', true)")
        seen.append((due.provider, (await tx.execute(setting)).scalar_one(), due.keys))

    await schedule(ledger_database, ["b", "a"], NOON)
    await schedule(ledger_database, ["a"], NOON, BETA)
    await schedule(ledger_database, ["later"], NOON + timedelta(seconds=1))
    assert await timers.run_due(ledger_database, Timer("rescore", look), NOON) == 3
    assert await timers.run_due(ledger_database, Timer("rescore", look), NOON) == 0
    assert seen == [(ACME, ACME, ["a", "b"]), (BETA, BETA, ["a"])]
    assert await scheduled(ledger_database) == [("later", NOON + timedelta(seconds=1))]


async def test_a_batch_is_never_larger_than_asked(ledger_database: Database) -> None:
    await schedule(ledger_database, [f"p-{number}" for number in range(25)], NOON)
    batch = Timer("rescore", note, batch=10)
    assert [await timers.run_due(ledger_database, batch, NOON) for _ in range(4)] == [10, 10, 5, 0]


async def test_a_batch_keeps_its_size_where_the_database_planned_for_an_empty_table(
    ledger_database: Database, ledger_urls: DatabaseUrls, postgres: PostgresServer
) -> None:
    batch = Timer("rescore", note, batch=10)
    postgres.run_sql("VACUUM ANALYZE timers", ledger_urls.name)
    for _ in range(8):  # enough for the plan to be kept
        await timers.run_due(ledger_database, batch, NOON)
    await schedule(ledger_database, [f"p-{number}" for number in range(500)], NOON)
    assert await timers.run_due(ledger_database, batch, NOON) == 10


async def test_several_loops_never_run_the_same_key_twice(ledger_database: Database) -> None:
    keys = [f"p-{number}" for number in range(300)]
    for early in range(3):
        await schedule(ledger_database, keys, NOON - timedelta(minutes=early))

    async def slowly(tx: AsyncConnection, due: DueTimers) -> None:
        await asyncio.sleep(0.002)
        await note(tx, due)

    async def loop() -> int:
        return sum([await timers.run_due(ledger_database, Timer("rescore", slowly, batch=7), NOON) for _ in range(30)])

    assert sum(await asyncio.gather(*(loop() for _ in range(4)))) == 300
    assert await ran(ledger_database) == Counter(keys)


async def test_a_handler_that_fails_leaves_its_timers_as_they_were(ledger_database: Database) -> None:
    await schedule(ledger_database, ["a"], NOON)
    before = await scheduled(ledger_database)
    with pytest.raises(KeyError):
        await timers.run_timers(ledger_database, [Timer("rescore", fail)], utc_now, asyncio.Event())
    assert await scheduled(ledger_database) == before


async def test_after_a_transient_failure_the_batch_runs_again(ledger_database: Database) -> None:
    stop = asyncio.Event()
    failures = [ConnectionResetError(), TimeoutError()]

    async def at_last(tx: AsyncConnection, due: DueTimers) -> None:
        await note(tx, due)
        if failures:
            raise failures.pop()
        stop.set()

    await schedule(ledger_database, ["a"], NOON)
    await asyncio.wait_for(timers.run_timers(ledger_database, [Timer("rescore", at_last)], utc_now, stop), 10)
    assert await ran(ledger_database) == Counter(["a"])


async def test_a_timer_can_schedule_itself_again(ledger_database: Database) -> None:
    async def again(tx: AsyncConnection, due: DueTimers) -> None:
        await note(tx, due)
        await timers.schedule(tx, "rescore", due.provider, due.keys, due.now + timedelta(minutes=1))

    await schedule(ledger_database, ["a"], NOON)
    for minute in range(3):
        assert await timers.run_due(ledger_database, Timer("rescore", again), NOON + timedelta(minutes=minute)) == 1
        assert await timers.run_due(ledger_database, Timer("rescore", again), NOON + timedelta(minutes=minute)) == 0
    assert await scheduled(ledger_database) == [("a", NOON + timedelta(minutes=3))]
    assert await ran(ledger_database) == Counter({"a": 3})


class Gate:
    """A handler that waits inside its transaction until it is let go."""

    def __init__(self) -> None:
        self.begun, self.finish = asyncio.Event(), asyncio.Event()

    async def __call__(self, tx: AsyncConnection, due: DueTimers) -> None:
        self.begun.set()
        await self.finish.wait()
        await note(tx, due)


@pytest.mark.parametrize("window", [timers.WINDOW, 1], ids=["all rows looked at", "one"])
async def test_what_is_scheduled_while_the_timer_runs_waits_for_nobody_and_runs_afterwards(
    ledger_database: Database, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(timers, "WINDOW", window)
    gate = Gate()
    await schedule(ledger_database, ["a"], NOON)
    running = asyncio.create_task(timers.run_due(ledger_database, Timer("rescore", gate), NOON))
    await gate.begun.wait()
    await asyncio.wait_for(schedule(ledger_database, ["a"], NOON), 5)
    await asyncio.wait_for(schedule(ledger_database, ["a"], NOON - timedelta(hours=1)), 5)
    assert await timers.run_due(ledger_database, Timer("rescore", note), NOON) == 0  # one run of a key at a time
    gate.finish.set()
    assert await running == 1
    assert await timers.run_due(ledger_database, Timer("rescore", note), NOON) == 1
    assert await ran(ledger_database) == Counter({"a": 2})


@pytest.mark.parametrize("counted", [False, True], ids=["statistics of an empty table", "fresh statistics"])
async def test_one_claimer_leaves_what_it_does_not_claim_to_the_others(
    ledger_database: Database, ledger_urls: DatabaseUrls, postgres: PostgresServer, counted: bool
) -> None:
    gate = Gate()
    keys = [f"p-{number:03}" for number in range(500)]
    postgres.run_sql("VACUUM ANALYZE timers", ledger_urls.name)
    for early in range(3):
        await schedule(ledger_database, keys, NOON - timedelta(minutes=early))
    if counted:
        postgres.run_sql("VACUUM ANALYZE timers", ledger_urls.name)
    first = asyncio.create_task(timers.run_due(ledger_database, Timer("rescore", gate, batch=100), NOON))
    await gate.begun.wait()
    others = [await timers.run_due(ledger_database, Timer("rescore", note, batch=100), NOON) for _ in range(5)]
    assert others == [100, 100, 100, 100, 0]
    gate.finish.set()
    assert await first == 100
    assert await ran(ledger_database) == Counter(keys)


async def test_a_key_with_more_rows_than_are_looked_at_runs_with_all_of_them_and_then_the_others(
    ledger_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "WINDOW", 5)
    for minutes in range(8):
        await schedule(ledger_database, ["a"], NOON - timedelta(hours=1, minutes=minutes))
    await schedule(ledger_database, ["b", "c"], NOON)
    batch = Timer("rescore", note, batch=10)
    assert [await timers.run_due(ledger_database, batch, NOON) for _ in range(3)] == [1, 2, 0]
    assert await scheduled(ledger_database) == []


async def test_a_later_time_of_a_key_does_not_hold_up_an_earlier_one(ledger_database: Database) -> None:
    await schedule(ledger_database, ["a"], NOON + timedelta(days=1))
    await schedule(ledger_database, ["a"], NOON)
    assert await timers.run_due(ledger_database, Timer("rescore", note), NOON) == 1
    assert await scheduled(ledger_database) == []


async def test_a_key_stands_in_line_by_the_earliest_of_its_times(ledger_database: Database) -> None:
    for key, minutes in (("a", 0), ("b", 30), ("a", 60)):
        await schedule(ledger_database, [key], NOON - timedelta(minutes=minutes))
    timer = Timer("rescore", note, batch=1)
    for expected in (["a"], ["a", "b"]):
        assert await timers.run_due(ledger_database, timer, NOON) == 1
        assert await ran(ledger_database) == Counter(expected)


async def test_full_batches_run_two_at_once_but_the_first_of_a_process_alone(ledger_database: Database) -> None:
    at_work, seen = 0, []

    async def slowly(tx: AsyncConnection, due: DueTimers) -> None:
        nonlocal at_work
        at_work += 1
        await asyncio.sleep(0.1)
        seen.append(at_work)
        at_work -= 1
        await note(tx, due)

    keys = [f"k-{number:02}" for number in range(9)]
    await schedule(ledger_database, keys, NOON)
    runs = TimerRuns(ledger_database, Timer("rescore", slowly, batch=2, together=True))
    while await runs.turn(NOON):
        pass
    assert await ran(ledger_database) == Counter(keys)
    assert seen == [1, 1, 2, 1, 1]


@pytest.mark.parametrize("refused", ["k-1", "k-2"])
async def test_a_bug_in_one_of_two_batches_at_once_is_no_refusal_of_the_other(
    ledger_database: Database, refused: str
) -> None:
    both = asyncio.Barrier(2)

    async def act(_: AsyncConnection, due: DueTimers) -> None:
        if due.keys[0] in ("k-1", "k-2"):
            await both.wait()
            raise RuleViolation("no such thing") if due.keys == [refused] else KeyError("any bug")

    for place, key in enumerate(("before", "still before", "k-1", "k-2")):
        await schedule(ledger_database, [key], NOON - timedelta(minutes=10 - place))
    runs = TimerRuns(ledger_database, Timer("rescore", act, batch=1, together=True))
    with pytest.raises(KeyError):
        while await asyncio.wait_for(runs.turn(NOON), 10):
            pass
    assert both.n_waiting == 0
    assert [key for key, _ in await scheduled(ledger_database)] == ["k-1", "k-2"]


async def test_on_a_snapshot_a_run_sees_one_state_and_gives_way_to_whoever_changed_its_rows(
    ledger_database: Database,
) -> None:
    count = text("SELECT count(*) FROM effects")
    change = text("UPDATE effects SET employee = 'e-2' WHERE event = 'shared'")
    seen: list[int] = []
    meddling = [True, False]

    async def meddled_with(tx: AsyncConnection, due: DueTimers) -> None:
        for _ in range(2):
            seen.append((await tx.execute(count)).scalar_one())
            async with ledger_database.begin(ACME) as other:
                await other.execute(WRITE, {"provider": ACME, "keys": [f"new-{len(seen)}"]})
                if meddling[0]:
                    await other.execute(change)
        await tx.execute(change)

    async with ledger_database.begin(ACME) as tx:
        await tx.execute(WRITE, {"provider": ACME, "keys": ["shared"]})
    await schedule(ledger_database, ["a"], NOON)
    timer = Timer("rescore", meddled_with, snapshot=True)
    with pytest.raises(DBAPIError) as refused:
        await timers.run_due(ledger_database, timer, NOON)
    assert is_transient(refused.value)
    meddling.pop(0)
    assert await timers.run_due(ledger_database, timer, NOON) == 1
    assert seen == [1, 1, 3, 3]


class Lives:
    """A timer whose keys do what they are told, through one life of the process after the other."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.deadly: set[str] = set()
        self.refused: set[str] = set()
        self.calls: list[Sequence[str]] = []
        self.timer = Timer("rescore", self, batch=5)

    async def __call__(self, tx: AsyncConnection, due: DueTimers) -> None:
        self.calls.append(due.keys)
        await note(tx, due)
        if self.deadly.intersection(due.keys):
            raise KeyError("any bug")
        if self.refused.intersection(due.keys):
            raise RuleViolation("no such thing", code="unheard-of")

    async def one(self) -> bool:
        """A process from its begin until nothing is due; `False` when it died before."""
        runs = TimerRuns(self.database, self.timer)
        try:
            while await runs.turn(NOON):
                pass
        except KeyError:
            return False
        return True

    async def parked(self) -> list[ParkedTimer]:
        async with self.database.begin() as tx:
            return await timers.parked(tx, None, after=0, limit=100)


@pytest.fixture
def lives(ledger_database: Database, monkeypatch: pytest.MonkeyPatch) -> Lives:
    """One life follows the other at once."""
    monkeypatch.setattr(timers, "HEAD_START", 0.0)
    return Lives(ledger_database)


async def test_many_processes_that_begin_at_once_are_not_many_deaths(ledger_database: Database) -> None:
    gate = Gate()
    await schedule(ledger_database, ["a"], NOON)
    timer = Timer("rescore", gate, batch=1)
    turns = [asyncio.create_task(TimerRuns(ledger_database, timer).turn(NOON)) for _ in range(2 * PARK_AFTER)]
    await gate.begun.wait()
    gate.finish.set()
    assert sum(await asyncio.gather(*turns)) == 1
    assert await ran(ledger_database) == Counter(["a"])


async def test_what_a_dead_process_had_begun_is_taken_up_by_another_a_moment_later(
    ledger_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "HEAD_START", 0.3)
    await schedule(ledger_database, ["a"], NOON)
    with pytest.raises(KeyError):
        await TimerRuns(ledger_database, Timer("rescore", fail)).turn(NOON)
    survivor = TimerRuns(ledger_database, Timer("rescore", note))
    assert not await survivor.turn(NOON)
    await asyncio.sleep(0.4)
    await survivor.turn(NOON)
    assert await ran(ledger_database) == Counter(["a"])


async def test_a_kind_that_fails_for_now_holds_up_no_other(ledger_database: Database) -> None:
    stop = asyncio.Event()

    async def unavailable(_: AsyncConnection, __: DueTimers) -> None:
        raise ConnectionResetError

    async def last(tx: AsyncConnection, due: DueTimers) -> None:
        await note(tx, due)
        stop.set()

    await schedule(ledger_database, ["a"], NOON)
    async with ledger_database.begin(ACME) as tx:
        await timers.schedule(tx, "freeze", ACME, ["q1"], NOON)
    kinds = [Timer("rescore", unavailable), Timer("freeze", last)]
    await asyncio.wait_for(timers.run_timers(ledger_database, kinds, utc_now, stop), 10)
    assert await ran(ledger_database) == Counter(["q1"])


@pytest.mark.parametrize("deadly", [3, 8], ids=["in the first batch", "in a later one"])
async def test_a_key_that_ends_the_process_again_and_again_is_parked_and_all_others_run(
    lives: Lives, deadly: int
) -> None:
    keys = [f"k-{number}" for number in range(12)]
    for place, key in enumerate(keys):
        await schedule(lives.database, [key], NOON - timedelta(minutes=60 - place), BETA if place % 2 else ACME)
    lives.deadly = {f"k-{deadly}"}
    deaths = 0
    while not await lives.one():
        deaths += 1
        assert deaths < 20
    assert PARK_AFTER <= deaths <= PARK_AFTER + SINGLE_AFTER + 1
    (parked,) = await lives.parked()
    assert (parked.provider, parked.kind, parked.key) == (BETA if deadly % 2 else ACME, "rescore", f"k-{deadly}")
    assert parked.because.startswith("crashed: ")
    assert await ran(lives.database) == Counter(key for key in keys if key != f"k-{deadly}")


async def test_a_key_in_the_second_of_two_batches_at_once_is_parked_after_two_deaths_more(
    ledger_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "HEAD_START", 0.0)
    dying = asyncio.Event()

    async def act(tx: AsyncConnection, due: DueTimers) -> None:
        if "k-7" in due.keys:
            dying.set()
            await asyncio.sleep(3600)
        await asyncio.sleep(0.2)  # so that what is at work beside it dies with it
        await note(tx, due)

    async def one() -> None:
        runs = TimerRuns(ledger_database, Timer("rescore", act, batch=2, together=True))
        while await runs.turn(NOON):
            pass

    for place in range(10):
        await schedule(ledger_database, [f"k-{place}"], NOON - timedelta(minutes=60 - place))
    deaths = 0
    while await died(asyncio.create_task(one()), dying):
        dying.clear()
        deaths += 1
    assert deaths == PARK_AFTER + SINGLE_AFTER + 2
    assert await ran(ledger_database) == Counter(f"k-{place}" for place in range(10) if place != 7)


async def died(process: asyncio.Task[None], dying: asyncio.Event) -> bool:
    """Whether it came to what kills it; it is killed then."""
    killer = asyncio.create_task(dying.wait())
    await asyncio.wait({process, killer}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    killer.cancel()
    if process.done():
        await process
        return False
    process.cancel()
    await asyncio.wait({process, killer})
    return True


async def test_a_key_that_is_refused_is_parked_with_the_reason_and_ends_nothing(lives: Lives) -> None:
    await schedule(lives.database, [f"k-{number}" for number in range(8)], NOON)
    lives.refused = {"k-1", "k-6"}
    assert await lives.one()
    assert [(parked.key, parked.because) for parked in await lives.parked()] == [
        ("k-1", "unheard-of: no such thing"),
        ("k-6", "unheard-of: no such thing"),
    ]
    assert await ran(lives.database) == Counter(f"k-{number}" for number in (0, 2, 3, 4, 5, 7))


async def test_a_process_killed_now_and_then_for_other_reasons_parks_nothing(lives: Lives) -> None:
    for _ in range(3 * PARK_AFTER):
        await schedule(lives.database, ["a"], NOON)
        runs = TimerRuns(lives.database, lives.timer)
        lives.deadly = {"a"}
        with pytest.raises(KeyError):
            await runs.turn(NOON)
        lives.deadly = set()
        assert await lives.one()
    assert await lives.parked() == []


async def test_no_number_of_transient_failures_parks_a_timer(ledger_database: Database) -> None:
    failures = [ConnectionResetError() for _ in range(2 * PARK_AFTER)]

    async def at_last(tx: AsyncConnection, due: DueTimers) -> None:
        if failures:
            raise failures.pop()
        await note(tx, due)

    await schedule(ledger_database, ["a"], NOON)
    runs = TimerRuns(ledger_database, Timer("rescore", at_last))
    while failures:
        with pytest.raises(ConnectionResetError):
            await runs.turn(NOON)
    await runs.turn(NOON)
    assert await ran(ledger_database) == Counter(["a"])


async def test_while_a_key_is_parked_what_is_scheduled_for_it_waits(lives: Lives) -> None:
    await schedule(lives.database, ["a", "b"], NOON)
    lives.refused = {"a"}
    assert await lives.one()
    lives.refused = set()
    for due_at in (NOON, NOON - timedelta(hours=1)):
        await schedule(lives.database, ["a"], due_at)
    assert await lives.one()
    assert await ran(lives.database) == Counter(["b"])
    (parked,) = await lives.parked()
    async with lives.database.begin() as tx:
        await timers.release(tx, ACME, parked.id)
    assert await lives.one()
    assert await ran(lives.database) == Counter(["a", "b"])
    assert await scheduled(lives.database) == []


async def test_however_much_waits_for_a_parked_key_holds_up_no_other(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "WINDOW", 5)
    lives.refused = {"a"}
    await schedule(lives.database, ["a"], NOON)
    assert await lives.one()
    for minutes in range(8):
        await schedule(lives.database, ["a"], NOON - timedelta(minutes=minutes))
    await schedule(lives.database, ["b"], NOON)
    assert await lives.one()
    assert await ran(lives.database) == Counter(["b"])


async def test_another_providers_parked_timer_is_as_absent_as_none_at_all(lives: Lives) -> None:
    await schedule(lives.database, ["a"], NOON)
    lives.refused = {"a"}
    assert await lives.one()
    (parked,) = await lives.parked()
    for act in (timers.release, timers.discard):
        async with lives.database.begin() as tx:
            with pytest.raises(NotFound):
                await act(tx, BETA, parked.id)
            assert await timers.parked(tx, BETA, after=0, limit=10) == []


async def test_timers_of_an_older_stack_keep_their_times_and_all_their_causes(postgres: PostgresServer) -> None:
    urls = ensure_service_database(postgres, "scoring", database=f"t_older_{uuid.uuid4().hex[:12]}")
    owner = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    try:
        for statement in statements(MACHINERY_0001):
            await owner.execute(statement)
        await owner.execute(
            "INSERT INTO timers VALUES ('rescore', 'acme', 'a', $1, '{x,y}'), ('freeze', 'beta', 'b', $1, '{}')", NOON
        )
        async with owner.transaction():
            for statement in statements(MACHINERY_0002):
                await owner.execute(statement)
        rows = await owner.fetch("SELECT kind, provider_id, key, due_at, cause FROM timers ORDER BY kind, cause")
        assert [tuple(row) for row in rows] == [
            ("freeze", "beta", "b", NOON, None),
            ("rescore", "acme", "a", NOON, "x"),
            ("rescore", "acme", "a", NOON, "y"),
        ]
    finally:
        await owner.close()
        drop_database(postgres, urls.name)


async def test_a_run_is_linked_to_all_that_caused_it_and_is_the_cause_of_what_it_announces(
    ledger_database: Database, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    async def announce(tx: AsyncConnection, due: DueTimers) -> None:
        outbox.append(tx, [kpi("k-1")])

    for name, key in (("first", "a"), ("second", "a"), ("third", "b")):
        with telemetry.span(name, SpanKind.SERVER, {}):
            await schedule(ledger_database, [key], NOON)
    await timers.run_due(ledger_database, Timer("rescore", announce), NOON)
    found = spans()
    run = found["timer rescore"]
    assert {link.context.span_id for link in run.links} == {span_id(found[n]) for n in ("first", "second", "third")}
    assert run.parent is None
    assert run.attributes == {telemetry.TIMER_KIND: "rescore", telemetry.BATCH_SIZE: 2}
    async with ledger_database.begin() as tx:
        (traceparent,) = (await tx.execute(text("SELECT traceparent FROM outbox"))).one()
    written = telemetry.parse_traceparent(traceparent)
    assert written is not None
    assert written.span_id == span_id(run)
