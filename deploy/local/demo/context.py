"""What every stage of the demo works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from deploy.local.demo.client import Answer, Api, Refused
from deploy.local.demo.desk import Desk
from deploy.local.demo.expectation import Expected
from deploy.local.demo.journal import Journal
from deploy.local.demo.screen import Screen
from deploy.local.demo.world import World
from deploy.local.layout import Stack

T = TypeVar("T")
AT_ONCE = 4
"""Requests in flight where many people act."""


@dataclass
class Course:
    """One walk through a quarter of one world on one stack."""

    stack: Stack
    world: World
    expected: Expected
    api: Api
    desk: Desk
    screen: Screen
    journal: Journal
    seconds: dict[str, float] = field(default_factory=dict)

    async def when_ready(
        self, what: str, call: Callable[[], Awaitable[Answer]], *reasons: str, within: float = 300
    ) -> Answer:
        """The answer of a call that may be too early: refusals for these reasons are waited out."""

        async def attempt() -> Answer | None:
            try:
                return await call()
            except Refused as refused:
                if refused.reason in reasons:
                    return None
                raise

        return await self.screen.until(what, attempt, within)

    async def found(self, service: str, path: str, token: str, **params: str | int | bool) -> Answer | None:
        """The answer of a GET, or `None` where there is no such thing (yet)."""
        try:
            return await self.api.get(service, path, token, **params)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def unless_done(self, call: Awaitable[Answer], *reasons: str) -> Answer | None:
        """The answer of a call that an earlier run may have made already, which the service then says."""
        try:
            return await call
        except Refused as refused:
            if refused.reason in reasons:
                return None
            raise


async def each(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], step: Callable[[int], None] = lambda done: None
) -> None:
    """Works on a few of the items at a time; the first failure ends it."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)
            step(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
