"""One service's relay and consumer over one log, with a death, a rebalance or a lost answer at any point.

The same steps run over the memory broker and over Kafka. Whatever happened, in the end every event that was committed
has taken effect, each record of the log exactly once, and per employee in the order of commits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import utc_now
from shared.contracts.ids import ProviderId
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.messaging import outbox
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Batch
from shared.messaging.log import LogReader
from shared.messaging.relay import Relay
from shared.messaging.subscriptions import Subscription
from shared.settings import ServiceSettings
from tests.shared.brokers import HeldReader
from tests.shared.ledger import SERVICE, WRITE_EFFECTS, empty_tables, eventually, kpi

EMPLOYEES = 4


class Death(BaseException):
    """Nobody catches it, as nobody catches a SIGKILL."""


class MortalDatabase(Database):
    """Dies at the n-th border of a transaction from now: before commits the odd ones, after commits the even ones."""

    def __init__(self, url: SecretStr) -> None:
        super().__init__(url)
        self.borders_left: int | None = None

    def _border(self) -> None:
        if self.borders_left is not None:
            self.borders_left -= 1
            if self.borders_left <= 0:
                raise Death

    @asynccontextmanager
    async def begin(
        self, provider: ProviderId | None = None, *, snapshot: bool = False, kept_plans: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        async with super().begin(provider, snapshot=snapshot, kept_plans=kept_plans) as tx:
            yield tx
            self._border()
        self._border()


class Sending(Enum):
    """What becomes of a batch of the relay's. Both kinds of failure look alike to it."""

    ANSWERED = "written and acknowledged"
    UNANSWERED = "written, but the answer is lost"
    UNSENT = "never written"


class LossyProducer:
    """Hands on what is to be written, and answers as told."""

    def __init__(self, inner: AIOKafkaProducer, fate: Sending, sent: Callable[[int], None]) -> None:
        self._inner = inner
        self._fate = fate
        self._sent = sent

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[object]:
        if self._fate is Sending.UNSENT:
            self._sent(0)
            raise KafkaTimeoutError
        answer: asyncio.Future[object] = await self._inner.send_batch(batch, topic, partition=partition)
        await answer
        self._sent(batch.record_count())
        if self._fate is Sending.UNANSWERED:
            raise KafkaTimeoutError
        return answer


class Log(Protocol):
    """A broker as the steps use it."""

    def producer(self) -> AIOKafkaProducer:
        """Kafka's, or what takes its place."""
        ...

    def reader(self) -> LogReader: ...

    def expelled_reader(self) -> LogReader:
        """Reads on although the group has given its partitions to others; in a group of its own, that is."""
        ...

    async def rebalance(self) -> None: ...

    async def mislead(self) -> None:
        """Have the group's committed offsets say that everything was read."""
        ...


@dataclass
class World:
    """The steps. `committed` is what an undisturbed run makes of them."""

    log: Log
    database: MortalDatabase
    settings: ServiceSettings
    committed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    records: int = 0
    """How many the log holds."""
    _rebalances: bool = False
    held: list[tuple[HeldReader, asyncio.Task[None], asyncio.Event]] = field(default_factory=list)

    async def _apply(self, tx: AsyncConnection, batch: Batch) -> None:
        found = [(delivery.event, delivery.offset) for delivery in batch.deliveries]
        values = {
            "provider": batch.provider,
            "employees": [event.employee for event, _ in found if isinstance(event, KpiRecorded)],
            "events": [f"{event.event}@{offset}" for event, offset in found if isinstance(event, KpiRecorded)],
        }
        await tx.execute(WRITE_EFFECTS, values)
        if self._rebalances:
            self._rebalances = False
            await self.log.rebalance()

    def _consumer(self, reader: Callable[[], LogReader], batch_size: int) -> Consumer:
        subscription = Subscription(KPI_EVENTS, self._apply)
        return Consumer(self.database, [subscription], reader, utc_now, batch_size=batch_size)

    async def announce(self, employee: int, count: int, *, commits: bool) -> None:
        name = f"e-{employee}"
        already = sum(map(len, self.committed.values()))
        events = [kpi(f"k-{already + number}", name) for number in range(count)]
        try:
            async with self.database.begin() as tx:
                outbox.append(tx, events)
                if not commits:
                    raise Death
        except Death:
            return
        self.committed[name].extend(event.event for event in events)

    async def relay(self, fate: Sending) -> None:
        """One relay's life: it ends when the outbox is empty, or with the first failure."""

        def sent(count: int) -> None:
            self.records += count
            if fate is not Sending.ANSWERED:
                stop.set()

        stop = asyncio.Event()
        producer = LossyProducer(self.log.producer(), fate, sent)
        relay = Relay(SERVICE, self.settings, asyncio.Event(), lambda: producer)
        running = asyncio.create_task(relay.run(stop))

        async def over() -> bool:
            return stop.is_set() or not await self._count("outbox")

        await eventually(over, within=5)
        stop.set()
        await running

    async def consume(self, batch_size: int, *, borders: int | None = None, rebalances: bool = False) -> None:
        """One consumer's life: it ends at a border of a transaction, or when nothing waits."""
        self.database.borders_left = borders
        self._rebalances = rebalances
        stop = asyncio.Event()
        running = asyncio.create_task(self._consumer(self.log.reader, batch_size).run(stop))

        async def over() -> bool:
            return running.done() or await self._all_applied()

        await eventually(over, within=5)
        self.database.borders_left = None
        self._rebalances = False
        stop.set()
        await asyncio.gather(running, return_exceptions=True)

    async def freeze(self, batch_size: int, *, passes: int) -> None:
        """A consumer that has polled and then stands still: it will go on when others are long past it."""
        held = HeldReader(self.log.expelled_reader(), passes=passes)
        stop = asyncio.Event()
        running = asyncio.create_task(self._consumer(lambda: held, batch_size).run(stop))

        async def over() -> bool:
            return held.polled.is_set() or await self._all_applied()

        await eventually(over, within=5)
        self.held.append((held, running, stop))

    async def thaw(self) -> None:
        while self.held:
            held, running, stop = self.held.pop(0)
            held.go_on.set()
            await asyncio.sleep(0.01)
            stop.set()
            with suppress(Death):  # another's death counted its transactions, too
                await running

    async def end(self) -> None:
        """Let everything come to rest, and compare."""
        await self.thaw()
        await self.relay(Sending.ANSWERED)
        await self.consume(1_000)
        async with self.database.begin() as tx:
            effects = (await tx.execute(text("SELECT employee, event FROM effects ORDER BY place"))).all()
        assert len({(row.employee, row.event) for row in effects}) == len(effects), "a record took effect twice"
        assert len(effects) == self.records, "a record took no effect"
        first: dict[str, list[str]] = defaultdict(list)
        for employee, event in effects:
            name = event.split("@")[0]
            if name not in first[employee]:
                first[employee].append(name)
        assert dict(first) == {name: found for name, found in self.committed.items() if found}

    async def _count(self, table: str) -> int:
        async with Database.begin(self.database) as tx:
            return int((await tx.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # noqa: S608

    async def _all_applied(self) -> bool:
        return await self._count("effects") >= self.records


async def new_world(log: Log, settings: ServiceSettings) -> World:
    database = MortalDatabase(settings.database_url)
    await empty_tables(database)
    return World(log, database, settings)
