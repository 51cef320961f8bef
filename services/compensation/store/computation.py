"""What each person of a run asks, and what each gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Assessment, Component, Line, Subject
from services.compensation.model.pool import Claim, Share
from services.compensation.model.run import PoolResult, RunState
from services.compensation.store.documents import LEFT_OUT, LINES, SUBJECT
from shared import telemetry
from shared.contracts.ids import EmployeeId, ProviderId, RunId

_ITEMS = text("""
    SELECT employee, component, raw, minimum, maximum FROM run_items WHERE run = :run ORDER BY employee, component
""")
_NEXT = text("""
    SELECT CAST(inputs AS text) AS inputs FROM run_subjects
    WHERE run = :run AND status = 'gathered' ORDER BY employee LIMIT :limit
""")


async def next_subjects(tx: AsyncConnection, name: RunId, limit: int) -> list[Subject]:
    return [SUBJECT.validate_json(inputs) for inputs in await tx.scalars(_NEXT, {"run": name, "limit": limit})]


_SAVE_SUBJECTS = text("""
    UPDATE run_subjects AS subject SET status = given.status, left_out = given.left_out, lines = given.lines
    FROM unnest(CAST(:employees AS text[]), CAST(:statuses AS text[]), CAST(:left_out AS jsonb[]),
                CAST(:lines AS jsonb[])) AS given (employee, status, left_out, lines)
    WHERE subject.provider_id = :provider AND subject.run = :run AND subject.employee = given.employee
""")
_SAVE_ITEMS = text("""
    INSERT INTO run_items (provider_id, run, employee, component, raw, minimum, maximum)
    SELECT :provider, :run, given.*
    FROM unnest(CAST(:employees AS text[]), CAST(:components AS text[]), CAST(:raw AS text[]),
                CAST(:minimum AS text[]), CAST(:maximum AS text[])) AS given
""")
_COUNT_ASSESSED = text("UPDATE runs SET version = version + 1, assessed = assessed + :count WHERE run = :run")


async def save_assessments(
    tx: AsyncConnection, provider: ProviderId, name: RunId, found: Sequence[tuple[EmployeeId, Assessment]]
) -> None:
    await tx.execute(
        _SAVE_SUBJECTS,
        {
            "provider": provider,
            "run": name,
            "employees": [employee for employee, _ in found],
            "statuses": ["eligible" if each.items else "ineligible" for _, each in found],
            "left_out": [LEFT_OUT.dump_json(each.left_out).decode() for _, each in found],
            "lines": [LINES.dump_json(each.lines).decode() for _, each in found],
        },
    )
    items = [(employee, item) for employee, each in found for item in each.items]
    await tx.execute(
        _SAVE_ITEMS,
        {
            "provider": provider,
            "run": name,
            "employees": [employee for employee, _ in items],
            "components": [item.component for _, item in items],
            "raw": [str(item.raw) for _, item in items],
            "minimum": [str(item.minimum) for _, item in items],
            "maximum": [str(item.maximum) for _, item in items],
        },
    )
    await tx.execute(_COUNT_ASSESSED, {"run": name, "count": len(found)})


async def claims(tx: AsyncConnection, name: RunId) -> list[Claim]:
    return [
        Claim(
            EmployeeId(row.employee),
            Component(row.component),
            Fraction(row.raw),
            Fraction(row.minimum),
            Fraction(row.maximum),
        )
        for row in await tx.execute(_ITEMS, {"run": name})
    ]


_SAVE_SHARES = text("""
    UPDATE run_items AS item SET amount = given.amount, closing = given.closing
    FROM unnest(CAST(:employees AS text[]), CAST(:components AS text[]), CAST(:amounts AS bigint[]),
                CAST(:closing AS jsonb[])) AS given (employee, component, amount, closing)
    WHERE item.provider_id = :provider AND item.run = :run
      AND item.employee = given.employee AND item.component = given.component
""")
_SAVE_POOLS = text("""
    INSERT INTO run_pools (provider_id, run, pool, amount, requested, minimum, maximum, scale, binds, awarded,
                           undistributed)
    SELECT :provider, :run, given.*
    FROM unnest(CAST(:pools AS text[]), CAST(:amounts AS bigint[]), CAST(:requested AS text[]),
                CAST(:minimum AS text[]), CAST(:maximum AS text[]), CAST(:scales AS text[]), CAST(:binds AS boolean[]),
                CAST(:awarded AS bigint[]), CAST(:undistributed AS bigint[])) AS given
""")
_FINISH = text("""
    UPDATE runs SET version = version + 1, state = :state, computed_at = :now, traceparent = :traceparent
    WHERE run = :run
""")


_COMPUTED_BY = text("SELECT traceparent FROM runs WHERE run = :run")


async def computed_by(tx: AsyncConnection, name: RunId) -> str | None:
    """The trace context of the step that closed the run's pools."""
    found: str | None = await tx.scalar(_COMPUTED_BY, {"run": name})
    return found


async def save_shares(
    tx: AsyncConnection, provider: ProviderId, name: RunId, shares: Sequence[tuple[Share, tuple[Line, ...]]]
) -> None:
    await tx.execute(
        _SAVE_SHARES,
        {
            "provider": provider,
            "run": name,
            "employees": [share.claim.employee for share, _ in shares],
            "components": [share.claim.component for share, _ in shares],
            "amounts": [share.amount for share, _ in shares],
            "closing": [LINES.dump_json(lines).decode() for _, lines in shares],
        },
    )


async def finish(
    tx: AsyncConnection, provider: ProviderId, name: RunId, pools: Sequence[PoolResult], state: RunState, now: datetime
) -> None:
    await tx.execute(
        _SAVE_POOLS,
        {
            "provider": provider,
            "run": name,
            "pools": [found.pool for found in pools],
            "amounts": [found.amount for found in pools],
            "requested": [str(found.requested) for found in pools],
            "minimum": [str(found.minimum) for found in pools],
            "maximum": [str(found.maximum) for found in pools],
            "scales": [None if found.scale is None else str(found.scale) for found in pools],
            "binds": [found.binds for found in pools],
            "awarded": [found.awarded for found in pools],
            "undistributed": [found.undistributed for found in pools],
        },
    )
    traceparent = telemetry.current_traceparent()
    await tx.execute(_FINISH, {"run": name, "state": state, "now": now, "traceparent": traceparent})
