"""The ledger: chains of entries, and who holds a component."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Component
from services.compensation.model.ledger import Chain, Entry, Head, Posting
from services.compensation.model.run import Run
from shared.contracts.ids import CycleId, EmployeeId, PlanId, ProviderId

Held = tuple[EmployeeId, CycleId, Component]
"""What one plan at most awards."""

_POST_RUN = text("""
    INSERT INTO ledger_entries (provider_id, employee, plan, cycle, component, sequence, before, amount, after,
                                currency, run, cause, comment, posted_at, posted_by)
    SELECT provider_id, employee, :plan, :cycle, component, 1, 0, amount, amount, :currency,
           run, 'run/' || run, :comment, :now, :by
    FROM run_items WHERE run = :run AND amount > 0 ORDER BY employee, component
    ON CONFLICT (provider_id, cycle, employee, component) WHERE sequence = 1 AND NOT second_plan DO NOTHING
""")
_HELD_BY_OTHERS = text("""
    SELECT item.employee, item.component, holder.plan, count(*) OVER () AS total
    FROM run_items AS item
    JOIN ledger_entries AS holder
        ON holder.provider_id = item.provider_id AND holder.cycle = :cycle AND holder.employee = item.employee
       AND holder.component = item.component AND holder.sequence = 1 AND NOT holder.second_plan
    WHERE item.run = :run AND item.amount > 0 AND holder.plan <> :plan
    ORDER BY item.employee, item.component LIMIT :limit
""")
_HOLDERS = text("""
    SELECT employee, cycle, component, plan FROM ledger_entries
    WHERE provider_id = :provider AND employee = ANY(:employees) AND sequence = 1 AND NOT second_plan
""")
_HEADS = text("""
    SELECT DISTINCT ON (employee, plan, cycle, component) employee, plan, cycle, component, sequence, after
    FROM ledger_entries
    WHERE provider_id = :provider AND employee = ANY(:employees)
    ORDER BY employee, plan, cycle, component, sequence DESC
""")
# Everything is computed here from the head that was read: if another posting came between, the sequence is taken.
_POST = text("""
    INSERT INTO ledger_entries (provider_id, employee, plan, cycle, component, sequence, before, amount, after,
                                currency, run, cause, comment, posted_at, posted_by)
    SELECT :provider, employee, plan, cycle, component, sequence + 1, before, amount, before + amount, currency,
           run, cause, comment, :now, :by
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]),
                CAST(:components AS text[]), CAST(:sequences AS integer[]), CAST(:before AS bigint[]),
                CAST(:amounts AS bigint[]), CAST(:currencies AS text[]), CAST(:runs AS text[]), CAST(:causes AS text[]),
                CAST(:comments AS text[]))
         AS given (employee, plan, cycle, component, sequence, before, amount, currency, run, cause, comment)
    ORDER BY employee, plan, cycle, component
""")


async def post_run(tx: AsyncConnection, run: Run, comment: str, now: datetime, by: str) -> None:
    """The first entry of every chain of the run, for whatever is not nothing and no other plan holds."""
    values = {"run": run.run, "plan": run.plan, "cycle": run.cycle, "currency": run.currency}
    await tx.execute(_POST_RUN, values | {"comment": comment, "now": now, "by": by})


async def held_by_others(tx: AsyncConnection, run: Run, limit: int) -> tuple[list[Chain], int]:
    """What the run would award and another plan holds: the first of these chains, and how many there are."""
    values = {"run": run.run, "plan": run.plan, "cycle": run.cycle, "limit": limit}
    rows = (await tx.execute(_HELD_BY_OTHERS, values)).all()
    chains = [Chain(row.employee, row.plan, run.cycle, Component(row.component)) for row in rows]
    return chains, rows[0].total if rows else 0


async def holders(tx: AsyncConnection, provider: ProviderId, employees: Collection[EmployeeId]) -> dict[Held, PlanId]:
    """Which plan began the chain of a component: from then on no other plan awards it, whatever became of it."""
    rows = await tx.execute(_HOLDERS, {"provider": provider, "employees": sorted(employees)})
    return {(row.employee, row.cycle, Component(row.component)): row.plan for row in rows}


async def heads(tx: AsyncConnection, provider: ProviderId, employees: Collection[EmployeeId]) -> Mapping[Chain, Head]:
    rows = await tx.execute(_HEADS, {"provider": provider, "employees": sorted(employees)})
    return {
        Chain(row.employee, row.plan, row.cycle, Component(row.component)): Head(row.sequence, row.after)
        for row in rows
    }


async def post(tx: AsyncConnection, provider: ProviderId, postings: Sequence[Posting], now: datetime, by: str) -> None:
    chains = [posting.chain for posting in postings]
    await tx.execute(
        _POST,
        {
            "provider": provider,
            "employees": [chain.employee for chain in chains],
            "plans": [chain.plan for chain in chains],
            "cycles": [chain.cycle for chain in chains],
            "components": [chain.component for chain in chains],
            "sequences": [posting.head.sequence if posting.head else 0 for posting in postings],
            "before": [posting.head.after if posting.head else 0 for posting in postings],
            "amounts": [posting.amount for posting in postings],
            "currencies": [posting.currency for posting in postings],
            "runs": [posting.run for posting in postings],
            "causes": [posting.cause for posting in postings],
            "comments": [posting.comment for posting in postings],
            "now": now,
            "by": by,
        },
    )


_ENTRIES = text("""
    SELECT employee, plan, cycle, component, sequence, before, amount, after, currency, run, cause, comment, posted_at,
           posted_by
    FROM ledger_entries
    WHERE employee = coalesce(CAST(:employee AS text), employee) AND plan = coalesce(CAST(:plan AS text), plan)
      AND cycle = coalesce(CAST(:cycle AS text), cycle)
      AND (employee, plan, cycle, component, sequence) >
          (coalesce(CAST(:after_employee AS text), ''), coalesce(CAST(:after_plan AS text), ''),
           coalesce(CAST(:after_cycle AS text), ''), coalesce(CAST(:after_component AS text), ''),
           coalesce(CAST(:after_sequence AS integer), 0))
    ORDER BY employee, plan, cycle, component, sequence LIMIT :limit
""")


async def entries(
    tx: AsyncConnection,
    employee: EmployeeId | None,
    plan: PlanId | None,
    cycle: CycleId | None,
    after: tuple[str, str, str, str, int] | None,
    limit: int | None,
) -> list[Entry]:
    names = ("after_employee", "after_plan", "after_cycle", "after_component", "after_sequence")
    key = dict(zip(names, after or (None,) * len(names), strict=True))
    values = {"employee": employee, "plan": plan, "cycle": cycle, "limit": limit}
    rows = await tx.execute(_ENTRIES, values | key)
    return [Entry(**{**row._mapping, "component": Component(row.component)}) for row in rows]


@dataclass(frozen=True, slots=True)
class BrokenChain:
    employee: EmployeeId
    plan: PlanId
    cycle: CycleId
    component: Component
    reason: str


# The second check ties the ledger to what it is for: what stands posted, less what is proposed to be taken back, is the
# award as it is computed now. The last names what a second plan paid before that was refused.
_BROKEN = text("""
    WITH links AS (
        SELECT employee, plan, cycle, component, sequence, before, amount, after,
               lag(sequence) OVER chain AS previous_sequence, lag(after) OVER chain AS previous_after
        FROM ledger_entries WINDOW chain AS (PARTITION BY employee, plan, cycle, component ORDER BY sequence)
    ), posted AS (
        SELECT employee, plan, cycle, component, sum(amount) AS total FROM ledger_entries GROUP BY 1, 2, 3, 4
    ), proposed AS (
        SELECT employee, plan, cycle, component, amount FROM recoveries WHERE state = 'proposed'
    )
    SELECT employee, plan, cycle, component, 'link' AS reason FROM links
    WHERE sequence <> coalesce(previous_sequence, 0) + 1 OR before <> coalesce(previous_after, 0)
       OR amount <> after - before
    UNION
    SELECT employee, plan, cycle, component, 'award'
    FROM posted FULL JOIN award_amounts AS award USING (employee, plan, cycle, component)
    LEFT JOIN proposed USING (employee, plan, cycle, component)
    WHERE coalesce(posted.total, 0) + coalesce(proposed.amount, 0) <> coalesce(award.amount, 0)
    UNION
    SELECT employee, plan, cycle, component, 'second-plan'
    FROM ledger_entries JOIN posted USING (employee, plan, cycle, component)
    WHERE sequence = 1 AND second_plan AND posted.total > 0
    ORDER BY 1, 2, 3, 4, 5 LIMIT 100
""")
_EXTENT = text("""
    SELECT count(*) AS entries, count(*) FILTER (WHERE sequence = 1) AS chains FROM ledger_entries
""")


async def broken(tx: AsyncConnection) -> list[BrokenChain]:
    """Chains with a missing or altered link, or that do not come to the award as it is computed now; at most 100."""
    return [BrokenChain(**{**row._mapping, "component": Component(row.component)}) for row in await tx.execute(_BROKEN)]


async def extent(tx: AsyncConnection) -> tuple[int, int]:
    """How many entries there are, and how many chains."""
    row = (await tx.execute(_EXTENT)).one()
    return int(row.entries), int(row.chains)
