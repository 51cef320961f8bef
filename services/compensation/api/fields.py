"""What bodies of this service are made of: exact numbers, currencies, and no field nobody asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.auth import Principal, Role
from shared.contracts.ids import (
    IDENTIFIER,
    ClientId,
    CycleId,
    EmployeeId,
    LineOfBusiness,
    PlanId,
    PoolId,
    RunId,
    UnitId,
)
from shared.web import WithoutIdleZeros, requires

MinorUnits = Annotated[int, Field(ge=0, le=10**15, strict=True, description="in minor units of its currency")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Percent = Annotated[Decimal, Field(ge=0, le=1000, max_digits=12, decimal_places=6), WithoutIdleZeros]
Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=9, decimal_places=8), WithoutIdleZeros]
Score = Annotated[Decimal, Field(ge=-100_000, le=100_000, max_digits=18, decimal_places=12), WithoutIdleZeros]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(min_length=3, max_length=2_000, strip_whitespace=True)]

Employee = Annotated[EmployeeId, IDENTIFIER]
CycleName = Annotated[CycleId, IDENTIFIER]
PlanName = Annotated[PlanId, IDENTIFIER]
BudgetName = Annotated[PoolId, IDENTIFIER]
RunName = Annotated[RunId, IDENTIFIER]
RangeName = Annotated[str, IDENTIFIER]
Client = Annotated[ClientId, IDENTIFIER]
Unit = Annotated[UnitId, IDENTIFIER]
Line = Annotated[LineOfBusiness, IDENTIFIER]

Administrator = Annotated[Principal, requires(Role.COMPENSATION_ADMIN)]
Reader = Annotated[Principal, requires(Role.COMPENSATION_ADMIN, Role.AUDITOR)]
ReaderOrOwn = Annotated[Principal, requires(Role.COMPENSATION_ADMIN, Role.AUDITOR, Role.EMPLOYEE)]
