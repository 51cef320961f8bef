"""A person's statement: every line of every computation, the ledger, and on demand the events behind the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction

import httpx
from pydantic import BaseModel, JsonValue, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.api.access import refuse_others
from services.compensation.api.fields import CycleName, Employee, PlanName, ReaderOrOwn, RunName
from services.compensation.api.ledger import EntryOut, RecoveryOut
from services.compensation.model.award import Component, Line
from services.compensation.model.ledger import Chain, Entry, Recovery, RecoveryState
from services.compensation.model.run import Award, Calculation
from services.compensation.settings import CompensationSettings
from services.compensation.store import awards, ledger, recoveries, runs
from shared.errors import NotFound
from shared.web import App, Bearer, Body, Router

router = Router(prefix="/statements", tags=["statements"])

_SCORING_SECONDS = 5
_PAGE, _PAGES = 200, 100


class LineOut(Body):
    """`change` and `result` are exact minor units, as `n` or `n/d`."""

    step: str
    component: Component | None
    label: str
    inputs: Mapping[str, str]
    change: str
    result: str

    @classmethod
    def of(cls, line: Line) -> LineOut:
        return cls(
            step=line.step,
            component=line.component,
            label=line.label,
            inputs=line.inputs,
            change=str(line.change),
            result=str(line.result),
        )


class CalculationOut(Body):
    """Per component, the changes add up to the amount exactly."""

    cause: str
    classification_version: int
    lines: list[LineOut]
    amounts: Mapping[Component, int]

    @classmethod
    def of(cls, found: Calculation) -> CalculationOut:
        sums: dict[Component, Fraction] = {}
        for line in found.lines:
            if line.component is not None:
                sums[line.component] = sums.get(line.component, Fraction(0)) + line.change
        return cls(
            cause=found.cause,
            classification_version=found.classification_version,
            lines=[LineOut.of(line) for line in found.lines],
            amounts={component: int(total) for component, total in sums.items()},
        )


class ComponentOut(Body):
    """`amount` is the award as it is computed today; `posted` and `proposed_recovery` add up to it."""

    component: Component
    amount: int
    posted: int
    proposed_recovery: int


class LeavesOut(Body):
    """Scoring's own parts and events of the scorecard version; without scoring, the reason why they are not here."""

    available: bool
    scorecard_version: int
    reason: str | None = None
    parts: Sequence[JsonValue] = ()
    items: Sequence[JsonValue] = ()


class _LineagePage(BaseModel):
    parts: list[JsonValue]
    items: list[JsonValue]
    next: str | None


class AwardStatement(Body):
    plan: PlanName
    plan_version: int
    run: RunName
    currency: str
    approved_at: datetime | None
    approved_by: str | None
    version: int
    classification_version: int
    scorecard_version: int
    band: str | None
    total: int
    posted: int
    components: list[ComponentOut]
    calculations: list[CalculationOut]
    ledger: list[EntryOut]
    recoveries: list[RecoveryOut]
    leaves: LeavesOut | None


class StatementOut(Body):
    employee: Employee
    cycle: CycleName
    awards: list[AwardStatement]


@router.get("/{employee}")
async def get_statement(
    employee: Employee,
    cycle: CycleName,
    who: ReaderOrOwn,
    app: App,
    bearer: Bearer,
    plan: PlanName | None = None,
    leaves: bool = False,
) -> StatementOut:
    refuse_others(who, employee)
    async with app.database.begin(who.tenant) as tx:
        found = await awards.awards_of(tx, employee, cycle, plan)
        if not found:
            raise NotFound("no approved award of this person stands for this cycle")
        amounts = await awards.amounts_of(tx, employee, cycle)
        entries = await ledger.entries(tx, employee, plan, cycle, None, None)
        proposed = await recoveries.page(tx, None, employee, cycle, None, None)
        statements = [await _statement(tx, award, amounts, entries, proposed) for award in found]
    if leaves and bearer is not None and isinstance(app.settings, CompensationSettings):
        # Outside the transaction: another service's slowness must not hold a connection of ours.
        url = app.settings.scoring_url
        statements = [
            statement.model_copy(
                update={"leaves": await _leaves(url, employee, cycle, statement.scorecard_version, bearer.credentials)}
            )
            for statement in statements
        ]
    return StatementOut(employee=employee, cycle=cycle, awards=statements)


async def _statement(
    tx: AsyncConnection,
    award: Award,
    amounts: Mapping[Chain, int],
    entries: Sequence[Entry],
    recoveries: Sequence[Recovery],
) -> AwardStatement:
    run = await runs.run(tx, award.run)
    if run is None:
        raise LookupError(f"the award rests on run {award.run}, which is gone")
    own_entries = [entry for entry in entries if entry.plan == award.plan]
    own_recoveries = [each for each in recoveries if each.plan == award.plan]
    components = [
        _component(chain, amount, own_entries, own_recoveries)
        for chain, amount in sorted(amounts.items())
        if chain.plan == award.plan
    ]
    return AwardStatement(
        plan=award.plan,
        plan_version=run.plan_version,
        run=award.run,
        currency=run.currency,
        approved_at=run.approved_at,
        approved_by=run.approved_by,
        version=award.version,
        classification_version=award.classification_version,
        scorecard_version=award.scorecard_version,
        band=award.band,
        total=sum(each.amount for each in components),
        posted=sum(each.posted for each in components),
        components=components,
        calculations=[CalculationOut.of(each) for each in await awards.calculations(tx, award)],
        ledger=[EntryOut.of(entry) for entry in own_entries],
        recoveries=[RecoveryOut.of(each) for each in own_recoveries],
        leaves=None,
    )


def _component(chain: Chain, amount: int, entries: Sequence[Entry], recoveries: Sequence[Recovery]) -> ComponentOut:
    posted = sum(entry.amount for entry in entries if entry.component is chain.component)
    proposed = sum(
        each.amount for each in recoveries if each.component is chain.component and each.state is RecoveryState.PROPOSED
    )
    return ComponentOut(component=chain.component, amount=amount, posted=posted, proposed_recovery=proposed)


async def _leaves(url: str, employee: Employee, cycle: CycleName, version: int, token: str) -> LeavesOut:
    """The events behind the scorecard, asked of scoring in the caller's own name, page by page."""
    path = f"{url.rstrip('/')}/v1/cycles/{cycle}/scorecards/{employee}/lineage"
    headers = {"Authorization": f"Bearer {token}"}
    items: list[JsonValue] = []
    asked: dict[str, str | int] = {"version": version, "limit": _PAGE}
    try:
        async with httpx.AsyncClient(timeout=_SCORING_SECONDS) as client:
            for _ in range(_PAGES):
                answer = await client.get(path, params=asked, headers=headers)
                if not answer.is_success:
                    why = f"scoring answered {answer.status_code}"
                    return LeavesOut(available=False, scorecard_version=version, reason=why)
                page = _LineagePage.model_validate_json(answer.content)
                items.extend(page.items)
                if page.next is None:
                    return LeavesOut(available=True, scorecard_version=version, parts=page.parts, items=items)
                asked["cursor"] = page.next
    except httpx.HTTPError:
        return LeavesOut(available=False, scorecard_version=version, reason="scoring cannot be reached")
    except ValidationError:
        return LeavesOut(available=False, scorecard_version=version, reason="scoring's answer cannot be read")
    why = f"only the first {len(items)} events are shown; scoring has the others"
    return LeavesOut(available=True, scorecard_version=version, reason=why, parts=page.parts, items=items)
