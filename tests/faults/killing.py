"""Processes that die at the worst moment."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from deploy.local.child import Backoff
from deploy.services import SERVICES
from tests.faults.rig import IsOpen, Rig

_LOOKS = 400


@dataclass
class Kills:
    by_service: Counter[str] = field(default_factory=Counter)
    in_open_batch: int = 0

    @property
    def total(self) -> int:
        return self.by_service.total()

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {number}" for name, number in sorted(self.by_service.items()))
        return f"{self.total} kills ({shares}), {self.in_open_batch} with a transaction open"


async def kill_at_random(rig: Rig, kills: Kills, wanted: int, random: Random) -> None:
    """`kill -9` until there were `wanted`, each at a service that has run well, preferably inside a transaction.

    Whether a kill hit an open transaction is seen, not guessed: the process is stopped, PostgreSQL is asked, and only
    then it is killed.
    """
    since: dict[str, float] = dict.fromkeys(SERVICES, 0.0)
    async with rig.activity() as is_open:
        while kills.total < wanted:
            rested = [name for name in SERVICES if time.monotonic() - since[name] > Backoff().well + 1]
            ready = [name for name in rested if rig.is_ready(name)]
            if not ready:
                await asyncio.sleep(0.2)
                continue
            name = random.choice(ready)
            hit = await _kill_inside(rig, name, is_open)
            if hit is not None:
                kills.by_service[name] += 1
                kills.in_open_batch += hit
                since[name] = time.monotonic()


async def _kill_inside(rig: Rig, name: str, is_open: IsOpen) -> bool | None:
    """Whether the kill hit an open transaction; `None` when there was nobody to kill."""
    found = rig.process(name)
    if found is None:
        return None
    hit = False
    for look in range(_LOOKS):
        if not found.alive():
            return None
        if await is_open(name) or look == _LOOKS - 1:
            os.kill(found.pid, signal.SIGSTOP)
            hit = bool(await is_open(name))
            if hit or look == _LOOKS - 1:
                break
            os.kill(found.pid, signal.SIGCONT)
        await asyncio.sleep(0.005)
    os.kill(found.pid, signal.SIGKILL)
    return hit
