"""What the consumer loop needs of a partitioned log. Kafka is one; the tests' memory broker is the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from shared.errors import PlumblineError
from shared.messaging.envelope import Record


class Partition(NamedTuple):
    topic: str
    number: int


class LogBroken(PlumblineError):
    """The connection to the log is beyond repair; close the reader and open a new one."""


class LogReader(Protocol):
    """One member of a consumer group.

    `poll` returns at most `limit` records of each of some assigned partitions, in offset order, starting where `seek`
    last pointed; none is left out for good. Every rebalance voids every seek, also those of partitions that stay: until
    the next one their records may start anywhere. Every method but `close` may raise `LogBroken`.
    """

    async def open(self) -> None: ...

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]: ...

    def assigned(self) -> frozenset[Partition]: ...

    def sought(self) -> frozenset[Partition]:
        """Those of `assigned` whose last seek still holds."""
        ...

    def seek(self, partition: Partition, offset: int) -> None: ...

    async def first_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]: ...

    async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]: ...

    def high_water(self, partition: Partition) -> int:
        """The end of the partition as far as the last fetch told; 0 when none did."""
        ...

    async def report(self, positions: Mapping[Partition, int]) -> None:
        """Tell the log's operators how far this group is. Decides nothing, and never fails."""
        ...

    async def close(self) -> None: ...
