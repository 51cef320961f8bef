"""Pay of people, pay ranges, exchange rates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from fastapi import Query, Response
from pydantic import Field

from services.compensation.api.access import refuse_others
from services.compensation.api.fields import (
    Administrator,
    Currency,
    Employee,
    MinorUnits,
    Name,
    Percent,
    RangeName,
    Reader,
    ReaderOrOwn,
)
from services.compensation.commands import reference
from services.compensation.model.award import PayEntry, PayRange, Rate
from services.compensation.store import pay as store
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, Day, IfMatch, Page, Paging, Router, WithoutIdleZeros

router = Router(tags=["pay"])


class PayEntryBody(Body):
    """`base` is full-time annual pay; both days are inclusive."""

    valid_from: Day
    valid_to: Day | None
    base: MinorUnits
    currency: Currency
    fte: Annotated[Decimal, Field(gt=0, le=1, max_digits=9, decimal_places=8), WithoutIdleZeros]
    target_bonus_percent: Percent = Decimal(0)

    def entry(self) -> PayEntry:
        return PayEntry(**dict(self))

    @classmethod
    def of(cls, entry: PayEntry) -> PayEntryBody:
        return cls.model_validate(entry, from_attributes=True)


class PayBody(Body):
    entries: Annotated[list[PayEntryBody], Field(max_length=200)]


class PayOut(PayBody):
    employee: Employee
    version: int

    @classmethod
    def of(cls, pay: store.Pay) -> PayOut:
        return cls(
            employee=pay.employee, version=pay.version, entries=[PayEntryBody.of(entry) for entry in pay.entries]
        )


class PersonBody(PayBody):
    employee: Employee


class BulkBody(Body):
    most_bytes = 4 << 20
    employees: Annotated[list[PersonBody], Field(min_length=1, max_length=5_000)]


class Loaded(Body):
    stored: int
    unchanged: int


@router.put("/pay/{employee}")
async def put_pay(
    employee: Employee, body: PayBody, who: Administrator, app: App, if_match: IfMatch, response: Response
) -> PayOut:
    entries = [entry.entry() for entry in body.entries]
    async with app.database.begin(who.tenant) as tx:
        saved = await reference.set_pay(tx, who, employee, entries, if_match, app.clock())
    response.headers["ETag"] = etag(saved.version)
    return PayOut.of(saved)


@router.get("/pay/{employee}")
async def get_pay(employee: Employee, who: ReaderOrOwn, app: App, response: Response) -> PayOut:
    refuse_others(who, employee)
    async with app.database.begin(who.tenant) as tx:
        found = await store.pay(tx, employee)
    if found is None:
        raise NotFound("no pay is recorded for this person")
    response.headers["ETag"] = etag(found.version)
    return PayOut.of(found)


@router.post("/pay")
async def load_pay(body: BulkBody, who: Administrator, app: App) -> Loaded:
    people = [(person.employee, [entry.entry() for entry in person.entries]) for person in body.employees]
    async with app.database.begin(who.tenant) as tx:
        stored = await reference.load_pay(tx, who, people, app.clock())
    return Loaded(stored=stored, unchanged=len(people) - stored)


class RangeBody(Body):
    grade: Name
    currency: Currency
    minimum: Annotated[MinorUnits, Field(gt=0)]
    midpoint: MinorUnits
    maximum: MinorUnits
    valid_from: Day


class RangeOut(RangeBody):
    id: RangeName
    version: int

    @classmethod
    def of(cls, found: store.NamedRange) -> RangeOut:
        body = RangeBody.model_validate(found.pay_range, from_attributes=True)
        return cls(id=found.id, version=found.version, **dict(body))


@router.put("/pay-ranges/{id}")
async def put_range(
    id: RangeName, body: RangeBody, who: Administrator, app: App, if_match: IfMatch, response: Response
) -> RangeOut:
    async with app.database.begin(who.tenant) as tx:
        saved = await reference.set_range(tx, who, id, PayRange(**dict(body)), if_match, app.clock())
    response.headers["ETag"] = etag(saved.version)
    return RangeOut.of(saved)


@router.get("/pay-ranges/{id}")
async def get_range(id: RangeName, who: Reader, app: App, response: Response) -> RangeOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.pay_range(tx, id)
    if found is None:
        raise NotFound(f"there is no pay range {id}")
    response.headers["ETag"] = etag(found.version)
    return RangeOut.of(found)


@router.get("/pay-ranges", response_model=Page[RangeOut])
async def list_ranges(
    who: Reader, app: App, paging: Paging, grade: Annotated[str | None, Query(max_length=64)] = None
) -> Page[RangeOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await store.ranges(tx, grade, after[0] if after else None, paging.fetch)
    return paging.page(RangeOut, [RangeOut.of(each) for each in found], key=lambda each: (each.id,))


class RateBody(Body):
    """One major unit of `source` is `rate` major units of `target`."""

    on: Day
    source: Currency
    target: Currency
    rate: Annotated[Decimal, Field(gt=0, max_digits=24, decimal_places=12), WithoutIdleZeros]


class RatesBody(Body):
    rates: Annotated[list[RateBody], Field(min_length=1, max_length=5_000)]


class RatesLoaded(Body):
    stored: int


@router.post("/exchange-rates")
async def load_rates(body: RatesBody, who: Administrator, app: App) -> RatesLoaded:
    rates = [Rate(**dict(rate)) for rate in body.rates]
    async with app.database.begin(who.tenant) as tx:
        return RatesLoaded(stored=await reference.load_rates(tx, who, rates, app.clock()))


@router.get("/exchange-rates", response_model=Page[RateBody])
async def list_rates(
    who: Reader, app: App, paging: Paging, source: Currency | None = None, target: Currency | None = None
) -> Page[RateBody] | Response:
    after = paging.after(tuple[str, str, date])
    async with app.database.begin(who.tenant) as tx:
        found = await store.rates(tx, source, target, after, paging.fetch)
    items = [RateBody.model_validate(rate, from_attributes=True) for rate in found]
    return paging.page(RateBody, items, key=lambda rate: (rate.source, rate.target, rate.on))
