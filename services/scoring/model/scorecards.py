"""Results. Scores and attainment are percent, coverage is a share; every number was rounded once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from services.scoring.model.people import Placement
from services.scoring.model.templates import MissingData, PartKind


class PartState(StrEnum):
    VALID = "valid"
    MISSING = "missing"
    INSUFFICIENT = "insufficient"
    """Below the minimum volume: treated as missing."""
    ZERO = "zero"
    """Missing, and the metric's rule counts it as nothing achieved."""
    HELD = "held"
    """Missing, and the metric's rule lets the whole segment wait."""


class Unrated(StrEnum):
    NO_TEMPLATE = "no-template"
    HELD = "held"
    COVERAGE = "coverage"
    WEIGHT_LIMIT = "weight-limit"
    NO_RATED_DAYS = "no-rated-days"


@dataclass(frozen=True, slots=True)
class PartResult:
    """One part in one segment, with everything its attainment was made of."""

    part: str
    kind: PartKind
    source: str
    weight: Decimal
    applied_weight: Decimal | None
    state: PartState
    insufficient: bool
    rule: MissingData
    minimum_volume: Decimal
    numerator: Decimal
    denominator: Decimal
    events: int
    latest_day: date | None
    value: Decimal | None
    attainment: Decimal | None


@dataclass(frozen=True, slots=True)
class SegmentResult:
    starts_on: date
    ends_on: date
    days: int
    role: str
    client: str
    line_of_business: str
    manager: str | None
    template: str | None
    template_version: int | None
    score: Decimal | None
    coverage: Decimal
    unrated: Unrated | None
    parts: tuple[PartResult, ...]


class GateState(StrEnum):
    PASSED = "passed"
    MISSED = "missed"
    UNKNOWN = "unknown"
    """Too little data to say; it caps nothing."""


@dataclass(frozen=True, slots=True)
class GateResult:
    metric: str
    at_least: Decimal | None
    at_most: Decimal | None
    band_cap: str
    numerator: Decimal
    denominator: Decimal
    events: int
    value: Decimal | None
    state: GateState


@dataclass(frozen=True, slots=True)
class PartAttainment:
    part: str
    weight: Decimal
    attainment: Decimal | None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The result for one person in one cycle. Every number was rounded once, from its exact value."""

    score: Decimal | None
    coverage: Decimal
    band_before_gates: str | None
    proposed_band: str | None
    unrated: Unrated | None
    parts: tuple[PartAttainment, ...]
    gates: tuple[GateResult, ...]
    segments: tuple[SegmentResult, ...]
    placement: Placement


class Status(StrEnum):
    CURRENT = "current"
    LATE = "late"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Acceptance:
    of_version: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScorecardVersion:
    """One kept version. It saw the facts whose sequence is at most `watermark`."""

    cycle: str
    employee: str
    version: int
    status: Status
    watermark: int
    as_of: datetime
    result: Scorecard
    acceptance: Acceptance | None = None
