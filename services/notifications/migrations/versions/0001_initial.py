"""People as far as notices need them, contacts, notices and their deliveries."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0001, row_security, statements

revision = "0001"
down_revision = None

_PEOPLE = f"""
CREATE TABLE people (
    provider_id  text NOT NULL,
    employee_id  text NOT NULL,
    version      integer NOT NULL,
    display_name text NOT NULL,
    locale       text NOT NULL,
    PRIMARY KEY (provider_id, employee_id)
);
{row_security("people")}

CREATE TABLE assignments (
    provider_id text NOT NULL,
    employee_id text NOT NULL,
    valid_from  date NOT NULL,
    valid_to    date,
    unit        text NOT NULL,
    manager     text,
    time_zone   text NOT NULL,
    PRIMARY KEY (provider_id, employee_id, valid_from)
);
CREATE INDEX assignments_of_unit ON assignments (provider_id, unit, employee_id);
{row_security("assignments")}

CREATE TABLE cycles (
    provider_id text NOT NULL,
    cycle_id    text NOT NULL,
    version     integer NOT NULL,
    name        text NOT NULL,
    PRIMARY KEY (provider_id, cycle_id)
);
{row_security("cycles")}

CREATE TABLE contacts (
    provider_id text NOT NULL,
    employee_id text NOT NULL,
    email       text NOT NULL,
    roles       text[] NOT NULL,
    locale      text,
    version     integer NOT NULL DEFAULT 1,
    since       timestamptz NOT NULL,
    PRIMARY KEY (provider_id, employee_id)
);
CREATE INDEX contacts_by_role ON contacts USING gin (roles);
{row_security("contacts")}

CREATE TABLE preferences (
    provider_id text NOT NULL,
    employee_id text NOT NULL,
    email_off   text[] NOT NULL,
    version     integer NOT NULL DEFAULT 1,
    PRIMARY KEY (provider_id, employee_id)
);
{row_security("preferences")}
"""

_NOTICES = f"""
CREATE TABLE role_requests (
    provider_id text NOT NULL,
    cause       text NOT NULL,
    role        text NOT NULL,
    unit        text NOT NULL DEFAULT '',
    kind        text NOT NULL,
    cycle_id    text,
    ids         jsonb NOT NULL,
    happened_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cause, role, unit)
);
CREATE INDEX role_requests_of_unit ON role_requests (provider_id, unit, received_at) WHERE unit <> '';
{row_security("role_requests")}

CREATE TABLE notices (
    provider_id text NOT NULL,
    id          uuid NOT NULL DEFAULT uuidv7(),
    cause       text NOT NULL,
    recipient   text NOT NULL,
    kind        text NOT NULL,
    cycle_id    text,
    ids         jsonb NOT NULL,
    happened_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    read_at     timestamptz,
    PRIMARY KEY (provider_id, id),
    UNIQUE (provider_id, cause, recipient)
);
CREATE INDEX notices_of_recipient ON notices (provider_id, recipient, id);
{row_security("notices")}

CREATE TABLE webhook_endpoints (
    provider_id     text NOT NULL,
    id              uuid NOT NULL DEFAULT uuidv7(),
    url             text NOT NULL,
    kinds           text[] NOT NULL,
    description     text NOT NULL,
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text,
    strikes         integer NOT NULL DEFAULT 0,
    paused_until    timestamptz,
    secret          bytea,
    previous_secret bytea,
    previous_until  timestamptz,
    version         integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    PRIMARY KEY (provider_id, id),
    CHECK ((secret IS NULL) = (deleted_at IS NOT NULL)),
    CHECK (NOT enabled OR deleted_at IS NULL)
);
{row_security("webhook_endpoints")}

CREATE TABLE deliveries (
    provider_id text NOT NULL,
    id          uuid NOT NULL DEFAULT uuidv7(),
    notice_id   uuid NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('email', 'webhook')),
    endpoint_id uuid,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'failed', 'delivered', 'dead')),
    attempts    integer NOT NULL DEFAULT 0,
    failures    integer NOT NULL DEFAULT 0,
    next_at     timestamptz,
    last_error  text,
    created_at  timestamptz NOT NULL,
    settled_at  timestamptz,
    PRIMARY KEY (provider_id, id),
    UNIQUE NULLS NOT DISTINCT (provider_id, notice_id, channel, endpoint_id),
    FOREIGN KEY (provider_id, notice_id) REFERENCES notices (provider_id, id),
    FOREIGN KEY (provider_id, endpoint_id) REFERENCES webhook_endpoints (provider_id, id),
    CHECK ((channel = 'webhook') = (endpoint_id IS NOT NULL)),
    CHECK ((state IN ('pending', 'failed')) = (next_at IS NOT NULL)),
    CHECK ((state IN ('delivered', 'dead')) = (settled_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX deliveries_by_state ON deliveries (provider_id, state, id);
CREATE INDEX deliveries_of_endpoint ON deliveries (provider_id, endpoint_id, id) WHERE endpoint_id IS NOT NULL;
{row_security("deliveries")}
"""


def upgrade() -> None:
    for statement in statements(MACHINERY_0001 + _PEOPLE + _NOTICES):
        op.execute(statement)
