"""A process is a group of peers: the first to end ends all, the last started first, within a deadline."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs until its `stop` is set and then finishes what it has in hand."""

    name: str
    run: Callable[[asyncio.Event], Coroutine[object, object, None]]


async def run(parts: Sequence[Part], drain_seconds: float) -> None:
    """Run all parts until SIGTERM, SIGINT or the end of one of them.

    Parts stop one after the other in reverse order, so list first what others lean on: requests end before the relay
    that announces them. What has not ended at the deadline is cancelled. An error of a part is raised.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    stops = [asyncio.Event() for _ in parts]
    tasks = [asyncio.create_task(part.run(stop), name=part.name) for part, stop in zip(parts, stops, strict=True)]
    asking = asyncio.create_task(asked.wait(), name="signal")
    try:
        ended, _ = await asyncio.wait([asking, *tasks], return_when=asyncio.FIRST_COMPLETED)
        _log.info("supervise.drain", ended=sorted(task.get_name() for task in ended))
        deadline = loop.time() + drain_seconds
        for task, stop in reversed(list(zip(tasks, stops, strict=True))):
            stop.set()
            _, late = await asyncio.wait([task], timeout=max(0.0, deadline - loop.time()))
            if late:
                _log.warning("supervise.cut_off", part=task.get_name())
                task.cancel()
    finally:
        asking.cancel()
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
