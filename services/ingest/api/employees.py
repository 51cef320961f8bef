"""People, one by one or as the whole list that an HR system sends every night."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Request, Response
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from services.ingest.api.bodies import Shape, one_or_many, read_documents
from services.ingest.api.shapes import Id, RejectionOut, Text, answer_put, by
from services.ingest.commands import employees as commands
from services.ingest.model import Absence, Assignment, Employee, Kept
from services.ingest.store import employees as store
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, ClientId, EmployeeId, LineOfBusiness, UnitId
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, Day, IfMatch, Page, Paging, Router, requires

MOST_BYTES = 8 << 20

router = Router(prefix="/employees", tags=["employees"])
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR)]


class AssignmentIn(Body):
    """Both days inclusive; without `valid_to` it goes on."""

    valid_from: Day
    valid_to: Day | None = None
    role: Id
    grade: Id
    unit: Annotated[UnitId, IDENTIFIER]
    manager: Annotated[EmployeeId, IDENTIFIER] | None = None
    client: Annotated[ClientId, IDENTIFIER]
    line_of_business: Annotated[LineOfBusiness, IDENTIFIER]
    site: Id
    time_zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")]


class AbsenceIn(Body):
    starts_on: Day
    ends_on: Day


class EmployeeIn(Body):
    """The whole dated state of a person."""

    display_name: Text
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")]
    assignments: Annotated[list[AssignmentIn], Field(max_length=200)]
    absences: Annotated[tuple[AbsenceIn, ...], Field(max_length=1_000)] = ()

    def employee(self, employee: EmployeeId) -> Employee:
        assignments = [Assignment(**dict(found)) for found in self.assignments]
        absences = [Absence(found.starts_on, found.ends_on) for found in self.absences]
        return Employee(
            employee,
            self.display_name,
            self.country,
            self.locale,
            tuple(sorted(assignments, key=lambda found: found.valid_from)),
            tuple(sorted(absences, key=lambda found: found.starts_on)),
        )


class EmployeeItem(EmployeeIn):
    id: Annotated[EmployeeId, IDENTIFIER]


class EmployeeOut(BaseModel):
    id: str
    version: int
    display_name: str
    country: str
    locale: str
    assignments: list[AssignmentIn]
    absences: list[AbsenceIn]

    @classmethod
    def of(cls, kept: Kept[Employee]) -> Self:
        person = kept.state
        return cls(
            id=person.id,
            version=kept.version,
            display_name=person.display_name,
            country=person.country,
            locale=person.locale,
            assignments=[AssignmentIn.model_validate(found, from_attributes=True) for found in person.assignments],
            absences=[AbsenceIn.model_validate(found, from_attributes=True) for found in person.absences],
        )


class EmployeesOut(BaseModel):
    """What came of a load; who is unchanged was not announced again."""

    created: int
    changed: int
    unchanged: int
    rejected: list[RejectionOut]


_ITEMS = Shape(TypeAdapter(EmployeeItem), TypeAdapter(list[EmployeeItem]))


@router.put("/{employee}", response_model=EmployeeOut, responses={201: {"model": EmployeeOut}})
async def put_employee(
    employee: Annotated[EmployeeId, IDENTIFIER],
    body: EmployeeIn,
    who: Editor,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> EmployeeOut:
    wanted = body.employee(employee)
    async with app.database.begin(who.tenant) as tx:
        put = await commands.put_employee(tx, wanted, if_match, by(who, app))
    return EmployeeOut.of(Kept(wanted, answer_put(response, put)))


@router.post("", openapi_extra={"requestBody": {"required": True, "content": one_or_many(_ITEMS)}})
async def post_employees(request: Request, who: Editor, app: App) -> EmployeesOut:
    documents = await read_documents(request, MOST_BYTES)
    valid, misshapen = _ITEMS.read(documents.items)
    items = [(index, item.employee(item.id)) for index, item in valid]
    async with app.database.begin(who.tenant) as tx:
        loaded = await commands.load_employees(tx, items, by(who, app))
    return EmployeesOut(
        created=loaded.created,
        changed=loaded.changed,
        unchanged=loaded.unchanged,
        rejected=documents.show([*misshapen, *loaded.rejected]),
    )


@router.get("", response_model=Page[EmployeeOut])
async def list_employees(who: Reader, app: App, paging: Paging) -> Page[EmployeeOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found = await store.page(tx, paging.after(tuple[Id]), paging.fetch)
    return paging.page(EmployeeOut, [EmployeeOut.of(kept) for kept in found], key=lambda one: (one.id,))


@router.get("/{employee}")
async def get_employee(
    employee: Annotated[EmployeeId, IDENTIFIER], who: Reader, app: App, response: Response
) -> EmployeeOut:
    async with app.database.begin(who.tenant) as tx:
        kept = await store.one(tx, employee)
    if kept is None:
        raise NotFound("there is no employee of this id")
    response.headers["ETag"] = etag(kept.version)
    return EmployeeOut.of(kept)
