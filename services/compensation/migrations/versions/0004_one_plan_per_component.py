"""A person's component of a cycle is paid by one plan.

The first entry of a chain is what holds the component. Chains that a second plan began before this was refused stay as
they were posted: they are marked, so that the index can be made over all others, and nobody marks another one.
"""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import statements

revision = "0004"
down_revision = "0003"

# The owner is confined to a provider as well, and nobody edits the ledger: both rest until the mark is set.
ONE_PLAN_PER_COMPONENT = """
ALTER TABLE ledger_entries ADD COLUMN second_plan boolean NOT NULL DEFAULT false;
ALTER TABLE ledger_entries NO FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries DISABLE TRIGGER append_only;
UPDATE ledger_entries AS second SET second_plan = true
WHERE sequence = 1 AND EXISTS (
    SELECT FROM ledger_entries AS first
    WHERE first.provider_id = second.provider_id AND first.cycle = second.cycle AND first.employee = second.employee
      AND first.component = second.component AND first.sequence = 1
      AND (first.posted_at, first.plan) < (second.posted_at, second.plan)
);
ALTER TABLE ledger_entries ENABLE TRIGGER append_only;
ALTER TABLE ledger_entries FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries ADD CONSTRAINT no_second_plan CHECK (NOT second_plan) NOT VALID;
CREATE UNIQUE INDEX one_plan_per_component ON ledger_entries (provider_id, cycle, employee, component)
    WHERE sequence = 1 AND NOT second_plan;
"""


def upgrade() -> None:
    for statement in statements(ONE_PLAN_PER_COMPONENT):
        op.execute(statement)
