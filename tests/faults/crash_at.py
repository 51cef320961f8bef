"""Runs a service that kills itself between two steps of a batch: `python -m tests.faults.crash_at TRIGGER SERVICE`.

A step is a statement or the commit of the transaction that moves a position. While the file TRIGGER holds a number N,
the process dies with SIGKILL before the N-th step after the first statement of a batch; N + 1 beyond the last one is
after the commit. The file is removed in dying, so that the next process lives.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from shared.process import main
from shared.statements import Statement

_MOVES = "UPDATE positions SET next_offset"


class Bomb:
    """Counts the steps of each batch's transaction, by connection."""

    def __init__(self, trigger: Path) -> None:
        self._trigger = trigger
        self._steps: dict[int, int] = {}

    def before_statement(
        self,
        connection: Connection,
        cursor: DBAPICursor,
        statement: str,
        parameters: object,
        context: ExecutionContext | None,
        executemany: bool,
    ) -> None:
        key = id(connection)
        if statement.strip().startswith(_MOVES):
            self._steps[key] = 0
        if key in self._steps:
            self._step(key)

    def before_driver_statement(self, connection: AsyncConnection) -> None:
        """A statement that SQLAlchemy does not see."""
        key = id(connection.sync_connection)
        if key in self._steps:
            self._step(key)

    def after_end(self, key: int) -> None:
        """The transaction is over: a step of its own, between the commit and whatever follows it."""
        if key in self._steps:
            self._step(key)
            del self._steps[key]

    def _step(self, key: int) -> None:
        self._steps[key] += 1
        try:
            armed = int(self._trigger.read_text())
        except (FileNotFoundError, ValueError):
            return
        if self._steps[key] == armed:
            self._trigger.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def install(trigger: Path) -> None:
    bomb = Bomb(trigger)
    event.listen(Engine, "before_cursor_execute", bomb.before_statement)
    _watch_the_end(bomb)
    send = Statement._fetch

    async def watched(
        statement: Statement, connection: AsyncConnection, values: Mapping[str, object]
    ) -> list[asyncpg.Record]:
        bomb.before_driver_statement(connection)
        return await send(statement, connection, values)

    Statement._fetch = watched  # type: ignore[assignment, method-assign]


def _watch_the_end(bomb: Bomb) -> None:
    commit, undo = database._commit, database._undo

    async def committed(connection: AsyncConnection) -> None:
        bomb.before_driver_statement(connection)
        await commit(connection)
        bomb.after_end(id(connection.sync_connection))

    async def undone(connection: AsyncConnection) -> None:
        key = id(connection.sync_connection)
        await undo(connection)
        bomb.after_end(key)

    database._commit = committed  # type: ignore[assignment]
    database._undo = undone


if __name__ == "__main__":
    _, path, name = sys.argv
    del sys.argv[1:]
    install(Path(path))
    main(importlib.import_module(f"services.{name}.app").SERVICE)
