"""Compare and set: however two owners interleave, what was applied tiles the log exactly once."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database import Database
from shared.messaging import positions
from shared.messaging.log import Partition

_PARTITIONS = itertools.count()
WRITE = text("INSERT INTO effects (provider, employee, event) VALUES (:partition, :start, :end)")
READ = text("SELECT employee::int AS start, event::int AS end FROM effects WHERE provider = :partition ORDER BY 1")


async def load(tx: AsyncConnection, partition: int, first: int = 0) -> int:
    where = Partition("t", partition)
    return (await positions.load(tx, {where: first}))[where]


@dataclass
class Owner:
    """Works on one partition, and believes what it last saw."""

    database: Database
    partition: int
    believed: int = 0

    async def reload(self) -> None:
        async with self.database.begin() as tx:
            self.believed = await load(tx, self.partition)

    async def apply(self, count: int, *, commits: bool, slowly: bool) -> bool:
        to = self.believed + count
        try:
            async with self.database.begin() as tx:
                if not await positions.advance(tx, Partition("t", self.partition), self.believed, to):
                    return False
                span = {"partition": str(self.partition), "start": str(self.believed), "end": str(to)}
                await tx.execute(WRITE, span)
                if slowly:
                    await asyncio.sleep(0.002)
                if not commits:
                    raise ConnectionResetError
        except ConnectionResetError:
            return True
        self.believed = to
        return True


step = st.tuples(st.integers(1, 5), st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(step, step), max_size=8))
async def test_two_owners_of_one_partition_apply_every_offset_exactly_once(
    ledger_database: Database, rounds: list[tuple[tuple[int, bool, bool, bool], tuple[int, bool, bool, bool]]]
) -> None:
    partition = next(_PARTITIONS)
    owners = [Owner(ledger_database, partition), Owner(ledger_database, partition)]
    for owner in owners:
        await owner.reload()
    for steps in rounds:
        await asyncio.gather(
            *(
                owner.apply(count, commits=commits, slowly=slowly)
                for owner, (count, commits, slowly, _) in zip(owners, steps, strict=True)
            )
        )
        for owner, (*_, reloads) in zip(owners, steps, strict=True):
            if reloads:
                await owner.reload()
    async with ledger_database.begin() as tx:
        applied = (await tx.execute(READ, {"partition": str(partition)})).all()
        end = await load(tx, partition)
    borders = [0, *(row.end for row in applied)]
    assert [row.start for row in applied] == borders[:-1]
    assert borders[-1] == end


async def test_of_two_at_the_same_position_the_second_waits_and_then_fails(ledger_database: Database) -> None:
    async with ledger_database.begin() as tx:
        await load(tx, 0)

    async def second() -> bool:
        async with ledger_database.begin() as tx:
            return await positions.advance(tx, Partition("t", 0), 0, 5)

    async with ledger_database.begin() as tx:
        assert await positions.advance(tx, Partition("t", 0), 0, 3)
        late = asyncio.create_task(second())
        await asyncio.sleep(0.1)
        assert not late.done()
    assert await late is False


async def test_a_position_that_exists_is_not_started_anew(ledger_database: Database) -> None:
    async with ledger_database.begin() as tx:
        assert await load(tx, 0, first=7) == 7
        assert await positions.advance(tx, Partition("t", 0), 7, 9)
    async with ledger_database.begin() as tx:
        assert await load(tx, 0, first=40) == 9


async def test_attempts_are_counted_until_the_position_moves(ledger_database: Database) -> None:
    async with ledger_database.begin() as tx:
        await load(tx, 0)
        counts = [await positions.count_attempt(tx, Partition("t", 0), 0) for _ in range(3)]
        assert counts == [1, 2, 3]
        assert await positions.count_attempt(tx, Partition("t", 0), 1) is None
        await positions.advance(tx, Partition("t", 0), 0, 1)
        assert await positions.count_attempt(tx, Partition("t", 0), 1) == 1
        await positions.forget_attempts(tx, Partition("t", 0), 1)
        assert await positions.count_attempt(tx, Partition("t", 0), 1) == 1
