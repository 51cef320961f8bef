"""Contacts: where mail goes, and who holds which role when a notice is addressed to one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.notifications.commands import contacts as commands
from services.notifications.model import Contact, ContactRole
from services.notifications.rules.addresses import is_mail_address
from services.notifications.store import contacts as store
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, EmployeeId
from shared.errors import NotFound, RuleViolation
from shared.field_problems import FieldProblem
from shared.versions import etag
from shared.web import App, Body, IfMatch, Page, Paging, Router, requires

router = Router(prefix="/contacts", tags=["contacts"])
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Employee = Annotated[EmployeeId, IDENTIFIER]


def _mail_address(text: str) -> str:
    if not is_mail_address(text):
        # The message repeats nothing of what was sent.
        raise ValueError("must be one mail address such as ana@example.com")
    return text


class ContactIn(Body):
    email: Annotated[str, AfterValidator(_mail_address)]
    roles: Annotated[tuple[ContactRole, ...], Field(max_length=len(ContactRole))] = (ContactRole.EMPLOYEE,)
    locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$")] | None = None

    def of(self, employee: EmployeeId) -> Contact:
        return Contact(employee, self.email, tuple(sorted(set(self.roles))), self.locale)


class LoadedContactIn(ContactIn):
    employee: Employee


class ContactsIn(Body):
    items: Annotated[list[LoadedContactIn], Field(min_length=1, max_length=5_000)]


class ContactOut(BaseModel):
    employee: EmployeeId
    email: str
    roles: list[ContactRole]
    locale: str | None
    version: int

    @classmethod
    def of(cls, contact: Contact) -> ContactOut:
        return cls(
            employee=contact.employee,
            email=contact.email,
            roles=list(contact.roles),
            locale=contact.locale,
            version=contact.version,
        )


class LoadedOut(BaseModel):
    created: int
    changed: int
    unchanged: int


@router.get("", response_model=Page[ContactOut])
async def list_contacts(
    who: Editor, app: App, paging: Paging, role: ContactRole | None = None
) -> Page[ContactOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        rows = await store.page(tx, role, after[0] if after else None, paging.fetch)
    return paging.page(ContactOut, [ContactOut.of(row) for row in rows], lambda contact: (contact.employee,))


@router.post("")
async def load_contacts(body: ContactsIn, who: Editor, app: App) -> LoadedOut:
    first: dict[EmployeeId, int] = {}
    doubled = [
        FieldProblem(f"/items/{place}/employee", "duplicate", f"named before at /items/{first[item.employee]}")
        for place, item in enumerate(body.items)
        if first.setdefault(item.employee, place) != place
    ]
    if doubled:
        raise RuleViolation("an employee can have one contact", problems=doubled)
    given = [item.of(item.employee) for item in body.items]
    async with app.database.begin(who.tenant) as tx:
        loaded = await commands.load(tx, who.tenant, given, by=who.subject, now=app.clock())
    return LoadedOut(created=loaded.created, changed=loaded.changed, unchanged=loaded.unchanged)


@router.get("/{employee}")
async def get_contact(employee: Employee, who: Editor, app: App, response: Response) -> ContactOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.find(tx, employee)
    if found is None:
        raise NotFound("there is no such contact")
    response.headers["ETag"] = etag(found.version)
    return ContactOut.of(found)


@router.put("/{employee}", responses={201: {"model": ContactOut, "description": "Created"}})
async def put_contact(
    employee: Employee, body: ContactIn, who: Editor, app: App, if_match: IfMatch, response: Response
) -> ContactOut:
    async with app.database.begin(who.tenant) as tx:
        contact, created = await commands.put(
            tx, who.tenant, body.of(employee), if_match, by=who.subject, now=app.clock()
        )
    response.headers["ETag"] = etag(contact.version)
    response.status_code = 201 if created else 200
    return ContactOut.of(contact)


@router.delete("/{employee}", status_code=204)
async def delete_contact(employee: Employee, who: Editor, app: App, if_match: IfMatch) -> None:
    async with app.database.begin(who.tenant) as tx:
        await commands.delete(tx, who.tenant, employee, if_match, by=who.subject, now=app.clock())
