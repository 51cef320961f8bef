"""What the demo shows while it works: one line for each stage, a bar for what can be counted, a word while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

T = TypeVar("T")
Step = Callable[[int], None]


class Overdue(Exception):
    """What was waited for did not come."""


class Screen:
    def __init__(self, console: Console) -> None:
        self.console = console
        self._begun = time.monotonic()

    def say(self, line: str) -> None:
        self.console.print(f"{time.monotonic() - self._begun:6.1f} s  {line}", markup=False, highlight=False)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Step]:
        columns = (TextColumn("         {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as shown:
            task = shown.add_task(what, total=total)
            yield lambda done: shown.advance(task, done)

    async def until(self, what: str, probe: Callable[[], Awaitable[T | None]], within: float = 300) -> T:
        """Asks until there is something; says what it waits for."""
        begun, pause = time.monotonic(), 0.1
        columns = (SpinnerColumn(), TextColumn("        waiting until {task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as shown:
            shown.add_task(what, total=None)
            while True:
                found = await probe()
                if found is not None:
                    return found
                if time.monotonic() - begun > within:
                    raise Overdue(f"waited {within:.0f} s in vain until {what}")
                await asyncio.sleep(pause)
                pause = min(1.0, pause * 1.5)
