"""The ledger, its verification, and recoveries that wait for a human."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Response

from services.compensation.api.fields import (
    Administrator,
    CycleName,
    Employee,
    PlanName,
    Reader,
    RunName,
    Text,
)
from services.compensation.commands import approvals
from services.compensation.model.award import Component
from services.compensation.model.ledger import Entry, Recovery, RecoveryState
from services.compensation.store import ledger, recoveries
from shared.contracts.ids import IDENTIFIER
from shared.web import App, Body, Once, Page, Paging, Router

router = Router(tags=["ledger"])


class EntryOut(Body):
    employee: Employee
    plan: PlanName
    cycle: CycleName
    component: Component
    sequence: int
    before: int
    amount: int
    after: int
    currency: str
    run: RunName
    cause: str
    comment: str
    posted_at: datetime
    posted_by: str

    @classmethod
    def of(cls, entry: Entry) -> EntryOut:
        return cls.model_validate(entry, from_attributes=True)


class BrokenOut(Body):
    employee: Employee
    plan: PlanName
    cycle: CycleName
    component: Component
    reason: str


class VerificationOut(Body):
    """`link`: an entry does not follow its predecessor. `award`: a chain does not come to the award it is for.
    `second-plan`: another plan paid this component to this person first, and this chain still stands above nothing."""

    entries: int
    chains: int
    broken: list[BrokenOut]
    holds: bool


@router.get("/ledger", response_model=Page[EntryOut])
async def list_entries(
    who: Reader,
    app: App,
    paging: Paging,
    employee: Employee | None = None,
    plan: PlanName | None = None,
    cycle: CycleName | None = None,
) -> Page[EntryOut] | Response:
    after = paging.after(tuple[str, str, str, str, int])
    async with app.database.begin(who.tenant) as tx:
        found = await ledger.entries(tx, employee, plan, cycle, after, paging.fetch)
    items = [EntryOut.of(entry) for entry in found]
    return paging.page(EntryOut, items, key=lambda e: (e.employee, e.plan, e.cycle, e.component, e.sequence))


@router.get("/ledger/verification")
async def verify_ledger(who: Reader, app: App) -> VerificationOut:
    async with app.database.begin(who.tenant) as tx:
        entries, chains = await ledger.extent(tx)
        broken = [BrokenOut.model_validate(each, from_attributes=True) for each in await ledger.broken(tx)]
    return VerificationOut(entries=entries, chains=chains, broken=broken, holds=not broken)


class RecoveryOut(Body):
    id: str
    employee: Employee
    plan: PlanName
    cycle: CycleName
    component: Component
    run: RunName
    classification_version: int
    amount: int
    state: RecoveryState
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None

    @classmethod
    def of(cls, found: Recovery) -> RecoveryOut:
        return cls(
            id=found.recovery,
            **{name: getattr(found, name) for name in cls.model_fields if name != "id"},
        )


class AcceptBody(Body):
    reason: Text


@router.get("/recoveries", response_model=Page[RecoveryOut])
async def list_recoveries(
    who: Reader,
    app: App,
    paging: Paging,
    state: RecoveryState | None = None,
    employee: Employee | None = None,
    cycle: CycleName | None = None,
) -> Page[RecoveryOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await recoveries.page(tx, state, employee, cycle, after[0] if after else None, paging.fetch)
    return paging.page(RecoveryOut, [RecoveryOut.of(each) for each in found], key=lambda each: (each.id,))


@router.post("/recoveries/{id}/accept", response_model=RecoveryOut)
async def accept_recovery(
    id: Annotated[str, IDENTIFIER], body: AcceptBody, who: Administrator, app: App, once: Once
) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> RecoveryOut:
            return RecoveryOut.of(await approvals.accept_recovery(tx, who, id, body.reason, app.clock()))

        return await once(tx, who, work)
