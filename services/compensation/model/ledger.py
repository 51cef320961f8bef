"""Money as it was decided: entries of a chain, and what is proposed to be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.compensation.model.award import Component
from shared.contracts.ids import CycleId, EmployeeId, PlanId, RunId


@dataclass(frozen=True, slots=True, order=True)
class Chain:
    """What one chain of entries is about: one component of a person's award."""

    employee: EmployeeId
    plan: PlanId
    cycle: CycleId
    component: Component


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain: what stands posted."""

    sequence: int
    after: int


@dataclass(frozen=True, slots=True)
class Posting:
    """An entry to be appended after `head`, or as the first when there is none."""

    chain: Chain
    head: Head | None
    amount: int
    currency: str
    run: RunId
    cause: str
    comment: str


@dataclass(frozen=True, slots=True)
class Entry:
    employee: EmployeeId
    plan: PlanId
    cycle: CycleId
    component: Component
    sequence: int
    before: int
    amount: int
    after: int
    currency: str
    run: RunId
    cause: str
    comment: str
    posted_at: datetime
    posted_by: str


class RecoveryState(StrEnum):
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Recovery:
    """A negative difference that nobody deducts before a human accepted it."""

    recovery: str
    employee: EmployeeId
    plan: PlanId
    cycle: CycleId
    component: Component
    run: RunId
    classification_version: int
    amount: int
    state: RecoveryState
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
