"""`cycles` and `scorecards`: what scoring owns."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from shared.contracts.event import Event, Instant, person_key
from shared.contracts.ids import Band, ClientId, CycleId, EmployeeId, LineOfBusiness, UnitId


class CycleState(StrEnum):
    OPEN = "open"
    FREEZING = "freezing"
    FROZEN = "frozen"
    CLOSED = "closed"


class BandCut(BaseModel):
    """A band holds the scores from its `cut_score` (inclusive) to the next band's (exclusive); the last has no end."""

    model_config = ConfigDict(frozen=True)

    band: Band
    cut_score: Decimal


class CycleChanged(Event):
    """The whole state of a cycle; `bands` lowest first. `scorecards` is announced when it is frozen."""

    TYPE: ClassVar[str] = "plumbline.cycles.changed.v1"

    cycle: CycleId
    version: int
    name: str
    state: CycleState
    starts_on: date
    ends_on: date
    bands: tuple[BandCut, ...]
    scorecards: int | None = None

    def key(self) -> str:
        return f"{self.provider}:{self.cycle}"


class Placement(BaseModel):
    """The assignment that counts on the cycle's reference date (its last day, or the person's last before it)."""

    model_config = ConfigDict(frozen=True)

    role: str
    grade: str
    unit: UnitId
    manager: EmployeeId | None
    client: ClientId
    line_of_business: LineOfBusiness
    site: str


class PartAttainment(BaseModel):
    """Attainment of one part over the whole cycle, on the scale of its payout curve; `None` when not rated."""

    model_config = ConfigDict(frozen=True)

    part: str
    weight: Decimal
    attainment: Decimal | None


class ScorecardStatus(StrEnum):
    CURRENT = "current"
    """Computed while the cycle was open, or final at its freeze."""
    LATE = "late"
    """Computed after the freeze: shown, without effect, until an HR administrator accepts it."""
    ACCEPTED = "accepted"
    """A late version that was accepted: calibration confirms or revises."""


class ScorecardComputed(Event):
    """One version of a person's scorecard. `score` and `proposed_band` are `None` when unrated.

    `score` is rounded half-even to 12 decimal places, the one rounding of scoring; bands were cut on this value.
    """

    TYPE: ClassVar[str] = "plumbline.scorecards.computed.v1"

    cycle: CycleId
    employee: EmployeeId
    version: int
    status: ScorecardStatus
    score: Decimal | None
    coverage: Decimal
    proposed_band: Band | None
    parts: tuple[PartAttainment, ...]
    placement: Placement
    as_of: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)
