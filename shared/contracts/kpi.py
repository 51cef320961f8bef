"""`kpi-events`: what ingest accepted. `feedback`: what people said of each other."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal

from shared.contracts.event import Event, Instant, person_key
from shared.contracts.ids import CycleId, EmployeeId, FeedbackId, KpiEventId, MetricKey


class KpiRecorded(Event):
    """One observation. A ratio metric carries both sums, a mean or sum metric its value over 1.

    `occurred_on` is the calendar day at the site of the person's assignment, fixed when the event was accepted.
    """

    TYPE: ClassVar[str] = "plumbline.kpi.recorded.v1"

    event: KpiEventId
    employee: EmployeeId
    metric: MetricKey
    occurred_at: Instant
    occurred_on: date
    numerator: Decimal
    denominator: Decimal
    recorded_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class KpiCorrected(Event):
    """Replaces the values of the event it names; of several, the highest `revision` counts, whatever arrives first."""

    TYPE: ClassVar[str] = "plumbline.kpi.corrected.v1"

    event: KpiEventId
    corrects: KpiEventId
    revision: int
    employee: EmployeeId
    metric: MetricKey
    occurred_at: Instant
    occurred_on: date
    numerator: Decimal
    denominator: Decimal
    recorded_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class KpiVoided(Event):
    """Takes back the event it names; counts as a revision among the corrections of the same event."""

    TYPE: ClassVar[str] = "plumbline.kpi.voided.v1"

    event: KpiEventId
    voids: KpiEventId
    revision: int
    employee: EmployeeId
    metric: MetricKey
    occurred_on: date
    recorded_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class IntakeSealed(Event):
    """Everything ingest had accepted before it saw the freeze stands before this marker in this partition.

    One goes to each partition of `kpi-events` and of `feedback` (`stream`); the barrier of a freeze is passed when
    all partitions of both were seen.
    """

    TYPE: ClassVar[str] = "plumbline.intake.sealed.v1"

    cycle: CycleId
    stream: Literal["kpi-events", "feedback"]
    target_partition: int
    partitions: int
    sealed_at: Instant

    def key(self) -> str:
        return f"{self.provider}:{self.cycle}"

    def partition(self) -> int | None:
        return self.target_partition


class FeedbackCategory(StrEnum):
    SELF = "self"
    PEER = "peer"
    UPWARD = "upward"
    MANAGER = "manager"
    CUSTOMER = "customer"


class FeedbackSubmitted(Event):
    """One person's rating of another in a cycle, on the cycle's scale (1 is the lowest band).

    The manager's proposed rating is feedback of category `manager`. Of several by one rater about one person in one
    cycle and category, the highest `revision` counts.
    """

    TYPE: ClassVar[str] = "plumbline.feedback.submitted.v1"

    feedback: FeedbackId
    cycle: CycleId
    employee: EmployeeId
    rater: EmployeeId
    category: FeedbackCategory
    revision: int
    rating: Decimal
    submitted_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)
