"""What the rules of ingest speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from shared.contracts.ids import (
    ClientId,
    CycleId,
    EmployeeId,
    KpiEventId,
    LineOfBusiness,
    MetricKey,
    ProviderId,
    SourceId,
    UnitId,
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One item of a request that is refused while the others go on; `field` is the offending one, if it is one."""

    index: int
    id: str | None
    code: str
    detail: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    id: ProviderId
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    id: ClientId
    name: str
    lines_of_business: tuple[LineOfBusiness, ...]


@dataclass(frozen=True, slots=True)
class Source:
    id: SourceId
    name: str
    client: ClientId
    lines_of_business: tuple[LineOfBusiness, ...]


class Scope(StrEnum):
    WRITE = "kpi-events:write"
    READ = "kpi-events:read"


@dataclass(frozen=True, slots=True)
class Metric:
    key: MetricKey
    name: str
    owner: str
    source_system: str
    unit: str
    direction: str
    aggregation: str
    precision: int
    missing_data: str
    minimum_volume: Decimal
    developmental_only: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """Both days inclusive; an open end is `None`."""

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


@dataclass(frozen=True, slots=True)
class Absence:
    starts_on: date
    ends_on: date


@dataclass(frozen=True, slots=True)
class Employee:
    id: EmployeeId
    display_name: str
    country: str
    locale: str
    assignments: tuple[Assignment, ...]
    absences: tuple[Absence, ...]


class AgentMapping(NamedTuple):
    """The person behind a source's own agent id, both days inclusive."""

    agent: str
    employee: EmployeeId
    valid_from: date
    valid_to: date | None


# One of each of the following is made per event of the hot path, where a tuple costs a fifth of a frozen dataclass.


class Observation(NamedTuple):
    """A KPI event as a source sent it, in normal form. Exactly one of `agent` and `employee` is given."""

    position: int
    id: KpiEventId
    digest: bytes
    agent: str | None
    employee: EmployeeId | None
    metric: MetricKey
    occurred_at: datetime
    numerator: Decimal
    denominator: Decimal | None
    """`None` when the source sent one `value`."""


class Amendment(NamedTuple):
    """A correction or a void, in normal form. What is `None` stays as the original has it."""

    position: int
    id: KpiEventId
    digest: bytes
    original: KpiEventId
    void: bool
    agent: str | None
    employee: EmployeeId | None
    metric: MetricKey | None
    occurred_at: datetime | None
    numerator: Decimal | None
    denominator: Decimal | None


class Workplace(NamedTuple):
    """The part of an assignment that decides whether and on which day an event counts."""

    valid_from: date
    valid_to: date | None
    zone: ZoneInfo
    client: ClientId
    line_of_business: LineOfBusiness


@dataclass(frozen=True, slots=True)
class Roster:
    """What is known of whom and what a request of one source names; workplaces and agents are sorted by date."""

    client: ClientId
    lines_of_business: frozenset[LineOfBusiness]
    agents: Mapping[str, Sequence[AgentMapping]]
    workplaces: Mapping[EmployeeId, Sequence[Workplace]]
    aggregations: Mapping[MetricKey, str]


class Reason(NamedTuple):
    """Why an event is refused; `field` is the member of it that has to change."""

    code: str
    detail: str
    field: str


class Placed(NamedTuple):
    """The person an event is about, and the calendar day at their site."""

    employee: EmployeeId
    occurred_on: date


class Original(NamedTuple):
    """A journal row that corrections and voids refer to; `revisions` is how many it has."""

    id: KpiEventId
    kind: str
    agent: str | None
    employee: EmployeeId
    metric: MetricKey
    occurred_at: datetime
    occurred_on: date
    revisions: int


class JournalRow(NamedTuple):
    """One line of the journal, as it is inserted."""

    id: KpiEventId
    kind: str
    root: KpiEventId | None
    revision: int
    agent: str | None
    employee: EmployeeId
    metric: MetricKey
    occurred_at: datetime
    occurred_on: date
    numerator: Decimal | None
    denominator: Decimal | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Cycle:
    id: CycleId
    version: int
    state: str
    starts_on: date
    ends_on: date
    bands: int


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person says of another; `category` is one of the contract's."""

    index: int
    cycle: CycleId
    employee: EmployeeId
    rater: EmployeeId
    category: str
    rating: Decimal
    comment: str


T = TypeVar("T")


class Kept(NamedTuple, Generic[T]):
    """A stored state and how often it changed."""

    state: T
    version: int
