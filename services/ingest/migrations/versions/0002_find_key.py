"""An API key is found in one statement, which runs before any provider is known."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

FIND_KEY = """
CREATE OR REPLACE FUNCTION find_key(wanted text)
RETURNS TABLE (provider_id text, source_id text, digest bytea, scopes text[],
               created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    owner text := (SELECT key_lookup.provider_id FROM key_lookup WHERE key_id = wanted);
BEGIN
    PERFORM set_config('plumbline.provider', owner, true);
    RETURN QUERY
        SELECT k.provider_id, k.source_id, k.digest, k.scopes, k.created_at, k.expires_at, k.revoked_at
        FROM source_keys AS k WHERE k.provider_id = owner AND k.key_id = wanted;
END $$
"""


def upgrade() -> None:
    op.execute(FIND_KEY)
