"""A run: one computation of one plan over one cycle and budget, from request to approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from services.compensation.model.award import Component, Item, Line, Period, Pool, Subject
from services.compensation.model.plan import Plan
from shared.contracts.ids import Band, CycleId, EmployeeId, PlanId, PoolId, RunId


class RunState(StrEnum):
    COMPUTING = "computing"
    COMPUTED = "computed"
    INFEASIBLE = "infeasible"
    STALE = "stale"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True)
class Cycle:
    cycle: CycleId
    state: str
    period: Period
    bands: tuple[str, ...]
    scorecards: int | None


@dataclass(frozen=True, slots=True)
class Scope:
    """An empty selection is everybody; filled ones are combined."""

    clients: tuple[str, ...]
    units: tuple[str, ...]
    lines_of_business: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget allows. A run keeps its own copy: the budget may change afterwards."""

    merit_pool: int
    bonus_pool: int
    scope: Scope
    scale_up: bool


@dataclass(frozen=True, slots=True)
class Budget:
    budget: PoolId
    version: int
    cycle: CycleId
    plan: PlanId
    currency: str
    terms: Terms


@dataclass(frozen=True, slots=True)
class Run:
    run: RunId
    version: int
    state: RunState
    cycle: CycleId
    plan: PlanId
    plan_version: int
    budget: PoolId
    currency: str
    partial_reason: str | None
    created_at: datetime
    created_by: str
    authors: tuple[str, ...]
    author_people: tuple[str, ...]
    computation: int
    subjects: int
    assessed: int
    computed_at: datetime | None
    approved_at: datetime | None
    approved_by: str | None


@dataclass(frozen=True, slots=True)
class PoolResult:
    """`scale` and what follows stand only where the pool could be shared out."""

    pool: Pool
    amount: int
    requested: Fraction
    minimum: Fraction
    maximum: Fraction
    scale: Fraction | None
    binds: bool | None
    awarded: int | None
    undistributed: int | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What an approved run holds of one person: enough to compute the award again under its rules."""

    subject: Subject
    items: Mapping[Component, tuple[Item, int]]


@dataclass(frozen=True, slots=True)
class Award:
    """A person's award in a plan and cycle; `version` counts its announcements."""

    employee: EmployeeId
    plan: PlanId
    cycle: CycleId
    run: RunId
    version: int
    classification_version: int
    scorecard_version: int
    band: Band | None


@dataclass(frozen=True, slots=True)
class Calculation:
    """Lines of one computation and what caused it: the run, or a later classification."""

    cause: str
    classification_version: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The immutable plan version of a run and the factors its pools arrived at."""

    plan: Plan
    scales: Mapping[Pool, Fraction]
