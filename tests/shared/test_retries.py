"""How the loops wait."""

from __future__ import annotations

import asyncio
import time

from shared.messaging.retries import backoff, pause


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
