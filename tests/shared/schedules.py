"""Schedules that hypothesis makes up, over the memory broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from pydantic import SecretStr

from shared.contracts.topics import KPI_EVENTS
from shared.messaging.log import LogReader, Partition
from shared.settings import ServiceSettings
from tests.memory_broker import MemoryBroker, MemoryProducer
from tests.shared.disturbances import EMPLOYEES, Sending, World, new_world
from tests.shared.ledger import SERVICE

PARTITIONS = KPI_EVENTS.partitions


class InMemory:
    def __init__(self) -> None:
        self.inside = MemoryBroker({KPI_EVENTS.name: PARTITIONS})

    def producer(self) -> MemoryProducer:
        return self.inside.producer()

    def reader(self) -> LogReader:
        return self.inside.reader(SERVICE, [KPI_EVENTS.name])

    def expelled_reader(self) -> LogReader:
        return self.inside.reader(f"{SERVICE}-{uuid.uuid4()}", [KPI_EVENTS.name])

    async def rebalance(self) -> None:
        self.inside.shake(SERVICE)

    async def mislead(self) -> None:
        partitions = [Partition(KPI_EVENTS.name, number) for number in range(PARTITIONS)]
        self.inside.commit(SERVICE, {partition: self.inside.log(partition).end for partition in partitions})


ANNOUNCEMENT = st.tuples(st.integers(0, EMPLOYEES - 1), st.integers(1, 6), st.sampled_from([True, True, True, False]))
"""Of which employee, how many events, and whether the transaction commits."""


class Disturbances(RuleBasedStateMachine):
    """Each rule is one step of the world; `teardown` lets it come to rest and compares.

    A precondition may ask what the schedule did, never how far a consumer came: that is a matter of time, and
    hypothesis could not play the schedule again.
    """

    database_url: SecretStr

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        nowhere = ServiceSettings(
            database_url=self.database_url, kafka_bootstrap="-", oidc_issuer="http://127.0.0.1", http_port=0
        )
        self._log = InMemory()
        self._world: World = self._runner.run(new_world(self._log, nowhere))

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        self._runner.run(step)

    @rule(announcements=st.lists(ANNOUNCEMENT, min_size=1, max_size=4), fate=st.sampled_from(Sending))
    def arrive(self, announcements: list[tuple[int, int, bool]], fate: Sending) -> None:
        for employee, count, commits in announcements:
            self._do(self._world.announce(employee, count, commits=commits))
        self._do(self._world.relay(fate))

    @precondition(lambda self: self._world.committed)
    @rule(batch_size=st.integers(1, 5), borders=st.integers(1, 14), rebalances=st.booleans())
    def consume(self, batch_size: int, borders: int, rebalances: bool) -> None:
        self._do(self._world.consume(batch_size, borders=borders, rebalances=rebalances))

    @rule(late=st.booleans())
    def seek_late(self, late: bool) -> None:
        self._log.inside.late_seeks = late

    @precondition(lambda self: self._world.committed)
    @rule(batch_size=st.integers(1, 3), passes=st.integers(0, 2))
    def freeze(self, batch_size: int, passes: int) -> None:
        self._do(self._world.freeze(batch_size, passes=passes))

    @precondition(lambda self: self._world.committed)
    @rule()
    def mislead(self) -> None:
        self._do(self._log.mislead())

    @precondition(lambda self: self._world.held)
    @rule()
    def thaw(self) -> None:
        self._do(self._world.thaw())

    def teardown(self) -> None:
        try:
            self._do(self._world.end())
        finally:
            self._runner.run(self._world.database.close())
            self._runner.close()


def run_schedules(database_url: str, count: int) -> None:
    Disturbances.database_url = SecretStr(database_url)
    run_state_machine_as_test(
        Disturbances,
        settings=settings(
            max_examples=count, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
