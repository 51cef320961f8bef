"""What people may write, the same in every body."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic.functional_validators import AfterValidator

from services.calibration.model import Rationale, RationaleCode
from shared.contracts.ids import IDENTIFIER, Band, CycleId, EmployeeId, SessionId, UnitId
from shared.web import Body, Time

Session = Annotated[SessionId, IDENTIFIER]
Cycle = Annotated[CycleId, IDENTIFIER]
Employee = Annotated[EmployeeId, IDENTIFIER]
Unit = Annotated[UnitId, IDENTIFIER]
BandName = Annotated[Band, StringConstraints(min_length=1, max_length=64)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]


def _sane(value: datetime) -> datetime:
    if not 2000 <= value.year < 2200:
        raise ValueError("a time of this century or the next is expected")
    return value


Deadline = Annotated[Time, AfterValidator(_sane)]


class Nothing(Body):
    """`{}`"""


class RationaleIn(Body):
    code: RationaleCode
    text: Words

    def to_model(self) -> Rationale:
        return Rationale(self.code, self.text)


class Approval(Body):
    approve: bool = Field(strict=True)
    reason: Words
