"""What the rules of calibration speak of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from shared.contracts.ids import Band, CycleId, EmployeeId, SessionId


class SessionState(StrEnum):
    PREPARED = "prepared"
    OPEN = "open"
    LOCKED = "locked"
    PUBLISHED = "published"
    CANCELLED = "cancelled"


class Move(StrEnum):
    """What is asked of a session as a whole."""

    EDIT = "edit"
    OPEN = "open"
    LOCK = "lock"
    REOPEN = "reopen"
    CANCEL = "cancel"
    PUBLISH = "publish"


class CaseState(StrEnum):
    UNDECIDED = "undecided"
    CONFIRMED = "confirmed"
    CHANGED = "changed"
    AWAITING = "awaiting-approval"


class Stage(StrEnum):
    SESSION = "session"
    REVISION = "revision"


class Act(StrEnum):
    CONFIRM = "confirm"
    CHANGE = "change"
    APPROVE = "approve"
    REJECT = "reject"
    SCORECARD = "scorecard"
    """A newer scorecard was taken up."""


class RationaleCode(StrEnum):
    EVIDENCE_BEYOND_METRICS = "evidence-beyond-metrics"
    CONTEXT_FACTOR = "context-factor"
    DATA_ERROR = "data-error"
    SCOPE_OF_ROLE = "scope-of-role"
    CONDUCT = "conduct"
    INSUFFICIENT_DATA = "insufficient-data"
    COMPARISON_WITH_PEERS = "comparison-with-peers"


class Reach(StrEnum):
    """How far somebody's rights in a session go."""

    ALL = "all"
    LINE = "line"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks: the token's subject, the employee behind it where it names one, and the roles."""

    subject: str
    employee: EmployeeId | None
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a session calibrates, by placement; an empty tuple means all."""

    units: tuple[str, ...]
    clients: tuple[str, ...]
    lines_of_business: tuple[str, ...]
    grades: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What people say of a session when they prepare or edit it."""

    name: str
    scope: Scope
    owner: EmployeeId | None
    facilitator: EmployeeId
    participants: tuple[EmployeeId, ...]
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Session:
    id: SessionId
    cycle: CycleId
    plan: Plan
    state: SessionState
    version: int
    created_by: str
    created_at: datetime
    opened_at: datetime | None
    locked_at: datetime | None
    published_at: datetime | None
    published_by: str | None


@dataclass(frozen=True, slots=True)
class Cycle:
    """`bands` lowest first; `scorecards` is how many the freeze announced."""

    id: CycleId
    frozen: bool
    ends_on: date
    bands: tuple[Band, ...]
    scorecards: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One person's band under decision. `standing` is what a change is measured against: the scored band, or in a
    revision the calibrated one. `band` is decided, or asked for while awaiting; `None` in a decided case is unrated."""

    session: SessionId
    cycle: CycleId
    employee: EmployeeId
    stage: Stage
    version: int
    state: CaseState
    standing: Band | None
    band: Band | None
    scorecard_version: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one act makes of a case."""

    act: Act
    state: CaseState
    band: Band | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a rule says no; `pointer` names the offending input where there is one."""

    code: str
    detail: str
    pointer: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as it is remembered: the token's subject, and the employee where it named one."""

    subject: str
    employee: EmployeeId | None


@dataclass(frozen=True, slots=True)
class Rationale:
    code: RationaleCode
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a decision needs of a scorecard version."""

    version: int
    score: Decimal | None
    coverage: Decimal
    band: Band | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A step on a case, with who, when and why. `card` is the scorecard it moves the case to, where it moves."""

    case: Case
    step: Step
    by: Actor
    at: datetime
    rationale: Rationale | None = None
    reason: str | None = None
    card: Card | None = None

    @property
    def version(self) -> int:
        return self.case.version + 1

    @property
    def scorecard_version(self) -> int:
        return self.card.version if self.card else self.case.scorecard_version


@dataclass(frozen=True, slots=True)
class Revision:
    """A published band put in question by a newer scorecard; `case` is the decision on it."""

    number: int
    case: Case
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Outdated:
    """A subject whose newest scorecard is `card`, not the one it stands on. `revision` is the newest, if any."""

    case: Case
    card: Card
    published: bool
    revision: Revision | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many subjects share these four facts; the manager's rating is as it was given."""

    proposed: Band | None
    rating: Decimal | None
    state: CaseState
    band: Band | None
    people: int


@dataclass(frozen=True, slots=True)
class BandCount:
    band: Band
    scored: int
    manager: int
    calibrated: int


@dataclass(frozen=True, slots=True)
class Distribution:
    subjects: int
    bands: tuple[BandCount, ...]
    unrated_scored: int
    unrated_calibrated: int
    manager_missing: int
    manager_between_bands: int
    undecided: int
    awaiting_approval: int
