"""The copies calibration decides on, its sessions and decisions, and the versions it publishes."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0001, append_only, row_security, statements

revision = "0001"
down_revision = None

_COPIES = """
CREATE TABLE employees (
    provider_id  text NOT NULL,
    employee     text NOT NULL,
    version      bigint NOT NULL,
    display_name text NOT NULL,
    PRIMARY KEY (provider_id, employee)
);

-- Who reports to whom from `since` until before `until`. After somebody's last assignment its manager stands.
CREATE TABLE superiors (
    provider_id text NOT NULL,
    employee    text NOT NULL,
    since       date NOT NULL,
    until       date NOT NULL,
    manager     text NOT NULL,
    PRIMARY KEY (provider_id, employee, since),
    FOREIGN KEY (provider_id, employee) REFERENCES employees
);
CREATE INDEX superiors_by_manager ON superiors (provider_id, manager, since);

CREATE TABLE cycles (
    provider_id text NOT NULL,
    cycle       text NOT NULL,
    version     bigint NOT NULL,
    state       text NOT NULL,
    ends_on     date NOT NULL,
    bands       text[] NOT NULL,
    scorecards  integer,
    PRIMARY KEY (provider_id, cycle)
);

-- The newest version that has effect: current or accepted. `counted`: a current one was seen, as the freeze counts.
CREATE TABLE scorecards (
    provider_id      text NOT NULL,
    cycle            text NOT NULL,
    employee         text NOT NULL,
    version          bigint NOT NULL,
    counted          boolean NOT NULL,
    score            numeric,
    coverage         numeric NOT NULL,
    proposed_band    text,
    parts            jsonb NOT NULL,
    role             text NOT NULL,
    grade            text NOT NULL,
    unit             text NOT NULL,
    manager          text,
    client           text NOT NULL,
    line_of_business text NOT NULL,
    site             text NOT NULL,
    as_of            timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee)
);

CREATE TABLE late_scorecards (
    provider_id   text NOT NULL,
    cycle         text NOT NULL,
    employee      text NOT NULL,
    version       bigint NOT NULL,
    score         numeric,
    proposed_band text,
    as_of         timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee)
);

CREATE TABLE manager_ratings (
    provider_id  text NOT NULL,
    cycle        text NOT NULL,
    employee     text NOT NULL,
    rater        text NOT NULL CHECK (rater <> employee),
    revision     bigint NOT NULL,
    feedback     text NOT NULL,
    rating       numeric NOT NULL,
    submitted_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee, rater)
);
"""

_SESSIONS = """
CREATE TABLE sessions (
    provider_id       text NOT NULL,
    session           text NOT NULL DEFAULT uuidv7()::text,
    name              text NOT NULL,
    cycle             text NOT NULL,
    state             text NOT NULL DEFAULT 'prepared'
                      CHECK (state IN ('prepared', 'open', 'locked', 'published', 'cancelled')),
    units             text[] NOT NULL,
    clients           text[] NOT NULL,
    lines_of_business text[] NOT NULL,
    grades            text[] NOT NULL,
    owner             text,
    facilitator       text NOT NULL,
    participants      text[] NOT NULL,
    deadline          timestamptz NOT NULL,
    version           bigint NOT NULL DEFAULT 1,
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL,
    opened_at         timestamptz,
    locked_at         timestamptz,
    published_at      timestamptz,
    published_by      text,
    PRIMARY KEY (provider_id, session),
    FOREIGN KEY (provider_id, cycle) REFERENCES cycles,
    CHECK ((state = 'published') = (published_at IS NOT NULL AND published_by IS NOT NULL))
);

-- `proposed_band` is the scored band the decision is about, `band` the decided one or, while awaiting, the one asked.
CREATE TABLE subjects (
    provider_id       text NOT NULL,
    session           text NOT NULL,
    employee          text NOT NULL,
    cycle             text NOT NULL,
    version           bigint NOT NULL DEFAULT 1,
    state             text NOT NULL DEFAULT 'undecided'
                      CHECK (state IN ('undecided', 'confirmed', 'changed', 'awaiting-approval')),
    scorecard_version bigint NOT NULL,
    score             numeric,
    coverage          numeric NOT NULL,
    proposed_band     text,
    band              text,
    decided           bigint,
    released          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (provider_id, session, employee),
    FOREIGN KEY (provider_id, session) REFERENCES sessions,
    CHECK ((state = 'undecided') = (decided IS NULL)),
    CHECK (state <> 'undecided' OR band IS NULL)
);
CREATE UNIQUE INDEX one_session_per_person ON subjects (provider_id, cycle, employee) WHERE NOT released;

-- Everything that happened to a subject: one row per version of it.
CREATE TABLE decisions (
    provider_id       text NOT NULL,
    session           text NOT NULL,
    employee          text NOT NULL,
    version           bigint NOT NULL,
    stage             text NOT NULL CHECK (stage IN ('session', 'revision')),
    act               text NOT NULL CHECK (act IN ('confirm', 'change', 'approve', 'reject', 'scorecard')),
    actor             text NOT NULL,
    actor_employee    text CHECK (actor_employee <> employee),
    at                timestamptz NOT NULL,
    before_state      text NOT NULL,
    before_band       text,
    after_state       text NOT NULL,
    after_band        text,
    rationale_code    text,
    rationale_text    text,
    reason            text,
    scorecard_version bigint NOT NULL,
    PRIMARY KEY (provider_id, session, employee, version),
    FOREIGN KEY (provider_id, session, employee) REFERENCES subjects,
    CHECK ((act = 'change') = (rationale_code IS NOT NULL AND rationale_text IS NOT NULL)),
    CHECK ((act IN ('approve', 'reject')) = (reason IS NOT NULL))
);
ALTER TABLE subjects ADD FOREIGN KEY (provider_id, session, employee, decided) REFERENCES decisions;
"""

_OUTCOMES = """
CREATE TABLE revisions (
    provider_id       text NOT NULL,
    cycle             text NOT NULL,
    employee          text NOT NULL,
    number            integer NOT NULL,
    session           text NOT NULL,
    state             text NOT NULL CHECK (state IN ('undecided', 'confirmed', 'changed', 'awaiting-approval')),
    scorecard_version bigint NOT NULL,
    band              text,
    decided           bigint,
    opened_at         timestamptz NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee, number),
    FOREIGN KEY (provider_id, session, employee) REFERENCES subjects,
    FOREIGN KEY (provider_id, session, employee, decided) REFERENCES decisions,
    CHECK ((state = 'undecided') = (decided IS NULL))
);
CREATE UNIQUE INDEX one_open_revision ON revisions (provider_id, cycle, employee)
    WHERE state IN ('undecided', 'awaiting-approval');

-- A version is superseded by the next one, never changed: the one without a successor counts.
CREATE TABLE classifications (
    provider_id       text NOT NULL,
    cycle             text NOT NULL,
    employee          text NOT NULL,
    version           bigint NOT NULL,
    supersedes        bigint,
    session           text NOT NULL,
    decision          bigint NOT NULL,
    band              text,
    proposed_band     text,
    manager_rating    numeric,
    manager_band      text,
    scorecard_version bigint NOT NULL,
    score             numeric,
    parts             jsonb NOT NULL,
    role              text NOT NULL,
    grade             text NOT NULL,
    unit              text NOT NULL,
    manager           text,
    client            text NOT NULL,
    line_of_business  text NOT NULL,
    site              text NOT NULL,
    decided_at        timestamptz NOT NULL,
    published_at      timestamptz NOT NULL,
    published_by      text NOT NULL,
    PRIMARY KEY (provider_id, cycle, employee, version),
    UNIQUE (provider_id, cycle, employee, supersedes),
    FOREIGN KEY (provider_id, cycle, employee, supersedes) REFERENCES classifications,
    FOREIGN KEY (provider_id, session, employee, decision) REFERENCES decisions,
    CHECK (coalesce(supersedes, 0) = version - 1)
);
"""

_SECURED = (
    "employees",
    "superiors",
    "cycles",
    "scorecards",
    "late_scorecards",
    "manager_ratings",
    "sessions",
    "subjects",
    "decisions",
    "revisions",
    "classifications",
)


def upgrade() -> None:
    security = "".join(row_security(table) for table in _SECURED)
    kept = append_only("decisions") + append_only("classifications")
    for statement in statements(MACHINERY_0001 + _COPIES + _SESSIONS + _OUTCOMES + security + kept):
        op.execute(statement)
