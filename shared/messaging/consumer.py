"""The loop that turns a log into changed state, partition by partition.

Positions are loaded from the database and sought here, after every rebalance; offsets reported to the broker are a
lag report and decide nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from shared import telemetry
from shared.clock import Clock
from shared.database import Database
from shared.errors import PlumblineError, is_transient
from shared.messaging import positions
from shared.messaging.batches import Batches, Fenced
from shared.messaging.envelope import Record
from shared.messaging.log import LogBroken, LogReader, Partition
from shared.messaging.retries import backoff, pause, together
from shared.messaging.subscriptions import Subscription

_log = structlog.get_logger(__name__)

STALL_SECONDS = 30.0
TOGETHER = 3
"""Batches one process applies at once: while the database works for one, Python works for another."""


class DataLost(PlumblineError):
    """The log no longer has records that were never applied. Only a person can decide to go on."""


class Consumer:
    """Applies every subscription of one service through one group membership.

    `open_reader` makes a new group member; it is called again whenever the old one is beyond repair.
    """

    def __init__(
        self,
        database: Database,
        subscriptions: Sequence[Subscription],
        open_reader: Callable[[], LogReader],
        clock: Clock,
        *,
        batch_size: int = 1_000,
    ) -> None:
        self._database = database
        self._batches = Batches(database, subscriptions, clock)
        self._together = {found.topic.name for found in subscriptions if found.together}
        self._open_reader = open_reader
        self._batch_size = batch_size
        self._next: dict[Partition, int] = {}
        self._gaps: dict[Partition, tuple[int, int]] = {}
        self._fresh: set[Partition] = set()
        self._watched = 0.0
        self._last_poll = 0.0
        self._failures = 0

    def unready(self) -> str | None:
        """Why this loop cannot be relied on just now, or `None`."""
        # A poll brings several full batches; where they go record by record, the next one may be minutes away.
        seen = max(self._last_poll, self._batches.last_commit)
        if not seen:
            return "not yet a member of the group"
        if time.monotonic() - seen > STALL_SECONDS:
            return "the last poll and the last commit are too long ago"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; a batch at work is finished first. Raises on the first bug, `DataLost` or halt."""
        while not stop.is_set():
            reader = self._open_reader()
            self._next.clear()
            try:
                await reader.open()
                self._watched = time.monotonic()
                while not stop.is_set():
                    await self._turn(reader, stop)
            except LogBroken as error:
                _log.warning("consumer.rebuild", reason=str(error))
                await pause(stop, 1.0)
            finally:
                await reader.close()

    async def _turn(self, reader: LogReader, stop: asyncio.Event) -> None:
        try:
            await self._load_positions(reader)
            batches = await reader.poll(self._batch_size)
            await self._accept_all(reader, batches, stop)
        except Exception as error:
            if not is_transient(error):
                raise
            self._failures += 1
            self._next.clear()
            _log.warning("consumer.retry", failures=self._failures, error=type(error).__name__)
            await pause(stop, backoff(self._failures, longest=10))
            return
        self._failures = 0
        if reader.assigned():
            self._last_poll = time.monotonic()
        if moved := {partition: self._next[partition] for partition in batches if partition in self._next}:
            await reader.report(moved)
        await self._watch(reader)

    async def _load_positions(self, reader: LogReader) -> None:
        """Learn positions from the database and point the reader at them; whatever it had fetched before is void."""
        for void in self._next.keys() - reader.sought():
            del self._next[void]
            if void not in reader.assigned():
                telemetry.LAG_RECORDS.remove(*void)
                telemetry.LAG_SECONDS.remove(*void)
        unknown = sorted(reader.assigned() - self._next.keys())
        if not unknown:
            return
        firsts = await reader.first_offsets(unknown)
        async with self._database.begin() as tx:
            found = await positions.load(tx, firsts)
        # Asked for last: until it loses the position, the owner before us moves it on, also past an end seen earlier.
        ends = await reader.end_offsets(unknown)
        for partition in unknown:
            offset = found[partition]
            if not firsts[partition] <= offset <= ends[partition]:
                raise DataLost(
                    f"{partition.topic}/{partition.number} holds the offsets from {firsts[partition]} to "
                    f"{ends[partition]}, but we are at {offset}: what was never applied is gone, or the "
                    "topic was made anew"
                )
            reader.seek(partition, offset)
            self._next[partition] = offset
            self._fresh.add(partition)
            self._gaps.pop(partition, None)

    async def _accept_all(
        self, reader: LogReader, batches: Mapping[Partition, Sequence[Record]], stop: asyncio.Event
    ) -> None:
        # The first batch since a position was loaded goes alone: its attempt is counted, and what ends the process
        # beside it would be counted as its death too, until an innocent record was parked.
        beside = {each for each in batches if each.topic in self._together and each not in self._fresh}
        await self._accept_in_turn(reader, iter([each for each in batches.items() if each[0] not in beside]), stop)
        waiting = iter([each for each in batches.items() if each[0] in beside])
        await together(*(self._accept_in_turn(reader, waiting, stop) for _ in range(min(TOGETHER, len(beside)))))

    async def _accept_in_turn(
        self, reader: LogReader, waiting: Iterator[tuple[Partition, Sequence[Record]]], stop: asyncio.Event
    ) -> None:
        for partition, records in waiting:
            # Where a rebalance has just voided the seek, these records may start anywhere.
            if not stop.is_set() and partition in self._next and partition in reader.sought():
                await self._accept(reader, partition, records)

    async def _accept(self, reader: LogReader, partition: Partition, records: Sequence[Record]) -> None:
        expected = self._next[partition]
        pending = [record for record in records if record.offset >= expected]
        if not pending:
            reader.seek(partition, expected)
            return
        if pending[0].offset > expected and not await self._gap_is_real(reader, partition, expected, pending[0].offset):
            return
        started = time.monotonic()
        lag = max(0, reader.high_water(partition) - pending[-1].offset - 1)
        try:
            self._next[partition] = await self._batches.apply(
                partition, expected, pending, lag=lag, resuming=partition in self._fresh
            )
        except Fenced:
            del self._next[partition]
            return
        self._fresh.discard(partition)
        name = partition.topic
        telemetry.LAG_RECORDS.labels(*partition).set(lag)
        if announced := pending[-1].announced_at():
            telemetry.LAG_SECONDS.labels(*partition).set(max(0.0, time.time() - announced.timestamp()))
        telemetry.BATCH_SECONDS.labels(name).observe(time.monotonic() - started)
        telemetry.LAST_BATCH.labels(name).set_to_current_time()

    async def _gap_is_real(self, reader: LogReader, partition: Partition, expected: int, found: int) -> bool:
        """Whether offsets are missing in the log itself (compaction, control records).

        Records fetched before a seek look just like a gap, and taking them for one would skip what lies between:
        only what the next fetch from the same position shows again is believed.
        """
        first = (await reader.first_offsets([partition]))[partition]
        if first > expected:
            raise DataLost(f"{partition.topic}/{partition.number} starts at {first}, but {expected} was never applied")
        if self._gaps.get(partition) == (expected, found):
            return True
        self._gaps[partition] = (expected, found)
        reader.seek(partition, expected)
        return False

    async def _watch(self, reader: LogReader) -> None:
        """Throw the reader away when records wait and none arrive: a wedged member says nothing on its own."""
        if time.monotonic() - max(self._batches.last_commit, self._watched) < STALL_SECONDS:
            return
        self._watched = time.monotonic()
        ends = await reader.end_offsets(list(self._next))
        for partition, end in ends.items():
            behind = end - self._next[partition]
            if behind > 0:
                raise LogBroken(f"{behind} records wait in {partition.topic}/{partition.number} and none arrive")
