"""The machinery's own tables, the same in every service's database.

Each service's first migration runs `MACHINERY_0001`, later ones `MACHINERY_0002` and `MACHINERY_0003`. Outbox,
positions, dead letters and timers hold rows of all providers and are reached by loops that serve all of them: they are
the named exceptions from row-level security.
"""

from __future__ import annotations

PROVIDER_SETTING = "plumbline.provider"

WITHOUT_ROW_SECURITY = frozenset({"outbox", "positions", "dead_letters", "timers", "key_lookup", "alembic_version"})
"""`key_lookup` is read before anybody knows whose API key was shown: it says which provider, and no more."""


def row_security(table: str) -> str:
    """DDL that confines `table` (it must have a `provider_id`) to the provider of the transaction, owner included."""
    return f"""
    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_provider ON {table}
        USING (provider_id = current_setting('{PROVIDER_SETTING}', true))
        WITH CHECK (provider_id = current_setting('{PROVIDER_SETTING}', true));
    """


def append_only(table: str) -> str:
    """DDL that makes the database itself refuse to change or delete a row of `table`."""
    return f"""
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    """


def statements(script: str) -> list[str]:
    """A script's statements one by one, as prepared statements need them; `$$` bodies stay whole."""
    found: list[str] = []
    pending = ""
    for piece in script.split(";"):
        pending += piece
        if pending.count("$$") % 2:
            pending += ";"
            continue
        if pending.strip():
            found.append(pending.strip())
        pending = ""
    return found


MACHINERY_0001 = f"""
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    key         text NOT NULL,
    partition   integer,
    event_id    uuid NOT NULL DEFAULT uuidv7(),
    event_type  text NOT NULL,
    event_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
    provider_id text NOT NULL,
    body        text NOT NULL,
    traceparent text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE positions (
    subscription text NOT NULL,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL CHECK (next_offset >= 0),
    attempts     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (subscription, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE dead_letters (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    provider_id  text,
    subscription text NOT NULL,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    record_offset bigint NOT NULL,
    key          bytea,
    value        bytea,
    headers      jsonb NOT NULL,
    code         text NOT NULL,
    detail       text NOT NULL,
    trace_id     text,
    parked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    state        text NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'replayed', 'discarded')),
    resolved_at  timestamptz,
    resolved_by  text,
    resolution   text,
    CHECK (state = 'parked' OR (resolved_at IS NOT NULL AND resolved_by IS NOT NULL)),
    UNIQUE (subscription, topic, partition, record_offset)
);
CREATE INDEX dead_letters_by_provider ON dead_letters (provider_id, state, id);

CREATE TABLE timers (
    kind        text NOT NULL,
    provider_id text NOT NULL,
    key         text NOT NULL,
    due_at      timestamptz NOT NULL,
    causes      text[] NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (kind, provider_id, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX timers_due ON timers (kind, due_at);

CREATE TABLE idempotency_keys (
    provider_id text NOT NULL,
    principal   text NOT NULL,
    route       text NOT NULL,
    key         text NOT NULL,
    body_hash   bytea NOT NULL,
    status      integer NOT NULL,
    answer      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider_id, principal, route, key)
);
{row_security("idempotency_keys")}

CREATE TABLE audit_heads (
    provider_id text PRIMARY KEY,
    sequence    bigint NOT NULL,
    hash        bytea NOT NULL
);
{row_security("audit_heads")}

CREATE TABLE audit_entries (
    provider_id   text NOT NULL,
    sequence      bigint NOT NULL,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    object        text NOT NULL,
    outcome       text NOT NULL,
    detail        text NOT NULL,
    trace_id      text,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL,
    PRIMARY KEY (provider_id, sequence)
);
{row_security("audit_entries")}
{append_only("audit_entries")}
"""

# A database belongs to one service, so no row need say whose it is. Timers of one key may be several: scheduling never
# waits for the run that is at work, and the run takes those it saw. A delivery has one, which is moved on instead.
MACHINERY_0002 = """
ALTER TABLE positions DROP COLUMN subscription, ADD PRIMARY KEY (topic, partition);
ALTER TABLE dead_letters DROP COLUMN subscription, ADD UNIQUE (topic, partition, record_offset);
LOCK TABLE timers IN ACCESS EXCLUSIVE MODE;
CREATE TABLE timers_0001 AS SELECT * FROM timers;
DROP TABLE timers;
CREATE TABLE timers (
    id             bigint GENERATED ALWAYS AS IDENTITY,
    kind           text NOT NULL,
    provider_id    text NOT NULL,
    key            text NOT NULL,
    due_at         timestamptz NOT NULL,
    cause          text,
    attempts       integer NOT NULL DEFAULT 0,
    begun_at       timestamptz,
    parked_at      timestamptz,
    parked_because text,
    PRIMARY KEY (kind, provider_id, key, id),
    CHECK ((parked_at IS NULL) = (parked_because IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
INSERT INTO timers (kind, provider_id, key, due_at, cause)
    SELECT kind, provider_id, key, due_at, cause
    FROM timers_0001 LEFT JOIN LATERAL unnest(causes) AS cause ON kind NOT LIKE 'deliver-%';
DROP TABLE timers_0001;
CREATE INDEX timers_due ON timers (kind, due_at, id) WHERE parked_at IS NULL;
CREATE INDEX timers_parked ON timers (id) WHERE parked_at IS NOT NULL;
"""

# What one transaction says in one partition is one row; `messages` is what `outbox.packed` makes. The rows that are
# there have a message each, and a partition only where it is not their key's.
MACHINERY_0003 = """
LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE;
ALTER TABLE outbox ADD events integer NOT NULL DEFAULT 1 CHECK (events > 0), ADD messages text;
UPDATE outbox SET messages = concat_ws(E'\\x1f', key, event_type, body);
ALTER TABLE outbox
    DROP COLUMN key, DROP COLUMN event_type, DROP COLUMN body,
    ALTER COLUMN messages SET NOT NULL, ALTER COLUMN events DROP DEFAULT;
ALTER TABLE outbox RENAME COLUMN event_id TO batch_id;
ALTER TABLE outbox RENAME COLUMN event_time TO announced_at;
"""

MACHINERY = MACHINERY_0001 + MACHINERY_0002 + MACHINERY_0003
