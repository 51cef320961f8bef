"""How the loops wait."""

from __future__ import annotations

import asyncio
import time
from itertools import permutations

import pytest

from shared.errors import RuleViolation
from shared.messaging.dead_letters import SubscriptionHalted
from shared.messaging.log import LogBroken
from shared.messaging.retries import backoff, pause, together


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    assert [backoff(failures, longest=1) for failures in (1, 2, 3, 4)] == [0.2, 0.4, 0.8, 1]


def test_an_outage_of_days_pauses_no_longer_than_the_longest() -> None:
    assert backoff(100_000, longest=15) == 15


async def test_a_pause_ends_with_the_wish_to_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    started = time.monotonic()
    await pause(stop, 60)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "by_gravity",
    [
        (KeyError("a bug"), RuleViolation("refused"), TimeoutError("for now")),
        (SubscriptionHalted("halted"), LogBroken("broken"), ConnectionResetError("for now")),
    ],
    ids=["in timers", "in batches"],
)
async def test_of_works_that_fail_together_the_gravest_is_heard_whatever_their_order(
    by_gravity: tuple[Exception, ...],
) -> None:
    async def fail(failure: Exception) -> None:
        raise failure

    for graver in range(len(by_gravity)):
        for failures in permutations(by_gravity[graver:]):
            with pytest.raises(type(by_gravity[graver])):
                await together(*map(fail, failures))
