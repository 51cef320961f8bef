"""One database and two roles per service: an owner that migrates, an application role that may only work."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.local.files import locked
from deploy.local.postgres import PostgresServer, secret
from deploy.services import SERVICES

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class DatabaseUrls:
    """SQLAlchemy addresses of one database, for its owner and for the application role."""

    name: str
    owner: str
    app: str


def ensure_service_database(
    server: PostgresServer, service: str, database: str | None = None, template: str | None = None
) -> DatabaseUrls:
    """Makes sure that the roles and the database of a service exist and returns how to reach them.

    With `template` the database starts as a copy of that one; nobody may be connected to it then.
    A database that exists is left as it is, its grants are stated again.
    """
    name = database or f"plumbline_{service}"
    for identifier in (service, name, *([template] if template else [])):
        if not _NAME.fullmatch(identifier):
            raise ValueError(f"not a database name: {identifier}")
    # Two processes that alter the same rows of the catalogue would fail with "tuple concurrently updated".
    with locked(server.state / "databases.lock"):
        _ensure_roles(server, service)
        if not server.run_sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}';"):  # noqa: S608 - checked above
            server.run_sql(f"CREATE DATABASE {name} OWNER {service}_owner TEMPLATE {template or 'template1'};")
        server.run_sql(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {service}_app;")
        if template is None:
            server.run_sql(_grants(service), name)
    return service_urls(server, service, name)


def service_urls(server: PostgresServer, service: str, database: str | None = None) -> DatabaseUrls:
    """How to reach a service's database, whether or not it exists yet: passwords are made when first asked for."""
    name = database or f"plumbline_{service}"

    def url(role: str) -> str:
        return f"postgresql+asyncpg://{role}:{secret(_password_file(server, role))}@127.0.0.1:{server.port}/{name}"

    return DatabaseUrls(name=name, owner=url(f"{service}_owner"), app=url(f"{service}_app"))


def drop_database(server: PostgresServer, database: str) -> None:
    """Drops a database with whoever is still connected to it."""
    if not _NAME.fullmatch(database):
        raise ValueError(f"not a database name: {database}")
    server.run_sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE);")


def _password_file(server: PostgresServer, role: str) -> Path:
    return server.state / f"{role}.password"


def _ensure_roles(server: PostgresServer, service: str) -> None:
    known = server.run_sql("SELECT rolname FROM pg_roles;").split()
    for role in (f"{service}_owner", f"{service}_app"):
        if role not in known:
            password = secret(_password_file(server, role))
            server.run_sql(
                f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT "
                f"PASSWORD '{password}';"
            )
            server.run_sql("REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE ALL ON DATABASE template1 FROM PUBLIC;")


def _grants(service: str) -> str:
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {service}_owner IN SCHEMA public GRANT"
    return f"""
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
        GRANT USAGE ON SCHEMA public TO {service}_app;
        GRANT USAGE, CREATE ON SCHEMA public TO {service}_owner;
        {defaults} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {service}_app;
        {defaults} USAGE ON SEQUENCES TO {service}_app;
    """


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.databases", description=__doc__)
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("services", nargs="+", choices=SERVICES)
    given = arguments.parse_args()
    server = PostgresServer(given.state, given.port)
    for service in given.services:
        ensure_service_database(server, service)


if __name__ == "__main__":
    main()
