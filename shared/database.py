"""One transaction per unit of work, opened at the edge, confined to one provider; the only place that commits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import AdaptedConnection, Connection, event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from shared.contracts.ids import ProviderId
from shared.messaging import outbox
from shared.messaging.schema import PROVIDER_SETTING
from shared.statements import DRIVER_ERRORS, Statement, driver_of, send

_log = structlog.get_logger(__name__)

PLATFORM = ProviderId("-")
"""Stands for no provider at all: what an operator does before or beside any tenant."""

NOBODY = ProviderId("")
"""Entered by a transaction that has no provider yet: no row is this provider's."""

FROZEN_SECONDS = 60
"""How long a process may stand still before the server ends its session: its locks hold up whoever takes over."""

_MIGRATION_LOCK = 7_201_853_001


def session_settings() -> dict[str, str]:
    return {
        "jit": "off",
        "TimeZone": "UTC",
        # A plan kept from when a table was empty is kept while it grows by thousands of rows a second, until
        # statistics are taken again; and no kept plan knows how long the array of a set-based statement is. The
        # exceptions say `kept_plans`.
        "plan_cache_mode": "force_custom_plan",
        "idle_in_transaction_session_timeout": f"{FROZEN_SECONDS}s",
    }


class Database:
    """A pool of connections of the role that may not own tables nor bypass row-level security."""

    def __init__(self, url: SecretStr, pool_size: int = 10) -> None:
        self.engine = create_async_engine(
            url.get_secret_value(),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=30,
            connect_args={
                "server_settings": session_settings(),
                "command_timeout": 60,
                "connection_class": _Driver,
            },
            hide_parameters=True,  # errors are logged, and parameters hold names and pay
        )
        event.listen(self.engine.sync_engine, "checkout", _require_open)
        self.announced = asyncio.Event()
        """Set after every commit that left outbox rows; the relay of this process waits for it."""

    @asynccontextmanager
    async def begin(
        self, provider: ProviderId | None = None, *, snapshot: bool = False, kept_plans: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits when the block ends and is undone when it raises.

        With a provider, rows of others neither show nor can be written; without one, no tenant row at all shows. On a
        `snapshot` every statement sees the state of the beginning, and to change a row that was changed since is a
        transient error. With `kept_plans` a statement is planned once per connection: only where every table is
        asked by its key and, if it has another index, in the order of its key.
        """
        async with self._connection() as tx:
            outbox.open_for(tx)
            await send(tx, _opening(provider or NOBODY, snapshot, kept_plans))
            yield tx
            announces = await outbox.write_pending(tx)
            await _commit(tx)
        if announces:
            self.announced.set()

    async def look(self, statement: Statement, **values: object) -> list[asyncpg.Record]:
        """Run one statement in a transaction of its own that no provider has entered."""
        async with self._connection() as connection:
            return await statement.rows_alone(connection, **values)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        connection = await self.engine.connect()
        try:
            yield connection
        except BaseException:
            await _undo(connection)
            raise
        await connection.close()

    async def close(self) -> None:
        await self.engine.dispose()


def _require_open(pooled: AdaptedConnection, *_: object) -> None:
    """Have the pool replace a connection that broke while nobody used it, or whose undoing was itself cancelled."""
    driver: asyncpg.Connection = pooled.driver_connection
    if driver.is_closed() or driver.is_in_transaction():
        raise DisconnectionError


# A plan that is kept from when a table was empty would read all of it, and is kept while it grows. Without a sort, an
# index that has the order asked for is taken whatever others seem to cost.
_KEEP_PLANS = (
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;"
)
_PROVIDER = re.compile(r"[A-Za-z0-9._-]*")


def _opening(provider: ProviderId, snapshot: bool, kept_plans: bool) -> str:
    if not _PROVIDER.fullmatch(provider):
        raise ValueError("this is no provider's id")
    script = "BEGIN ISOLATION LEVEL REPEATABLE READ;" if snapshot else "BEGIN;"
    if kept_plans:
        script += _KEEP_PLANS
    script += f"SET LOCAL {PROVIDER_SETTING} = '{provider}';"
    # Only a query takes the snapshot: BEGIN alone would leave that to whichever comes first in the block.
    return script + "SELECT" if snapshot else script


async def _commit(tx: AsyncConnection) -> None:
    # SQLAlchemy ends only what it has run a statement in, and its listeners hear of the commit.
    if tx.in_transaction():
        await tx.commit()
    if driver_of(tx).is_in_transaction():
        _confirm(await send(tx, "COMMIT"))


async def _undo(connection: AsyncConnection) -> None:
    """Undo and give back. The caller learns of what brought it here, so nothing is raised for what fails in this."""
    try:
        if connection.in_transaction():
            await connection.rollback()
        if not connection.invalidated and not driver_of(connection).is_closed():
            # Also where the driver knows of no transaction: a BEGIN that nobody waited for may have begun one since.
            await send(connection, "ROLLBACK")
    except (SQLAlchemyError, *DRIVER_ERRORS, OSError) as error:
        _log.warning("database.not-undone", error=type(error).__name__)
        await connection.invalidate()
    finally:
        await connection.close()


class _Driver(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection whose transaction may have begun before SQLAlchemy runs a statement in it.

    SQLAlchemy begins one at its first statement; where one runs by then, that is the one it means.
    """

    def transaction(self, **options: object) -> object:
        return _Running(self) if self.is_in_transaction() else super().transaction(**options)


class _Running:
    """asyncpg's `Transaction`, as far as SQLAlchemy uses it, of a transaction that has begun."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver

    async def start(self) -> None:
        pass

    async def commit(self) -> None:
        _confirm(await self._driver.execute("COMMIT"))

    async def rollback(self) -> None:
        await self._driver.execute("ROLLBACK")


def _confirm(commit: str) -> None:
    """PostgreSQL answers a COMMIT after an error by a rollback, and calls that no error."""
    if commit != "COMMIT":
        raise RuntimeError("nothing was committed: an error in the transaction was caught and not raised")


async def enter_provider(tx: AsyncConnection, provider: ProviderId) -> None:
    """Confine the rest of the transaction to `provider`; the setting ends with the transaction."""
    await _ENTER.rows(tx, provider=provider)


_ENTER = Statement(f"SELECT set_config('{PROVIDER_SETTING}', :provider, true)")


def _upgrade(connection: Connection, versions: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(versions.parent))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    environment = EnvironmentContext(config, script)
    with environment:
        environment.configure(
            connection=connection,
            fn=lambda current, _: script._upgrade_revs("head", current),
            transaction_per_migration=False,
        )
        with environment.begin_transaction():
            environment.run_migrations()


async def migrate(owner_url: SecretStr, versions: Path) -> None:
    """Bring a database to the newest revision in `versions`; concurrent callers wait for one another."""
    engine = create_async_engine(owner_url.get_secret_value())
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(_upgrade, versions)
    finally:
        await engine.dispose()
