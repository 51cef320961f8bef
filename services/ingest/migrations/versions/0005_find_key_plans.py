"""What an API key is found by is planned once per connection, and by its keys."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

# Plans are kept from when the tables were empty, and all indexes look alike then: only that of the key has the order.
FIND_KEY = """
CREATE OR REPLACE FUNCTION find_key(wanted text)
RETURNS TABLE (provider_id text, source_id text, digest bytea, scopes text[],
               created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
    owner text := (SELECT key_lookup.provider_id FROM key_lookup WHERE key_id = wanted);
BEGIN
    PERFORM set_config('plumbline.provider', owner, true);
    RETURN QUERY
        SELECT k.provider_id, k.source_id, k.digest, k.scopes, k.created_at, k.expires_at, k.revoked_at
        FROM source_keys AS k WHERE k.provider_id = owner AND k.key_id = ANY(ARRAY[wanted]) ORDER BY k.key_id;
END $$
"""


def upgrade() -> None:
    op.execute(FIND_KEY)
