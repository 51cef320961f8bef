"""What an award is computed from, and what comes out: items to be paid, and the lines that explain them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from shared.contracts.ids import Band, EmployeeId, PlanId, UnitId


class Component(StrEnum):
    MERIT = "merit"
    LUMP_SUM = "lump-sum"
    BONUS = "bonus"


class Pool(StrEnum):
    MERIT = "merit"
    BONUS = "bonus"


POOL_OF: Mapping[Component, Pool] = {
    Component.MERIT: Pool.MERIT,
    Component.LUMP_SUM: Pool.MERIT,
    Component.BONUS: Pool.BONUS,
}
"""A lump sum is paid in place of a rise, so it counts in the same pool."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Calendar days, both ends inclusive; an open end is `None`."""

    first: date
    last: date | None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"a span that ends before it starts: {self.first} to {self.last}")


@dataclass(frozen=True, slots=True)
class Period:
    """The cycle's own days, both inclusive. Its last day is the reference date of pay, range and rate."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class PayEntry:
    """`base` is full-time annual pay in minor units, whatever the share of full time that is worked."""

    valid_from: date
    valid_to: date | None
    base: int
    currency: str
    fte: Decimal
    target_bonus_percent: Decimal


@dataclass(frozen=True, slots=True)
class PayRange:
    grade: str
    currency: str
    minimum: int
    midpoint: int
    maximum: int
    valid_from: date


@dataclass(frozen=True, slots=True)
class Rate:
    """One major unit of `source` is `rate` major units of `target`."""

    on: date
    source: str
    target: str
    rate: Decimal


@dataclass(frozen=True, slots=True)
class TeamScore:
    """The exact mean score of a unit's classified people that have one."""

    unit: UnitId
    people: int
    mean: Fraction


@dataclass(frozen=True, slots=True)
class Reference:
    """Everything a run looked up beside the people themselves, kept with it: later changes do not reach it."""

    ranges: tuple[PayRange, ...]
    rates: tuple[Rate, ...]
    teams: tuple[TeamScore, ...]


@dataclass(frozen=True, slots=True)
class Classification:
    version: int
    band: Band | None
    score: Decimal | None
    scorecard_version: int
    grade: str
    unit: UnitId


@dataclass(frozen=True, slots=True)
class Subject:
    """One person as the run found them."""

    employee: EmployeeId
    classification: Classification | None
    pay: tuple[PayEntry, ...]
    employed: tuple[Span, ...]
    absences: tuple[Span, ...]
    awarded_by: str | None
    """The run that has already awarded this cycle and plan to this person."""
    held: Mapping[Component, PlanId] = field(default_factory=dict)
    """Components that another plan awards to this person for this cycle."""


class Step(StrEnum):
    ELIGIBILITY = "eligibility"
    CONVERSION = "conversion"
    RAW = "raw"
    PRORATION = "proration"
    RANGE_MAXIMUM = "range-maximum"
    MEASURE = "measure"
    CAP = "cap"
    GATE = "gate"
    UNRATED = "unrated"
    BUDGET = "budget"
    ROUNDING = "rounding"


@dataclass(frozen=True, slots=True)
class Line:
    """One step: what went in, by how much it moved the component, and where that leaves it, exactly.

    The changes of a component add up to its amount. Lines that only inform change nothing.
    """

    step: Step
    component: Component | None
    label: str
    inputs: Mapping[str, str]
    change: Fraction
    result: Fraction


@dataclass(frozen=True, slots=True)
class Item:
    """What one component asks of its pool, in minor units of the plan's currency, and the limits of what it may get."""

    component: Component
    raw: Fraction
    minimum: Fraction
    maximum: Fraction


AWARDED_BY_ANOTHER_PLAN = "awarded-by-another-plan"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a person, or one component of theirs, takes no part. `component` is `None` for the whole person."""

    component: Component | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """A person before the pools: no items means not eligible."""

    items: tuple[Item, ...]
    lines: tuple[Line, ...]
    left_out: tuple[LeftOut, ...]
