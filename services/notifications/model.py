"""What the rules of notifications speak of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

from shared.contracts.ids import CycleId, EmployeeId, ProviderId, UnitId

NoticeId = NewType("NoticeId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
EndpointId = NewType("EndpointId", UUID)

Ids = Mapping[str, str | int]
"""What a notice is about, as ids and versions only: never a name, a band or an amount."""


class Kind(StrEnum):
    CLASSIFICATION_PUBLISHED = "classification-published"
    CLASSIFICATION_REVISED = "classification-revised"
    AWARD_DECIDED = "award-decided"
    AWARD_ADJUSTED = "award-adjusted"
    SCORECARD_LATE = "scorecard-late"
    RUN_AWAITS_APPROVAL = "run-awaits-approval"


class Channel(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"


class State(StrEnum):
    PENDING = "pending"
    FAILED = "failed"
    """The last attempt failed and another one is due."""
    DELIVERED = "delivered"
    DEAD = "dead"


class ContactRole(StrEnum):
    """Roles whose holders a notice may be addressed to; clients and sources are never told about people."""

    EMPLOYEE = "employee"
    MANAGER = "manager"
    FACILITATOR = "facilitator"
    HR_ADMIN = "hr_admin"
    COMPENSATION_ADMIN = "compensation_admin"
    AUDITOR = "auditor"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class NewNotice:
    """`cause` and `recipient` identify it: whatever arrives how often, there is one notice of both."""

    cause: str
    recipient: EmployeeId
    kind: Kind
    cycle: CycleId | None
    ids: Ids
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    id: NoticeId
    cause: str
    recipient: EmployeeId
    kind: Kind
    cycle: CycleId | None
    cycle_name: str | None
    ids: Ids
    happened_at: datetime
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """A notice to everyone who holds `role`, in `unit` where one is named."""

    cause: str
    role: str
    unit: UnitId | None
    kind: Kind
    cycle: CycleId | None
    ids: Ids
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Contact:
    employee: EmployeeId
    email: str
    roles: tuple[ContactRole, ...]
    locale: str | None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where webhooks of some kinds go. Its secrets are loaded only by who signs."""

    id: EndpointId
    url: str
    kinds: tuple[Kind, ...]
    description: str
    enabled: bool
    disabled_reason: str | None
    paused_until: datetime | None
    """It did not answer: until then what goes to it is held back, so that others need not wait behind it."""
    version: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at one delivery; `attempt` fences what a slower claimer of the same delivery would record."""

    provider: ProviderId
    delivery: DeliveryId
    attempt: int
    failures: int
    """How many attempts failed since the delivery was made or retried by hand."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A claimed e-mail with all it says."""

    claim: Claim
    address: str
    display_name: str | None
    locale: str
    kind: Kind
    cycle: str | None
    """Its name, or its id as long as no name is known."""
    happened_at: datetime
    time_zone: str


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed webhook message."""

    claim: Claim
    endpoint: EndpointId
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    notice: NoticeId
    kind: Kind
    cause: str
    recipient: EmployeeId
    ids: Ids
    happened_at: datetime


class Verdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    NEVER = "never"
    """Trying again cannot help."""
    NOT_TRIED = "not-tried"
    """The round ended, or its endpoint was found silent, before this one's turn came."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. `error` is a code, never a text of the other side: those repeat addresses."""

    claim: Claim
    verdict: Verdict
    error: str | None = None
    retry_after: timedelta | None = None
    endpoint: EndpointId | None = None
    silent: bool = False
    """There was no answer at all: whatever else goes to the same endpoint would wait as long for nothing."""
    gone: bool = False
    """The endpoint said that it exists no more."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is stored of an outcome."""

    state: State
    failures: int
    next_at: datetime | None
    error: str | None
