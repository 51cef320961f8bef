"""Copies, reference data, runs, awards and the ledger."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0001, append_only, row_security, statements

revision = "0001"
down_revision = None

COPIES = f"""
CREATE TABLE employees (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    version     integer NOT NULL,
    assignments jsonb NOT NULL,
    employed    jsonb NOT NULL,
    absences    jsonb NOT NULL,
    PRIMARY KEY (provider_id, employee)
);
{row_security("employees")}

CREATE TABLE cycles (
    provider_id text NOT NULL,
    cycle       text NOT NULL,
    version     integer NOT NULL,
    state       text NOT NULL,
    starts_on   date NOT NULL,
    ends_on     date NOT NULL,
    bands       jsonb NOT NULL,
    scorecards  integer,
    PRIMARY KEY (provider_id, cycle)
);
{row_security("cycles")}

CREATE TABLE classifications (
    provider_id       text NOT NULL,
    cycle             text NOT NULL,
    employee          text NOT NULL,
    version           integer NOT NULL,
    band              text,
    score             numeric,
    scorecard_version integer NOT NULL,
    grade             text NOT NULL,
    unit              text NOT NULL,
    client            text NOT NULL,
    line_of_business  text NOT NULL,
    site              text NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee)
);
{row_security("classifications")}
"""

REFERENCE_DATA = f"""
CREATE TABLE pay (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    version     integer NOT NULL,
    entries     jsonb NOT NULL,
    changed_at  timestamptz NOT NULL,
    changed_by  text NOT NULL,
    PRIMARY KEY (provider_id, employee)
);
{row_security("pay")}

CREATE TABLE pay_ranges (
    provider_id text NOT NULL,
    pay_range   text NOT NULL,
    version     integer NOT NULL,
    grade       text NOT NULL,
    currency    text NOT NULL,
    minimum     bigint NOT NULL CHECK (minimum > 0),
    midpoint    bigint NOT NULL CHECK (midpoint BETWEEN minimum AND maximum),
    maximum     bigint NOT NULL CHECK (maximum > minimum),
    valid_from  date NOT NULL,
    PRIMARY KEY (provider_id, pay_range),
    CONSTRAINT one_range_per_grade_and_day UNIQUE (provider_id, grade, currency, valid_from)
);
{row_security("pay_ranges")}

CREATE TABLE exchange_rates (
    provider_id text NOT NULL,
    source      text NOT NULL,
    target      text NOT NULL CHECK (target <> source),
    on_day      date NOT NULL,
    rate        numeric NOT NULL CHECK (rate > 0),
    PRIMARY KEY (provider_id, source, target, on_day)
);
{row_security("exchange_rates")}

CREATE TABLE plans (
    provider_id       text NOT NULL,
    plan              text NOT NULL,
    version           integer NOT NULL,
    published_version integer,
    draft             jsonb NOT NULL,
    PRIMARY KEY (provider_id, plan)
);
{row_security("plans")}

CREATE TABLE plan_versions (
    provider_id  text NOT NULL,
    plan         text NOT NULL,
    version      integer NOT NULL,
    content      jsonb NOT NULL,
    published_at timestamptz NOT NULL,
    published_by text NOT NULL,
    PRIMARY KEY (provider_id, plan, version)
);
{row_security("plan_versions")}
{append_only("plan_versions")}

CREATE TABLE budgets (
    provider_id text NOT NULL,
    budget      text NOT NULL,
    version     integer NOT NULL,
    cycle       text NOT NULL,
    plan        text NOT NULL,
    currency    text NOT NULL,
    merit_pool  bigint NOT NULL CHECK (merit_pool >= 0),
    bonus_pool  bigint NOT NULL CHECK (bonus_pool >= 0),
    scope       jsonb NOT NULL,
    scale_up    boolean NOT NULL,
    PRIMARY KEY (provider_id, budget)
);
{row_security("budgets")}
"""

# A run is worked on until it is approved; then it and all that belongs to it stand for good.
RUNS = f"""
CREATE TABLE runs (
    provider_id    text NOT NULL,
    run            text NOT NULL,
    version        integer NOT NULL,
    state          text NOT NULL CHECK (state IN ('computing', 'computed', 'infeasible', 'stale', 'approved')),
    cycle          text NOT NULL,
    plan           text NOT NULL,
    plan_version   integer NOT NULL,
    budget         text NOT NULL,
    currency       text NOT NULL,
    partial_reason text,
    created_at     timestamptz NOT NULL,
    created_by     text NOT NULL,
    authors        text[] NOT NULL,
    author_people  text[] NOT NULL,
    computation    integer NOT NULL,
    context        jsonb,
    subjects       integer NOT NULL DEFAULT 0,
    assessed       integer NOT NULL DEFAULT 0,
    computed_at    timestamptz,
    approved_at    timestamptz,
    approved_by    text,
    PRIMARY KEY (provider_id, run),
    FOREIGN KEY (provider_id, plan, plan_version) REFERENCES plan_versions (provider_id, plan, version),
    CHECK ((state = 'approved') = (approved_at IS NOT NULL AND approved_by IS NOT NULL)),
    CHECK (approved_by IS NULL OR approved_by <> ALL (authors))
);
CREATE INDEX runs_of_cycle ON runs (provider_id, cycle);
CREATE UNIQUE INDEX one_approved_run_per_budget ON runs (provider_id, budget) WHERE state = 'approved';
{row_security("runs")}

CREATE TABLE run_pools (
    provider_id   text NOT NULL,
    run           text NOT NULL,
    pool          text NOT NULL,
    amount        bigint NOT NULL,
    requested     text NOT NULL,
    minimum       text NOT NULL,
    maximum       text NOT NULL,
    scale         text,
    binds         boolean,
    awarded       bigint,
    undistributed bigint CHECK (undistributed >= 0),
    PRIMARY KEY (provider_id, run, pool),
    FOREIGN KEY (provider_id, run) REFERENCES runs (provider_id, run),
    CONSTRAINT closes_to_the_last_unit CHECK (awarded + undistributed = amount)
);
{row_security("run_pools")}

CREATE TABLE run_subjects (
    provider_id text NOT NULL,
    run         text NOT NULL,
    employee    text NOT NULL,
    inputs      jsonb NOT NULL,
    status      text NOT NULL CHECK (status IN ('gathered', 'eligible', 'ineligible')),
    left_out    jsonb NOT NULL DEFAULT '[]',
    lines       jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (provider_id, run, employee),
    FOREIGN KEY (provider_id, run) REFERENCES runs (provider_id, run)
);
CREATE INDEX run_subjects_gathered ON run_subjects (provider_id, run, employee) WHERE status = 'gathered';
CREATE INDEX run_subjects_by_employee ON run_subjects (provider_id, employee);
{row_security("run_subjects")}

CREATE TABLE run_items (
    provider_id text NOT NULL,
    run         text NOT NULL,
    employee    text NOT NULL,
    component   text NOT NULL,
    raw         text NOT NULL,
    minimum     text NOT NULL,
    maximum     text NOT NULL,
    amount      bigint CHECK (amount >= 0),
    closing     jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (provider_id, run, employee, component),
    FOREIGN KEY (provider_id, run, employee) REFERENCES run_subjects (provider_id, run, employee) ON DELETE CASCADE
);
{row_security("run_items")}

CREATE FUNCTION refuse_change_of_approved_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an approved run stands' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION refuse_change_below_approved_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed JOIN runs USING (provider_id, run) WHERE runs.state = 'approved') THEN
        RAISE EXCEPTION 'an approved run stands' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER approved_runs_stand BEFORE UPDATE OR DELETE ON runs
    FOR EACH ROW WHEN (OLD.state = 'approved') EXECUTE FUNCTION refuse_change_of_approved_run();
"""

_STANDING = "".join(
    f"""
CREATE TRIGGER approved_runs_stand_on_{event.lower()} AFTER {event} ON {table}
    REFERENCING {side} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_below_approved_run();
"""
    for table in ("run_pools", "run_subjects", "run_items")
    for event, side in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))
)

# A chain per person, plan, period and component: an entry starts exactly where its predecessor ended, and a cause posts
# once. A second payment finds its sequence taken, or no predecessor that ends where it begins.
MONEY = f"""
CREATE TABLE awards (
    provider_id            text NOT NULL,
    employee               text NOT NULL,
    plan                   text NOT NULL,
    cycle                  text NOT NULL,
    run                    text NOT NULL,
    version                integer NOT NULL,
    classification_version integer NOT NULL,
    scorecard_version      integer NOT NULL,
    band                   text,
    PRIMARY KEY (provider_id, employee, plan, cycle),
    FOREIGN KEY (provider_id, run) REFERENCES runs (provider_id, run)
);
CREATE INDEX awards_of_cycle ON awards (provider_id, cycle, employee);
{row_security("awards")}

CREATE TABLE award_amounts (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    plan        text NOT NULL,
    cycle       text NOT NULL,
    component   text NOT NULL,
    amount      bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (provider_id, employee, plan, cycle, component),
    FOREIGN KEY (provider_id, employee, plan, cycle) REFERENCES awards (provider_id, employee, plan, cycle)
);
{row_security("award_amounts")}

CREATE TABLE adjustments (
    provider_id            text NOT NULL,
    employee               text NOT NULL,
    plan                   text NOT NULL,
    cycle                  text NOT NULL,
    classification_version integer NOT NULL,
    lines                  jsonb NOT NULL,
    decided_at             timestamptz NOT NULL,
    PRIMARY KEY (provider_id, employee, plan, cycle, classification_version),
    FOREIGN KEY (provider_id, employee, plan, cycle) REFERENCES awards (provider_id, employee, plan, cycle)
);
{row_security("adjustments")}
{append_only("adjustments")}

CREATE TABLE ledger_entries (
    provider_id       text NOT NULL,
    employee          text NOT NULL,
    plan              text NOT NULL,
    cycle             text NOT NULL,
    component         text NOT NULL,
    sequence          integer NOT NULL CHECK (sequence >= 1),
    previous_sequence integer GENERATED ALWAYS AS (nullif(sequence - 1, 0)) STORED,
    before            bigint NOT NULL,
    amount            bigint NOT NULL CHECK (amount <> 0),
    after             bigint NOT NULL CHECK (after >= 0),
    currency          text NOT NULL,
    run               text NOT NULL,
    cause             text NOT NULL,
    comment           text NOT NULL,
    posted_at         timestamptz NOT NULL,
    posted_by         text NOT NULL,
    PRIMARY KEY (provider_id, employee, plan, cycle, component, sequence),
    UNIQUE (provider_id, employee, plan, cycle, component, sequence, after),
    CONSTRAINT one_posting_per_cause UNIQUE (provider_id, employee, plan, cycle, component, cause),
    CONSTRAINT amount_is_the_difference CHECK (amount = after - before),
    CONSTRAINT starts_at_nothing CHECK (sequence > 1 OR before = 0),
    CONSTRAINT follows_its_predecessor
        FOREIGN KEY (provider_id, employee, plan, cycle, component, previous_sequence, before)
        REFERENCES ledger_entries (provider_id, employee, plan, cycle, component, sequence, after),
    FOREIGN KEY (provider_id, employee, plan, cycle) REFERENCES awards (provider_id, employee, plan, cycle)
);
{row_security("ledger_entries")}
{append_only("ledger_entries")}

CREATE TABLE recoveries (
    provider_id            text NOT NULL,
    recovery               text NOT NULL DEFAULT CAST(uuidv7() AS text),
    employee               text NOT NULL,
    plan                   text NOT NULL,
    cycle                  text NOT NULL,
    component              text NOT NULL,
    run                    text NOT NULL,
    classification_version integer NOT NULL,
    amount                 bigint NOT NULL CHECK (amount < 0),
    state                  text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'accepted', 'superseded')),
    proposed_at            timestamptz NOT NULL,
    decided_at             timestamptz,
    decided_by             text,
    reason                 text,
    PRIMARY KEY (provider_id, recovery),
    FOREIGN KEY (provider_id, employee, plan, cycle) REFERENCES awards (provider_id, employee, plan, cycle),
    CHECK (state <> 'accepted' OR (decided_at IS NOT NULL AND decided_by IS NOT NULL AND reason IS NOT NULL))
);
CREATE UNIQUE INDEX one_open_recovery ON recoveries (provider_id, employee, plan, cycle, component)
    WHERE state = 'proposed';
CREATE INDEX recoveries_by_state ON recoveries (provider_id, state, recovery);
{row_security("recoveries")}
"""


def upgrade() -> None:
    for statement in statements(MACHINERY_0001 + COPIES + REFERENCE_DATA + RUNS + _STANDING + MONEY):
        op.execute(statement)
