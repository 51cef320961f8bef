"""What is proposed to be taken back, and what somebody accepted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Component
from services.compensation.model.ledger import Chain, Recovery, RecoveryState
from shared.contracts.ids import CycleId, EmployeeId, PlanId, ProviderId, RunId

_COLUMNS = """
    recovery, employee, plan, cycle, component, run, classification_version, amount, state, proposed_at, decided_at,
    decided_by, reason
"""
_SUPERSEDE = text("""
    UPDATE recoveries AS open SET state = 'superseded', decided_at = :now
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]))
         AS given (employee, plan, cycle)
    WHERE open.provider_id = :provider AND open.state = 'proposed' AND open.employee = given.employee
      AND open.plan = given.plan AND open.cycle = given.cycle
""")
_PROPOSE = text("""
    INSERT INTO recoveries (provider_id, employee, plan, cycle, component, run, classification_version, amount,
                            proposed_at)
    SELECT :provider, given.*, :now
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]),
                CAST(:components AS text[]), CAST(:runs AS text[]), CAST(:classification_versions AS integer[]),
                CAST(:amounts AS bigint[])) AS given
""")
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM recoveries
    WHERE state = coalesce(CAST(:state AS text), state) AND employee = coalesce(CAST(:employee AS text), employee)
      AND cycle = coalesce(CAST(:cycle AS text), cycle) AND recovery > coalesce(CAST(:after AS text), '')
    ORDER BY recovery LIMIT :limit
""")  # noqa: S608 - own columns
_FIND = text(f"SELECT {_COLUMNS} FROM recoveries WHERE recovery = :recovery")  # noqa: S608 - own columns
_ACCEPT = text(f"""
    UPDATE recoveries SET state = 'accepted', decided_at = :now, decided_by = :by, reason = :reason
    WHERE recovery = :recovery AND state = 'proposed' RETURNING {_COLUMNS}
""")  # noqa: S608 - own columns
_LOCK_AWARD = text("""
    SELECT FROM awards WHERE employee = :employee AND plan = :plan AND cycle = :cycle FOR UPDATE
""")


def _recovery(row: Row[tuple[object, ...]]) -> Recovery:
    found = row._mapping
    return Recovery(**{**found, "component": Component(found["component"]), "state": RecoveryState(found["state"])})


@dataclass(frozen=True, slots=True)
class Proposal:
    chain: Chain
    run: RunId
    classification_version: int
    amount: int


async def supersede_and_propose(
    tx: AsyncConnection,
    provider: ProviderId,
    awards: Collection[tuple[EmployeeId, PlanId, CycleId]],
    proposals: Sequence[Proposal],
    now: datetime,
) -> None:
    """Withdraw what was open for these awards and propose anew: at most one proposal per component is ever open."""
    keys = sorted(awards)
    given = {
        "provider": provider,
        "employees": [key[0] for key in keys],
        "plans": [key[1] for key in keys],
        "cycles": [key[2] for key in keys],
        "now": now,
    }
    await tx.execute(_SUPERSEDE, given)
    if not proposals:
        return
    await tx.execute(
        _PROPOSE,
        {
            "provider": provider,
            "employees": [each.chain.employee for each in proposals],
            "plans": [each.chain.plan for each in proposals],
            "cycles": [each.chain.cycle for each in proposals],
            "components": [each.chain.component for each in proposals],
            "runs": [each.run for each in proposals],
            "classification_versions": [each.classification_version for each in proposals],
            "amounts": [each.amount for each in proposals],
            "now": now,
        },
    )


async def page(
    tx: AsyncConnection,
    state: RecoveryState | None,
    employee: EmployeeId | None,
    cycle: CycleId | None,
    after: str | None,
    limit: int | None,
) -> list[Recovery]:
    values = {"state": state, "employee": employee, "cycle": cycle, "after": after, "limit": limit}
    return [_recovery(row) for row in await tx.execute(_PAGE, values)]


async def lock(tx: AsyncConnection, name: str) -> Recovery | None:
    """The recovery, once its award is locked: a revision that is being applied comes first and may withdraw it."""
    row = (await tx.execute(_FIND, {"recovery": name})).one_or_none()
    if row is None:
        return None
    await tx.execute(_LOCK_AWARD, {"employee": row.employee, "plan": row.plan, "cycle": row.cycle})
    return _recovery((await tx.execute(_FIND, {"recovery": name})).one())


async def accept(tx: AsyncConnection, name: str, reason: str, now: datetime, by: str) -> Recovery:
    values = {"recovery": name, "reason": reason, "now": now, "by": by}
    return _recovery((await tx.execute(_ACCEPT, values)).one())
