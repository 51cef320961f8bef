"""Pay is shown to who administers or audits it, and to the person it is paid to. Not to managers, not to HR."""

from __future__ import annotations

from shared.auth import Principal, Role
from shared.contracts.ids import EmployeeId
from shared.errors import Forbidden


def refuse_others(who: Principal, employee: EmployeeId) -> None:
    if not who.has(Role.COMPENSATION_ADMIN, Role.AUDITOR) and who.employee != employee:
        raise Forbidden("an employee reads their own pay only", code="not-own")
