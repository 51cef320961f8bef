"""How many may work at once. The others wait in line, and a timer apiece is all that it costs them."""

from __future__ import annotations

import asyncio
from collections import deque


class Places:
    """Whoever took a place gives it back. Nobody waits longer than `seconds`: that is a `TimeoutError`."""

    def __init__(self, count: int, seconds: float) -> None:
        self._free = count
        self._seconds = seconds
        self._line: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._line.append(turn)
        clock = loop.call_later(self._seconds, _expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The place may have been handed over in the moment of the cancellation, and would be lost.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()
            raise
        finally:
            clock.cancel()

    def give(self) -> None:
        """To the next in line, who has it from this moment: nobody who comes later is before him."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _expire(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError("no connection became free"))
