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
        self._shown = 0

    def say(self, line: str) -> None:
        passed = f"{time.monotonic() - self._begun:6.1f} s"
        self.console.print(f"{passed}  {line}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Step]:
        columns = (TextColumn("          {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with self._live(Progress(*columns, console=self.console, transient=self.console.is_terminal)) as shown:
            if shown is None:
                yield lambda done: None
                return
            task = shown.add_task(what, total=total)
            yield lambda done: shown.advance(task, done)

    async def until(self, what: str, probe: Callable[[], Awaitable[T | None]], within: float = 300) -> T:
        """Asks until there is something; says what it waits for."""
        found = await probe()
        if found is not None:
            return found
        begun, pause = time.monotonic(), 0.1
        with self._waiting(what):
            while time.monotonic() - begun < within:
                await asyncio.sleep(pause)
                found = await probe()
                if found is not None:
                    return found
                pause = min(1.0, pause * 1.5)
        raise Overdue(f"waited {within:.0f} s in vain until {what}")

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        if not self.console.is_terminal:
            # A log is not filled with what lasted a moment.
            yield
            return
        columns = (SpinnerColumn(), TextColumn("        waiting until {task.description}"), TimeElapsedColumn())
        with self._live(Progress(*columns, console=self.console, transient=True)) as shown:
            if shown is not None:
                shown.add_task(what, total=None)
            yield

    @contextmanager
    def _live(self, progress: Progress) -> Iterator[Progress | None]:
        """One at a time is all a terminal can show; whoever comes while another is shown works unseen."""
        self._shown += 1
        try:
            if self._shown > 1:
                yield None
                return
            with progress:
                yield progress
        finally:
            self._shown -= 1
