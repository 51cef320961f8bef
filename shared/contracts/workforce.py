"""`workforce` and `metrics`: compacted state that ingest owns."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from shared.contracts.event import Event, person_key
from shared.contracts.ids import ClientId, EmployeeId, LineOfBusiness, MetricKey, UnitId


class Assignment(BaseModel):
    """Where a person works from `valid_from` to `valid_to`, both inclusive; an open end is `None`."""

    model_config = ConfigDict(frozen=True)

    valid_from: date
    valid_to: date | None
    role: str
    grade: str
    unit: UnitId
    manager: EmployeeId | None
    client: ClientId
    line_of_business: LineOfBusiness
    site: str
    time_zone: str


class Absence(BaseModel):
    """Leave, both days inclusive. It takes days out of what counts; it never changes a score."""

    model_config = ConfigDict(frozen=True)

    starts_on: date
    ends_on: date


class EmployeeChanged(Event):
    """The whole dated state of one person. Assignments are sorted by date and do not overlap."""

    TYPE: ClassVar[str] = "plumbline.workforce.employee-changed.v1"

    employee: EmployeeId
    version: int
    display_name: str
    country: str
    locale: str
    assignments: tuple[Assignment, ...]
    absences: tuple[Absence, ...] = ()

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class Direction(StrEnum):
    HIGHER_IS_BETTER = "higher-is-better"
    LOWER_IS_BETTER = "lower-is-better"


class Aggregation(StrEnum):
    RATIO = "ratio"
    MEAN = "mean"
    SUM = "sum"


class MissingData(StrEnum):
    EXCLUDE_AND_REWEIGHT = "exclude-and-reweight"
    ZERO = "zero"
    HOLD = "hold"


class MetricDefined(Event):
    """The whole definition of one metric. `precision` is for display; `minimum_volume` is Σ denominator (or n)."""

    TYPE: ClassVar[str] = "plumbline.metrics.defined.v1"

    metric: MetricKey
    version: int
    name: str
    owner: str
    source_system: str
    unit: str
    direction: Direction
    aggregation: Aggregation
    precision: int
    missing_data: MissingData
    minimum_volume: Decimal
    developmental_only: bool

    def key(self) -> str:
        return f"{self.provider}:{self.metric}"
