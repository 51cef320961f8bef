"""Everything scoring knows, decides and announces."""

from alembic import op

from shared.messaging.schema import MACHINERY_0001, append_only, row_security, statements

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE metrics (
    provider_id        text NOT NULL,
    metric             text NOT NULL,
    version            integer NOT NULL,
    higher_is_better   boolean NOT NULL,
    aggregation        text NOT NULL,
    missing_data       text NOT NULL,
    minimum_volume     numeric NOT NULL,
    developmental_only boolean NOT NULL,
    PRIMARY KEY (provider_id, metric)
);

-- One row per person ever heard of. Its lock orders facts and workforce changes of that person.
-- revised: whether any event of this person was corrected or voided, so that all others need not be looked up.
CREATE TABLE employee_heads (
    provider_id       text NOT NULL,
    employee          text NOT NULL,
    sequence          bigint NOT NULL DEFAULT 0,
    revised           boolean NOT NULL DEFAULT false,
    workforce_version integer NOT NULL DEFAULT 0,
    PRIMARY KEY (provider_id, employee)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE assignments (
    provider_id      text NOT NULL,
    employee         text NOT NULL,
    valid_from       date NOT NULL,
    valid_to         date CHECK (valid_to >= valid_from),
    role             text NOT NULL,
    grade            text NOT NULL,
    unit             text NOT NULL,
    manager          text,
    client           text NOT NULL,
    line_of_business text NOT NULL,
    site             text NOT NULL,
    PRIMARY KEY (provider_id, employee, valid_from)
);
CREATE INDEX assignments_by_manager ON assignments (provider_id, manager, employee);

CREATE TABLE absences (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    starts_on   date NOT NULL,
    ends_on     date NOT NULL,
    PRIMARY KEY (provider_id, employee, starts_on, ends_on)
);

CREATE TABLE facts (
    provider_id text NOT NULL,
    event       text NOT NULL,
    root        text NOT NULL,
    revision    integer NOT NULL,
    employee    text NOT NULL,
    metric      text NOT NULL,
    occurred_on date NOT NULL,
    numerator   numeric,
    denominator numeric,
    sequence    bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, event),
    CHECK ((numerator IS NULL) = (denominator IS NULL))
);
CREATE INDEX facts_by_employee ON facts (provider_id, employee, sequence);
CREATE INDEX facts_revised ON facts (provider_id, root) WHERE event <> root;

CREATE TABLE day_sums (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    day         date NOT NULL,
    metric      text NOT NULL,
    numerator   numeric NOT NULL,
    denominator numeric NOT NULL,
    events      bigint NOT NULL,
    PRIMARY KEY (provider_id, employee, day, metric)
) WITH (fillfactor = 70);

CREATE TABLE ratings (
    provider_id  text NOT NULL,
    cycle        text NOT NULL,
    employee     text NOT NULL,
    category     text NOT NULL,
    rater        text NOT NULL,
    revision     integer NOT NULL,
    feedback     text NOT NULL,
    rating       numeric NOT NULL,
    sequence     bigint NOT NULL,
    submitted_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee, category, rater, revision)
);

CREATE TABLE templates (
    provider_id      text NOT NULL,
    template         text NOT NULL,
    name             text NOT NULL,
    role             text,
    client           text,
    line_of_business text,
    PRIMARY KEY (provider_id, template),
    CONSTRAINT one_template_per_selector UNIQUE NULLS NOT DISTINCT (provider_id, role, client, line_of_business)
);

CREATE TABLE template_versions (
    provider_id      text NOT NULL,
    template         text NOT NULL,
    version          integer NOT NULL,
    state            text NOT NULL CHECK (state IN ('draft', 'published')),
    effective_from   date NOT NULL,
    coverage_minimum numeric NOT NULL,
    weight_maximum   numeric NOT NULL,
    parts            jsonb NOT NULL,
    gates            jsonb NOT NULL,
    metrics          jsonb NOT NULL,
    published_at     timestamptz,
    published_by     text,
    PRIMARY KEY (provider_id, template, version),
    FOREIGN KEY (provider_id, template) REFERENCES templates,
    CHECK ((state = 'published') = (published_at IS NOT NULL AND published_by IS NOT NULL))
);
CREATE TRIGGER published_is_final BEFORE UPDATE OR DELETE ON template_versions
    FOR EACH ROW WHEN (OLD.state = 'published') EXECUTE FUNCTION refuse_change();

CREATE TABLE cycles (
    provider_id text NOT NULL,
    cycle       text NOT NULL,
    version     integer NOT NULL,
    name        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('open', 'freezing', 'frozen', 'closed')),
    starts_on   date NOT NULL,
    ends_on     date NOT NULL CHECK (ends_on >= starts_on),
    bands       jsonb NOT NULL,
    scorecards  bigint,
    -- The last person whom the freeze has looked at, nobody before its first step.
    frozen_upto text NOT NULL DEFAULT '',
    PRIMARY KEY (provider_id, cycle),
    CHECK ((state IN ('frozen', 'closed')) = (scorecards IS NOT NULL))
);

CREATE TABLE cycle_seals (
    provider_id text NOT NULL,
    cycle       text NOT NULL,
    stream      text NOT NULL,
    partition   integer NOT NULL,
    partitions  integer NOT NULL,
    sealed_at   timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, stream, partition)
);

CREATE TABLE scorecard_versions (
    provider_id       text NOT NULL,
    cycle             text NOT NULL,
    employee          text NOT NULL,
    version           integer NOT NULL,
    status            text NOT NULL CHECK (status IN ('current', 'late', 'accepted')),
    score             numeric,
    coverage          numeric NOT NULL,
    band_before_gates text,
    proposed_band     text,
    unrated           text,
    parts             jsonb NOT NULL,
    gates             jsonb NOT NULL,
    segments          jsonb NOT NULL,
    placement         jsonb NOT NULL,
    watermark         bigint NOT NULL,
    as_of             timestamptz NOT NULL,
    accepted_version  integer,
    accepted_by       text,
    accepted_because  text,
    PRIMARY KEY (provider_id, cycle, employee, version),
    CHECK ((score IS NULL) = (proposed_band IS NULL) AND (score IS NULL) = (unrated IS NOT NULL)),
    CHECK ((status = 'accepted') = (accepted_version IS NOT NULL AND accepted_by IS NOT NULL
                                    AND accepted_because IS NOT NULL))
);

-- The newest version of every scorecard, for lists. `digest` tells whether a recomputation says anything new.
CREATE TABLE scorecards (
    provider_id      text NOT NULL,
    cycle            text NOT NULL,
    employee         text NOT NULL,
    version          integer NOT NULL,
    status           text NOT NULL,
    score            numeric,
    coverage         numeric NOT NULL,
    proposed_band    text,
    role             text NOT NULL,
    unit             text NOT NULL,
    manager          text,
    client           text NOT NULL,
    line_of_business text NOT NULL,
    as_of            timestamptz NOT NULL,
    digest           bytea NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee),
    FOREIGN KEY (provider_id, cycle, employee, version) REFERENCES scorecard_versions
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
"""

NAMES = (
    "metrics",
    "employee_heads",
    "assignments",
    "absences",
    "facts",
    "day_sums",
    "ratings",
    "templates",
    "template_versions",
    "cycles",
    "cycle_seals",
    "scorecard_versions",
    "scorecards",
)
APPEND_ONLY = ("facts", "ratings", "cycle_seals", "scorecard_versions")


def upgrade() -> None:
    secured = "".join(row_security(name) for name in NAMES)
    protected = "".join(append_only(name) for name in APPEND_ONLY)
    for statement in statements(MACHINERY_0001 + TABLES + secured + protected):
        op.execute(statement)
