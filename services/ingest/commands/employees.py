"""People: one by one, or as the whole list that an HR system sends every night."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import By, Put
from services.ingest.model import Employee, Rejection
from services.ingest.rules import workforce
from services.ingest.store import employees, providers
from shared import audit
from shared.contracts.ids import ClientId, EmployeeId
from shared.contracts.workforce import Absence, Assignment, EmployeeChanged
from shared.errors import RuleViolation
from shared.field_problems import FieldProblem
from shared.messaging import outbox
from shared.versions import Precondition


@dataclass(frozen=True, slots=True)
class Loaded:
    created: int
    changed: int
    unchanged: int
    rejected: list[Rejection]


async def put_employee(tx: AsyncConnection, person: Employee, if_match: Precondition, by: By) -> Put:
    programs = await providers.programs(tx, by.provider, _clients_of([person]))
    reason = workforce.fault(person, programs)
    if reason is not None:
        problem = FieldProblem(f"/{reason.field}", reason.code, reason.detail)
        raise RuleViolation(reason.detail, code=reason.code, problems=[problem])
    version = await employees.lock(tx, by.provider, person.id)
    kept = None if version is None else await employees.one(tx, person.id)
    if_match.check(kept.version if kept else 0, changes=kept is None or kept.state != person)
    saved = (await _save(tx, [person], by)).get(person.id)
    if kept is None and saved != 1:  # somebody else created this person since: judged as though it had been there
        if_match.check(saved - 1 if saved else 1, changes=saved is not None)
        kept = await employees.one(tx, person.id)
    if saved is None:
        return Put(kept.version if kept else 1, created=False, changed=False)
    await audit.record(tx, by.actor, by.now, "employee.saved", f"employee/{person.id}", version=saved)
    return Put(saved, created=kept is None, changed=True)


async def load_employees(tx: AsyncConnection, items: Sequence[tuple[int, Employee]], by: By) -> Loaded:
    """Save whole states, each on its own: one that is refused keeps no other back."""
    programs = await providers.programs(tx, by.provider, _clients_of([person for _, person in items]))
    people: dict[EmployeeId, Employee] = {}
    rejected: list[Rejection] = []
    for index, person in items:
        reason = workforce.fault(person, programs)
        if reason is not None:
            rejected.append(Rejection(index, person.id, *reason))
        elif person.id in people:
            rejected.append(Rejection(index, person.id, "repeated", "stands in this request before", "id"))
        else:
            people[person.id] = person
    versions = await _save(tx, list(people.values()), by) if people else {}
    created = sum(version == 1 for version in versions.values())
    if versions:
        changed = len(versions) - created
        await audit.record(tx, by.actor, by.now, "employees.loaded", "employees", created=created, changed=changed)
    return Loaded(created, len(versions) - created, len(people) - len(versions), rejected)


async def _save(tx: AsyncConnection, people: Sequence[Employee], by: By) -> dict[EmployeeId, int]:
    hashes = {person.id: hashlib.sha256(repr(person).encode()).digest() for person in people}
    versions = await employees.save(tx, by.provider, people, hashes)
    outbox.append(tx, [_changed(person, versions[person.id], by) for person in people if person.id in versions])
    return versions


def _clients_of(people: Sequence[Employee]) -> set[ClientId]:
    return {assignment.client for person in people for assignment in person.assignments}


def _changed(person: Employee, version: int, by: By) -> EmployeeChanged:
    return EmployeeChanged(
        provider=by.provider,
        employee=person.id,
        version=version,
        display_name=person.display_name,
        country=person.country,
        locale=person.locale,
        assignments=tuple(Assignment.model_validate(found, from_attributes=True) for found in person.assignments),
        absences=tuple(Absence.model_validate(found, from_attributes=True) for found in person.absences),
    )
