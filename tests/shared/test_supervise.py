"""A process is a group of peers that end together."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from shared.messaging.supervise import Part, run


class Diary:
    """Parts that write down when they end."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def part(self, name: str, *, takes: float = 0.0) -> Part:
        async def work(stop: asyncio.Event) -> None:
            try:
                await stop.wait()
                await asyncio.sleep(takes)
            except asyncio.CancelledError:
                self.entries.append(f"{name} was cut off")
                raise
            self.entries.append(f"{name} finished")

        return Part(name, work)

    def ending(self, name: str, error: Exception | None = None) -> Part:
        async def work(_: asyncio.Event) -> None:
            await asyncio.sleep(0.01)
            self.entries.append(f"{name} ended")
            if error:
                raise error

        return Part(name, work)


async def test_the_first_part_to_end_ends_the_others_in_reverse_order() -> None:
    diary = Diary()
    await run([diary.part("relay"), diary.part("consumer", takes=0.05), diary.ending("timers"), diary.part("http")], 5)
    assert diary.entries == ["timers ended", "http finished", "consumer finished", "relay finished"]


async def test_a_part_is_asked_to_stop_only_when_those_that_lean_on_it_have_stopped() -> None:
    diary = Diary()
    asked: list[float] = []

    async def relay(stop: asyncio.Event) -> None:
        await stop.wait()
        asked.append(time.monotonic())

    begun = time.monotonic()
    await run([Part("relay", relay), diary.ending("timers"), diary.part("http", takes=0.2)], 5)
    assert asked[0] - begun >= 0.2


async def test_an_error_of_a_part_is_raised_when_all_have_ended() -> None:
    diary = Diary()
    with pytest.raises(KeyError):
        await run([diary.part("relay"), diary.ending("consumer", KeyError("any bug")), diary.part("http")], 5)
    assert diary.entries == ["consumer ended", "http finished", "relay finished"]


async def test_sigterm_lets_every_part_finish_what_it_has_in_hand() -> None:
    diary = Diary()
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
    await run([diary.part("relay"), diary.part("http", takes=0.1)], 5)
    assert diary.entries == ["http finished", "relay finished"]


async def test_what_has_not_ended_at_the_deadline_is_cut_off() -> None:
    diary = Diary()
    begun = time.monotonic()
    await run([diary.part("relay", takes=60), diary.ending("timers"), diary.part("http", takes=60)], 0.2)
    assert time.monotonic() - begun < 2
    assert diary.entries == ["timers ended", "http was cut off", "relay was cut off"]


async def test_cancelled_itself_it_leaves_no_part_running() -> None:
    diary = Diary()
    group = asyncio.create_task(run([diary.part("relay"), diary.part("http")], 5))
    await asyncio.sleep(0.05)
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group
    assert sorted(diary.entries) == ["http was cut off", "relay was cut off"]
