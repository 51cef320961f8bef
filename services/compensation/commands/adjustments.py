"""Decided awards under a revised classification: one difference, posted or proposed to be taken back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import POOL_OF, Classification, Component, Line
from services.compensation.model.ledger import Chain, Head, Posting
from services.compensation.model.run import Award, Decided, Rules
from services.compensation.rules.adjustments import readjusted
from services.compensation.rules.awards import Lookup, assess, closing_lines
from services.compensation.store import awards, gathering, ledger, plans, recoveries, runs
from services.compensation.store.awards import Readjustment
from services.compensation.store.ledger import Held
from services.compensation.store.recoveries import Proposal
from shared import audit
from shared.contracts.ids import CycleId, EmployeeId, PlanId, ProviderId, RunId
from shared.contracts.outcomes import AwardAdjusted
from shared.messaging import outbox

_BY = "compensation"
"""Who posts when no human decides anew: the classification's own decision is what moved the money."""


async def readjust(
    tx: AsyncConnection, provider: ProviderId, changed: Collection[tuple[CycleId, EmployeeId]], now: datetime
) -> None:
    """Compute the awards that rest on an older classification again, under the rules and inputs of their own runs.

    The award's row is locked from here to the commit, and a version is applied once: delivered again, it finds nothing.
    """
    outdated = await awards.lock_outdated(tx, provider, changed)
    if not outdated:
        return
    by_run: defaultdict[RunId, list[tuple[Award, Classification]]] = defaultdict(list)
    for award, classification in outdated:
        by_run[award.run].append((award, classification))
    people = {award.employee for award, _ in outdated}
    heads, holders = await ledger.heads(tx, provider, people), await ledger.holders(tx, provider, people)
    found: list[Readjustment] = []
    currencies: dict[RunId, str] = {}
    for run in sorted(by_run):
        currency, again = await _computed_again(tx, provider, run, by_run[run], holders)
        currencies[run] = currency
        found.extend(again)
        # Where both of two plans awarded nothing so far, the run that comes first in this order begins.
        for each in again:
            for component in (component for component, amount in each.amounts.items() if amount):
                holders.setdefault((each.award.employee, each.award.cycle, component), each.award.plan)
    moved: list[_Moved] = []
    for position, each in enumerate(found):
        differences = _differences(each, heads)
        award = replace(each.award, version=each.award.version + bool(differences))
        found[position] = replace(each, award=award)
        moved.extend(_Moved(award, chain, amount) for chain, amount in differences.items())
    await awards.save_readjusted(tx, provider, found, now)
    await _settle(tx, provider, found, moved, heads, currencies, now)
    outbox.append(tx, _events(provider, moved, now))
    posted = sum(each.amount > 0 for each in moved)
    counts = {"awards": len(found), "entries": posted, "proposed_recoveries": len(moved) - posted}
    await audit.record(tx, _BY, now, "awards.readjusted", "awards", **counts)


@dataclass(frozen=True, slots=True)
class _Moved:
    award: Award
    chain: Chain
    amount: int


async def _computed_again(
    tx: AsyncConnection,
    provider: ProviderId,
    run: RunId,
    outdated: Sequence[tuple[Award, Classification]],
    holders: Mapping[Held, PlanId],
) -> tuple[str, list[Readjustment]]:
    """The run's currency, and each award as it is under the newer classification."""
    row = await runs.run(tx, run)
    context = await gathering.context(tx, run)
    version = await plans.plan_version(tx, row.plan, row.plan_version) if row else None
    if row is None or context is None or version is None:
        raise LookupError(f"the approved run {run} has lost what it was computed from")
    scales = {found.pool: found.scale for found in await runs.pools(tx, run) if found.scale is not None}
    rules = Rules(version.content, scales)
    lookup = Lookup(context.reference, context.period)
    decided = await awards.decided(tx, provider, run, {award.employee for award, _ in outdated})
    again = [
        _readjustment(rules, lookup, award, classification, decided[award.employee], holders)
        for award, classification in outdated
    ]
    return row.currency, again


def _readjustment(
    rules: Rules,
    lookup: Lookup,
    award: Award,
    classification: Classification,
    decided: Decided,
    holders: Mapping[Held, PlanId],
) -> Readjustment:
    keys = {component: (award.employee, award.cycle, component) for component in Component}
    held = {component: holders[key] for component, key in keys.items() if holders.get(key, award.plan) != award.plan}
    assessment = assess(rules.plan, lookup, replace(decided.subject, classification=classification, held=held))
    shares = readjusted(award.employee, decided.items, assessment.items, rules.scales, rules.plan.rounding)
    amounts = dict.fromkeys(decided.items, 0) | {share.claim.component: share.amount for share in shares}
    lines: tuple[Line, ...] = assessment.lines
    for share in shares:
        scale = rules.scales[POOL_OF[share.claim.component]]
        lines += closing_lines(share, scale, rules.plan.rounding)
    renewed = replace(
        award,
        classification_version=classification.version,
        scorecard_version=classification.scorecard_version,
        band=classification.band,
    )
    return Readjustment(renewed, amounts, lines)


def _differences(found: Readjustment, heads: Mapping[Chain, Head]) -> dict[Chain, int]:
    """Per component, the award as it is now less what stands posted, where that is not nothing."""
    award = found.award
    differences: dict[Chain, int] = {}
    for component in sorted(Component):
        chain = Chain(award.employee, award.plan, award.cycle, component)
        head = heads.get(chain)
        difference = found.amounts.get(component, 0) - (head.after if head else 0)
        if difference:
            differences[chain] = difference
    return differences


async def _settle(
    tx: AsyncConnection,
    provider: ProviderId,
    found: Sequence[Readjustment],
    moved: Sequence[_Moved],
    heads: Mapping[Chain, Head],
    currencies: Mapping[RunId, str],
    now: datetime,
) -> None:
    """Post what is owed; propose, and never deduct, what was paid too much."""
    postings = [
        Posting(
            each.chain,
            heads.get(each.chain),
            each.amount,
            currencies[each.award.run],
            each.award.run,
            f"classification/{each.award.classification_version}",
            f"Classification {each.award.classification_version} in place of an earlier one, "
            f"by the rules of run {each.award.run}",
        )
        for each in moved
        if each.amount > 0
    ]
    proposals = [
        Proposal(each.chain, each.award.run, each.award.classification_version, each.amount)
        for each in moved
        if each.amount < 0
    ]
    touched = {(each.award.employee, each.award.plan, each.award.cycle) for each in found}
    await recoveries.supersede_and_propose(tx, provider, touched, proposals, now)
    if postings:
        await ledger.post(tx, provider, postings, now, _BY)


def _events(provider: ProviderId, moved: Sequence[_Moved], now: datetime) -> list[AwardAdjusted]:
    """One for each award that moved, whatever the number of its components that did."""
    by_award: defaultdict[Award, list[int]] = defaultdict(list)
    for each in moved:
        by_award[each.award].append(each.amount)
    return [
        AwardAdjusted(
            provider=provider,
            cycle=award.cycle,
            employee=award.employee,
            plan=award.plan,
            run=award.run,
            version=award.version,
            classification_version=award.classification_version,
            recovery=min(amounts) < 0,
            decided_at=now,
        )
        for award, amounts in by_award.items()
    ]
