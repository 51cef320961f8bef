"""What a second person decides: a run is paid, an overpayment is taken back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.commands.runs import locked
from services.compensation.model.award import AWARDED_BY_ANOTHER_PLAN
from services.compensation.model.ledger import Chain, Posting, Recovery, RecoveryState
from services.compensation.model.run import Run, RunState
from services.compensation.store import awards, computation, ledger, plans, recoveries, runs
from shared import audit, telemetry
from shared.auth import Principal
from shared.contracts.ids import RunId
from shared.contracts.outcomes import AwardDecided
from shared.errors import Conflict, Forbidden, NotFound
from shared.field_problems import FieldProblem
from shared.messaging import outbox
from shared.versions import Precondition

_SHOWN = 100


async def approve(tx: AsyncConnection, who: Principal, name: RunId, if_match: Precondition, now: datetime) -> Run:
    """Turn a computed run into awards and ledger entries, all of them or none.

    The budget is locked before the run: two runs of one budget are approved one after the other, and the second is
    refused. Of two plans that award the same component the one that posts first has it: the ledger's unique index makes
    the other wait, and then refuses it.
    """
    asked = await runs.run(tx, name)
    if asked is None:
        raise NotFound(f"there is no run {name}")
    await plans.budget(tx, asked.budget, lock=True)
    run = await locked(tx, name)
    await _refuse_approval(tx, who, run)
    if_match.check(run.version)
    if run.state is not RunState.COMPUTED:
        raise Conflict(f"the run is {run.state}; only a computed one can be approved", code="run-not-computed")
    spent = await plans.spent_by(tx, run.budget)
    if spent is not None:
        raise Conflict(f"run {spent} has spent budget {run.budget}", code="budget-spent")
    decided, before = await awards.decide(tx, name, run.plan, run.cycle)
    if before:
        raise Conflict(
            f"{before} of the run's people were awarded this cycle by another run meanwhile; recompute",
            code="already-awarded",
        )
    await ledger.post_run(tx, run, f"Run {name} approved", now, who.subject)
    await _refuse_second_plan(tx, run)
    await runs.approve(tx, name, now, who.subject)
    telemetry.link([await computation.computed_by(tx, name)])
    outbox.append(
        tx,
        [
            AwardDecided(
                provider=who.tenant,
                cycle=run.cycle,
                employee=employee,
                plan=run.plan,
                run=name,
                version=1,
                classification_version=version,
                decided_at=now,
            )
            for employee, version in decided
        ],
    )
    counts = {"computation": run.computation, "awards": len(decided)}
    await audit.record(tx, who.subject, now, "run.approved", f"run/{name}", **counts)
    return await locked(tx, name)


async def _refuse_approval(tx: AsyncConnection, who: Principal, run: Run) -> None:
    if who.subject in run.authors or (who.employee is not None and who.employee in run.author_people):
        raise Forbidden("who created or recomputed a run does not approve it", code="own-run")
    if who.employee is not None and await awards.contains(tx, run.run, who.employee):
        raise Forbidden("nobody approves a run that contains their own award", code="own-case")


async def _refuse_second_plan(tx: AsyncConnection, run: Run) -> None:
    """Asked after posting: what was left unposted is what somebody else posted, even a moment ago."""
    held, total = await ledger.held_by_others(tx, run, _SHOWN)
    if held:
        raise Conflict(
            f"{total} components of this cycle are awarded to the run's people by another plan; "
            "recompute the run, and it leaves them out",
            code=AWARDED_BY_ANOTHER_PLAN,
            problems=[
                FieldProblem(
                    f"/awards/{chain.employee}/{chain.component}",
                    AWARDED_BY_ANOTHER_PLAN,
                    f"plan {chain.plan} awards the {chain.component} of {chain.employee}",
                )
                for chain in held
            ],
        )


async def accept_recovery(tx: AsyncConnection, who: Principal, name: str, reason: str, now: datetime) -> Recovery:
    """Post a proposed recovery: from here on the ledger shows it, with the reason of who accepted it."""
    recovery = await recoveries.lock(tx, name)
    if recovery is None:
        raise NotFound(f"there is no recovery {name}")
    if who.employee == recovery.employee:
        raise Forbidden("nobody decides on a recovery from themself", code="own-case")
    if recovery.state is not RecoveryState.PROPOSED:
        raise Conflict(f"the recovery is {recovery.state}", code="recovery-decided")
    run = await runs.run(tx, recovery.run)
    if run is None:
        raise LookupError(f"recovery {name} rests on a run that is gone")
    chain = Chain(recovery.employee, recovery.plan, recovery.cycle, recovery.component)
    head = (await ledger.heads(tx, who.tenant, [recovery.employee])).get(chain)
    posting = Posting(chain, head, recovery.amount, run.currency, recovery.run, f"recovery/{name}", reason)
    await ledger.post(tx, who.tenant, [posting], now, who.subject)
    accepted = await recoveries.accept(tx, name, reason, now, who.subject)
    await audit.record(tx, who.subject, now, "recovery.accepted", f"recovery/{name}")
    return accepted
