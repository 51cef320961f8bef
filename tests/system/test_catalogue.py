"""What PostgreSQL's own catalogue says of every service's tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from deploy.local.databases import DatabaseUrls
from deploy.services import SERVICES
from shared.database import Database
from shared.messaging.schema import WITHOUT_ROW_SECURITY

_TABLES = text("""
    SELECT relation.relname, relation.relrowsecurity, relation.relforcerowsecurity,
           pg_get_userbyid(relation.relowner) = current_user AS owned,
           (SELECT count(*) FROM pg_policy WHERE polrelid = relation.oid) AS policies,
           (SELECT attname FROM pg_index JOIN pg_attribute
                ON attrelid = indrelid AND attnum = indkey[0]
            WHERE indrelid = relation.oid AND indisprimary) AS first_of_key
    FROM pg_class AS relation
    WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
""")
_ROLE = text(
    "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
)
_VIEWS = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')
      AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)
""")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_is_confined_to_a_provider(
    service: str, clone_database: Callable[[str], DatabaseUrls]
) -> None:
    database = Database(SecretStr(clone_database(service).app))
    async with database.begin() as tx:
        tables = (await tx.execute(_TABLES)).all()
        privileged = (await tx.execute(_ROLE)).scalar_one()
        views = (await tx.execute(_VIEWS)).scalars().all()
    await database.close()
    confined = [table for table in tables if table.relname not in WITHOUT_ROW_SECURITY]
    assert len(confined) > 3 and len(tables) > len(confined)
    open_tables = [t.relname for t in confined if not (t.relrowsecurity and t.relforcerowsecurity and t.policies)]
    assert open_tables == []
    assert [t.relname for t in confined if t.first_of_key != "provider_id"] == []
    assert [t.relname for t in tables if t.owned] == []
    assert not privileged
    assert views == []
