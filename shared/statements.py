"""SQL sent past SQLAlchemy: on a hot path its share of the time would be larger than the database's."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TypeVar

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import RuleViolation

_DIALECT = dialect()  # type: ignore[no-untyped-call]

T = TypeVar("T")

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Statement:
    """SQL with `:name` parameters, kept prepared by the driver. Errors are the driver's, or `ConnectionError`."""

    def __init__(self, sql: str) -> None:
        compiled = text(sql).compile(dialect=_DIALECT)
        self._sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())

    async def rows(self, tx: AsyncConnection, **values: object) -> list[asyncpg.Record]:
        """Run it as part of `tx`, which has begun."""
        if not driver_of(tx).is_in_transaction():
            raise RuntimeError("the statement would commit on its own")
        return await self._fetch(tx, values)

    async def rows_alone(self, connection: AsyncConnection, **values: object) -> list[asyncpg.Record]:
        """Run it as a transaction of its own."""
        return await self._fetch(connection, values)

    async def _fetch(self, connection: AsyncConnection, values: Mapping[str, object]) -> list[asyncpg.Record]:
        running = driver_of(connection).fetch(self._sql, *[values[name] for name in self._names])
        return await _unless_broken(connection, running)


async def send(connection: AsyncConnection, script: str) -> str:
    """Run several statements in one trip; what the last one says it did. Values in `script` are yours to quote."""
    return await _unless_broken(connection, driver_of(connection).execute(script))


async def _unless_broken(connection: AsyncConnection, running: Awaitable[T]) -> T:
    try:
        return await running
    except DRIVER_ERRORS as error:
        if not driver_of(connection).is_closed():
            raise
        # SQLAlchemy did not see it break, and would hand it out again.
        await connection.invalidate(error)
        raise ConnectionResetError("the connection to the database broke") from error


_SEPARATOR = "\x1f"


def column(values: Iterable[str]) -> str:
    """A column of rows as one parameter, which SQL takes apart again by `string_to_array(:name, E'\\x1f')`.

    The driver encodes an array element by element, and that costs more than inserting the rows. Where `''` is given to
    `string_to_array` as its third argument, an empty value stands for null; elsewhere there may be none. A value that
    contains the separator, a control character, is a `RuleViolation`.
    """
    found = tuple(values)
    joined = _SEPARATOR.join(found)
    if found and joined.count(_SEPARATOR) != len(found) - 1:
        raise RuleViolation("a value contains a control character", code="control-character")
    return joined


def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    pooled = connection.sync_connection
    if pooled is None or pooled.connection.driver_connection is None:
        raise RuntimeError("the connection was given back")
    driver: asyncpg.Connection = pooled.connection.driver_connection
    return driver
