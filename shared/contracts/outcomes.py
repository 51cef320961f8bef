"""`classifications`, `awards` and `notices`: decisions about people. Awards carry ids, never amounts."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from shared.contracts.event import Event, Instant, person_key
from shared.contracts.ids import Band, CycleId, EmployeeId, PlanId, RunId, SessionId, UnitId
from shared.contracts.scoring import PartAttainment, Placement


class _Classification(Event):
    """The band a person is paid by. `band` is `None` for an explicit unrated."""

    cycle: CycleId
    employee: EmployeeId
    version: int
    session: SessionId
    band: Band | None
    proposed_band: Band | None
    manager_band: Band | None
    scorecard_version: int
    score: Decimal | None
    parts: tuple[PartAttainment, ...]
    placement: Placement
    decided_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class ClassificationPublished(_Classification):
    """Version 1 of a person's classification in a cycle."""

    TYPE: ClassVar[str] = "plumbline.classifications.published.v1"


class ClassificationRevised(_Classification):
    """A later version after an accepted late scorecard (or appeal); only this moves money decided before."""

    TYPE: ClassVar[str] = "plumbline.classifications.revised.v1"

    supersedes: int


class Component(StrEnum):
    MERIT = "merit"
    LUMP_SUM = "lump-sum"
    BONUS = "bonus"


class AwardDecided(Event):
    """A run was approved and this person's ledger entries stand. Amounts are read from compensation, by right."""

    TYPE: ClassVar[str] = "plumbline.awards.decided.v1"

    cycle: CycleId
    employee: EmployeeId
    plan: PlanId
    run: RunId
    version: int
    classification_version: int
    decided_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class AwardAdjusted(Event):
    """A revised classification changed a decided award; a negative delta is a proposed `recovery`."""

    TYPE: ClassVar[str] = "plumbline.awards.adjusted.v1"

    cycle: CycleId
    employee: EmployeeId
    plan: PlanId
    run: RunId
    version: int
    classification_version: int
    recovery: bool
    decided_at: Instant

    def key(self) -> str:
        return person_key(self.provider, self.employee)


class NoticeKind(StrEnum):
    SCORECARD_LATE = "scorecard-late"
    RUN_AWAITS_APPROVAL = "run-awaits-approval"


class NoticeRequested(Event):
    """What has no event of its own and must still reach someone.

    `cause` is the stable id of what happened (one notice per cause and recipient); the recipient is one employee, or
    every holder of `role` that has a contact, in `unit` where one is named.
    """

    TYPE: ClassVar[str] = "plumbline.notices.requested.v1"

    kind: NoticeKind
    cause: str
    recipient: EmployeeId | None
    role: str | None
    unit: UnitId | None
    subject: EmployeeId | None
    cycle: CycleId | None
    requested_at: Instant

    def key(self) -> str:
        return f"{self.provider}:{self.recipient or self.unit or self.role or self.cause}"
