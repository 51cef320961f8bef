from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.databases import DatabaseUrls, drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from deploy.local.processes import LocalStackError
from tests.local.conftest import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    made = PostgresServer(tmp_path_factory.mktemp("postgres") / "state", free_port(), durable=False)
    made.start()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def scoring(server: PostgresServer) -> DatabaseUrls:
    return ensure_service_database(server, "scoring")


def dsn(url: str) -> str:
    return url.replace("postgresql+asyncpg", "postgresql")


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(dsn(url))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_order_and_case_do_not_depend_on_the_machines_locale(scoring: DatabaseUrls) -> None:
    assert await value(scoring.app, "SELECT datlocprovider::text || datlocale FROM pg_database LIMIT 1") == "bC.UTF-8"
    assert await value(scoring.app, "SELECT upper('ß é')") == "ß É"


async def test_the_application_role_works_on_what_the_owner_makes(scoring: DatabaseUrls) -> None:
    await execute(scoring.owner, "CREATE TABLE worked (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    await execute(
        scoring.app,
        "INSERT INTO worked (name) VALUES ('a')",
        "UPDATE worked SET name = 'b'",
        "DELETE FROM worked WHERE name = 'a'",
    )
    assert await value(scoring.app, "SELECT name FROM worked") == "b"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE TEMPORARY TABLE mine (id int)",
        "ALTER TABLE guarded DISABLE ROW LEVEL SECURITY",
        "DROP TABLE guarded",
        "TRUNCATE guarded",
        "SET ROLE scoring_owner",
    ],
)
async def test_the_application_role_changes_no_structure(scoring: DatabaseUrls, statement: str) -> None:
    await execute(scoring.owner, "CREATE TABLE IF NOT EXISTS guarded (provider text)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(scoring.app, statement)


async def test_the_application_role_cannot_bypass_row_level_security(scoring: DatabaseUrls) -> None:
    await execute(
        scoring.owner,
        "CREATE TABLE secured (provider text)",
        "INSERT INTO secured VALUES ('other')",
        "ALTER TABLE secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON secured USING (provider = current_setting('app.provider', true))",
    )
    assert await value(scoring.app, "SELECT count(*) FROM secured") == 0
    assert await value(scoring.owner, "SELECT count(*) FROM secured") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(scoring.app, "SET row_security = off", "SELECT * FROM secured")


async def test_a_service_cannot_enter_the_database_of_another(server: PostgresServer, scoring: DatabaseUrls) -> None:
    other = ensure_service_database(server, "ingest")
    for url in (scoring.app, scoring.owner):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await value(url.replace(scoring.name, other.name), "SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await value(url.replace(scoring.name, "postgres"), "SELECT 1")


async def test_a_wrong_password_is_refused(scoring: DatabaseUrls) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await value(scoring.app.replace("scoring_app:", "scoring_app:x"), "SELECT 1")


async def test_a_clone_has_the_tables_and_the_grants_of_its_template(server: PostgresServer) -> None:
    template = ensure_service_database(server, "calibration", database="a_template")
    await execute(template.owner, "CREATE TABLE cloned (id int)")
    clone = ensure_service_database(server, "calibration", database="a_clone", template="a_template")
    await execute(clone.app, "INSERT INTO cloned VALUES (1)")
    await execute(clone.owner, "CREATE TABLE later (id int)")
    assert await value(clone.app, "SELECT count(*) FROM later") == 0
    drop_database(server, "a_clone")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await value(clone.app, "SELECT 1")


async def test_a_second_ensure_changes_nothing(server: PostgresServer, scoring: DatabaseUrls) -> None:
    assert ensure_service_database(server, "scoring") == scoring


def test_names_that_are_no_names_never_reach_the_server(server: PostgresServer) -> None:
    with pytest.raises(ValueError, match="not a database name"):
        ensure_service_database(server, "scoring", database='x"; DROP ROLE scoring_app; --')


def test_a_refused_statement_is_an_error(server: PostgresServer) -> None:
    with pytest.raises(LocalStackError, match="no_such_table"):
        server.run_sql("SELECT * FROM no_such_table;")


def test_only_their_owner_reads_data_and_passwords(server: PostgresServer, scoring: DatabaseUrls) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.state.stat().st_mode) == 0o700
    passwords = list(Path(server.state).glob("*.password"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in passwords} == {0o600}
    assert len(passwords) >= 3


async def test_committed_rows_survive_a_kill(server: PostgresServer, scoring: DatabaseUrls) -> None:
    await execute(scoring.owner, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)")
    killed = server.process()
    server.kill()
    assert not server.ready()
    server.start()
    assert server.process() != killed
    assert await value(scoring.app, "SELECT count(*) FROM kept") == 1


def test_starting_a_running_server_leaves_it_alone(server: PostgresServer) -> None:
    before = server.process()
    PostgresServer(server.state, server.port, durable=False).start()
    assert server.process() == before


def test_a_deleted_state_is_a_new_beginning(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "state", free_port(), durable=False)
    try:
        server.start()
        server.run_sql("CREATE DATABASE forgotten")
        shutil.rmtree(server.state)
        server.start()
        assert server.run_sql("SELECT count(*) FROM pg_database WHERE datname = 'forgotten'").strip() == "0"
    finally:
        server.destroy()
