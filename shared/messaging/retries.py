"""How the loops wait: for work, and longer and longer for a mended world."""

from __future__ import annotations

import asyncio


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not past `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def backoff(failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row; an outage of hours is many."""
    return min(0.1 * 2.0 ** min(failures, 10), longest)
