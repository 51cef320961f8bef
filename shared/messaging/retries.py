"""How the loops wait, for work or for a mended world, and how often they begin again with what kills."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from shared.errors import DomainError, is_transient
from shared.messaging.log import LogBroken

T = TypeVar("T")

SINGLE_AFTER = 2
"""Processes begun on one batch without progress, after which its records or keys are handled one by one."""
PARK_AFTER = 5
"""Processes begun on one record or key without progress, after which it is parked: it has ended that many."""


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not past `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def backoff(failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row; an outage of hours is many."""
    return min(0.1 * 2.0 ** min(failures, 10), longest)


async def together(*works: Coroutine[object, object, T]) -> list[T]:
    """What they return. Where some fail the others are finished first, and the gravest failure is raised."""
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    if failures := [each for each in outcomes if isinstance(each, BaseException)]:
        raise min(failures, key=_after_graver)
    return [each for each in outcomes if not isinstance(each, BaseException)]


def _after_graver(failure: BaseException) -> int:
    """Whoever calls goes on after a refusal, a broken log and a transient failure; each comes back when its work does.

    A bug raised after one of these would be handled with it, and never be seen.
    """
    if is_transient(failure):
        return 2
    return 1 if isinstance(failure, DomainError | LogBroken) else 0
