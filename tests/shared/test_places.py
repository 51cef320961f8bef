"""Places are handed on in the order of the line, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from shared.places import Places


async def queue(places: Places, count: int, served: list[int]) -> list[asyncio.Task[None]]:
    """So many who wait in line, in the order of their numbers."""

    async def work(number: int) -> None:
        await places.take()
        served.append(number)

    waiting = [asyncio.create_task(work(number)) for number in range(count)]
    await asyncio.sleep(0)
    return waiting


async def test_a_place_goes_to_whoever_has_waited_longest() -> None:
    places, served = Places(1, 30), list[int]()
    await places.take()
    waiting = await queue(places, 3, served)
    for _ in waiting:
        places.give()
    await asyncio.gather(*waiting)
    assert served == [0, 1, 2]


async def test_nobody_waits_longer_than_is_allowed() -> None:
    places = Places(1, 0.05)
    await places.take()
    with pytest.raises(TimeoutError):
        await places.take()
    places.give()
    await places.take()


async def test_who_gives_up_loses_no_place_for_the_others() -> None:
    places, served = Places(1, 30), list[int]()
    await places.take()
    gone, here = await queue(places, 2, served)
    gone.cancel()
    places.give()
    await here
    assert served == [1]


async def test_a_place_that_is_handed_over_to_somebody_who_is_cancelled_goes_on_to_the_next() -> None:
    places, served = Places(1, 30), list[int]()
    await places.take()
    cancelled, here = await queue(places, 2, served)
    places.give()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await asyncio.wait_for(here, 1)
    assert served == [1]
