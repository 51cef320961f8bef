"""Providers and clients, sources, metrics, people, the journal of KPI events, feedback, and cycles as announced."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0001, PROVIDER_SETTING, append_only, row_security, statements

revision = "0001"
down_revision = None

DDL = f"""
CREATE TABLE providers (
    provider_id text PRIMARY KEY,
    name        text NOT NULL,
    created_at  timestamptz NOT NULL
);
{row_security("providers")}
-- Only an operator of the platform, who works under no provider, reads the list of them. Writing stays confined.
CREATE POLICY of_platform ON providers FOR SELECT USING (current_setting('{PROVIDER_SETTING}', true) = '-');

CREATE TABLE clients (
    provider_id       text NOT NULL REFERENCES providers,
    client_id         text NOT NULL,
    version           integer NOT NULL DEFAULT 1,
    name              text NOT NULL,
    lines_of_business text[] NOT NULL CHECK (cardinality(lines_of_business) > 0),
    PRIMARY KEY (provider_id, client_id)
);
{row_security("clients")}

CREATE TABLE sources (
    provider_id       text NOT NULL,
    source_id         text NOT NULL,
    version           integer NOT NULL DEFAULT 1,
    name              text NOT NULL,
    client_id         text NOT NULL,
    lines_of_business text[] NOT NULL CHECK (cardinality(lines_of_business) > 0),
    PRIMARY KEY (provider_id, source_id),
    FOREIGN KEY (provider_id, client_id) REFERENCES clients
);
CREATE INDEX sources_by_client ON sources (provider_id, client_id);
{row_security("sources")}

-- Read before anybody knows whose key it is: it says where to look, and nothing that opens a door.
CREATE TABLE key_lookup (
    key_id      text PRIMARY KEY,
    provider_id text NOT NULL
);

CREATE TABLE source_keys (
    provider_id text NOT NULL,
    key_id      text NOT NULL REFERENCES key_lookup,
    source_id   text NOT NULL,
    digest      bytea NOT NULL,
    scopes      text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    PRIMARY KEY (provider_id, key_id),
    FOREIGN KEY (provider_id, source_id) REFERENCES sources
);
CREATE INDEX source_keys_by_source ON source_keys (provider_id, source_id);
{row_security("source_keys")}

CREATE TABLE metrics (
    provider_id        text NOT NULL,
    metric             text NOT NULL,
    version            integer NOT NULL DEFAULT 1,
    name               text NOT NULL,
    owner              text NOT NULL,
    source_system      text NOT NULL,
    unit               text NOT NULL,
    direction          text NOT NULL,
    aggregation        text NOT NULL CHECK (aggregation IN ('ratio', 'mean', 'sum')),
    precision          integer NOT NULL CHECK (precision BETWEEN 0 AND 15),
    missing_data       text NOT NULL,
    minimum_volume     numeric NOT NULL CHECK (minimum_volume >= 0),
    developmental_only boolean NOT NULL,
    PRIMARY KEY (provider_id, metric)
);
{row_security("metrics")}

CREATE TABLE employees (
    provider_id  text NOT NULL,
    employee_id  text NOT NULL,
    version      integer NOT NULL DEFAULT 1,
    display_name text NOT NULL,
    country      text NOT NULL,
    locale       text NOT NULL,
    content_hash bytea NOT NULL,
    PRIMARY KEY (provider_id, employee_id)
);
{row_security("employees")}

CREATE TABLE assignments (
    provider_id      text NOT NULL,
    employee_id      text NOT NULL,
    valid_from       date NOT NULL,
    valid_to         date CHECK (valid_to >= valid_from),
    role             text NOT NULL,
    grade            text NOT NULL,
    unit             text NOT NULL,
    manager          text CHECK (manager <> employee_id),
    client_id        text NOT NULL,
    line_of_business text NOT NULL,
    site             text NOT NULL,
    time_zone        text NOT NULL,
    PRIMARY KEY (provider_id, employee_id, valid_from),
    FOREIGN KEY (provider_id, employee_id) REFERENCES employees,
    FOREIGN KEY (provider_id, client_id) REFERENCES clients
);
CREATE INDEX assignments_by_client ON assignments (provider_id, client_id, line_of_business);
{row_security("assignments")}

CREATE TABLE absences (
    provider_id text NOT NULL,
    employee_id text NOT NULL,
    starts_on   date NOT NULL,
    ends_on     date NOT NULL CHECK (ends_on >= starts_on),
    PRIMARY KEY (provider_id, employee_id, starts_on),
    FOREIGN KEY (provider_id, employee_id) REFERENCES employees
);
{row_security("absences")}

CREATE TABLE source_agents (
    provider_id text NOT NULL,
    source_id   text NOT NULL,
    agent       text NOT NULL,
    valid_from  date NOT NULL,
    valid_to    date CHECK (valid_to >= valid_from),
    employee_id text NOT NULL,
    PRIMARY KEY (provider_id, source_id, agent, valid_from),
    FOREIGN KEY (provider_id, source_id) REFERENCES sources,
    FOREIGN KEY (provider_id, employee_id) REFERENCES employees
);
CREATE INDEX source_agents_by_employee ON source_agents (provider_id, employee_id);
{row_security("source_agents")}

CREATE TABLE kpi_events (
    provider_id text NOT NULL,
    event_id    text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('observation', 'correction', 'void')),
    root_id     text CHECK ((kind = 'observation') = (root_id IS NULL)),
    revision    integer NOT NULL DEFAULT 0 CHECK ((revision = 0) = (root_id IS NULL)),
    agent       text,
    employee_id text NOT NULL,
    metric      text NOT NULL,
    occurred_at timestamptz NOT NULL,
    occurred_on date NOT NULL,
    numerator   numeric CHECK ((numerator IS NULL) = (kind = 'void')),
    denominator numeric CHECK ((denominator IS NULL) = (kind = 'void')),
    body_hash   bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    trace_id    text,
    PRIMARY KEY (provider_id, event_id),
    FOREIGN KEY (provider_id, root_id) REFERENCES kpi_events
);
CREATE UNIQUE INDEX kpi_events_revisions ON kpi_events (provider_id, root_id, revision) WHERE root_id IS NOT NULL;
{row_security("kpi_events")}
{append_only("kpi_events")}

CREATE TABLE conflicts (
    provider_id   text NOT NULL,
    sequence      bigint GENERATED ALWAYS AS IDENTITY,
    source_id     text NOT NULL,
    event_id      text NOT NULL,
    recorded_hash bytea NOT NULL,
    refused_hash  bytea NOT NULL,
    refused_body  text NOT NULL,
    received_at   timestamptz NOT NULL,
    trace_id      text,
    PRIMARY KEY (provider_id, sequence),
    UNIQUE (provider_id, event_id, refused_hash)
);
{row_security("conflicts")}
{append_only("conflicts")}

CREATE TABLE cycles (
    provider_id text NOT NULL,
    cycle_id    text NOT NULL,
    version     integer NOT NULL,
    state       text NOT NULL,
    starts_on   date NOT NULL,
    ends_on     date NOT NULL,
    bands       integer NOT NULL,
    PRIMARY KEY (provider_id, cycle_id)
);
{row_security("cycles")}

CREATE TABLE feedback_threads (
    provider_id text NOT NULL,
    cycle_id    text NOT NULL,
    employee_id text NOT NULL,
    rater_id    text NOT NULL,
    category    text NOT NULL CHECK (category IN ('self', 'peer', 'upward', 'manager', 'customer')),
    revision    integer NOT NULL,
    PRIMARY KEY (provider_id, cycle_id, employee_id, rater_id, category),
    FOREIGN KEY (provider_id, cycle_id) REFERENCES cycles,
    FOREIGN KEY (provider_id, employee_id) REFERENCES employees,
    FOREIGN KEY (provider_id, rater_id) REFERENCES employees (provider_id, employee_id),
    CHECK ((category = 'self') = (employee_id = rater_id))
);
{row_security("feedback_threads")}

CREATE TABLE feedback (
    provider_id  text NOT NULL,
    feedback_id  uuid NOT NULL DEFAULT uuidv7(),
    cycle_id     text NOT NULL,
    employee_id  text NOT NULL,
    rater_id     text NOT NULL,
    category     text NOT NULL,
    revision     integer NOT NULL CHECK (revision > 0),
    rating       numeric NOT NULL,
    comment      text NOT NULL,
    submitted_at timestamptz NOT NULL,
    submitted_by text NOT NULL,
    PRIMARY KEY (provider_id, feedback_id),
    UNIQUE (provider_id, cycle_id, employee_id, rater_id, category, revision),
    FOREIGN KEY (provider_id, cycle_id, employee_id, rater_id, category) REFERENCES feedback_threads
);
{row_security("feedback")}
{append_only("feedback")}
"""


def upgrade() -> None:
    for statement in statements(MACHINERY_0001 + DDL):
        op.execute(statement)
