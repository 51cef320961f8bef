"""What the rules of scoring speak about. Weights, attainment and scores are percent; coverage is a share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class PartKind(StrEnum):
    METRIC = "metric"
    FEEDBACK = "feedback"


class Aggregation(StrEnum):
    RATIO = "ratio"
    MEAN = "mean"
    SUM = "sum"


class MissingData(StrEnum):
    EXCLUDE_AND_REWEIGHT = "exclude-and-reweight"
    ZERO = "zero"
    HOLD = "hold"


class Shape(StrEnum):
    LINEAR = "linear"
    STEPPED = "stepped"


@dataclass(frozen=True, slots=True)
class Problem:
    """One offending input: a JSON pointer and what is wrong with it."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in the order in which performance improves; `accelerator` is percent per unit beyond the last."""

    points: tuple[tuple[Decimal, Decimal], ...]
    shape: Shape = Shape.LINEAR
    accelerator: Decimal | None = None
    cap: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """`source` is the metric, or the category of feedback."""

    part: str
    kind: PartKind
    source: str
    weight: Decimal
    curve: Curve


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition without weight: missed, it caps the band. Exactly one of the two limits is set."""

    metric: str
    at_least: Decimal | None
    at_most: Decimal | None
    band_cap: str


@dataclass(frozen=True, slots=True)
class MetricRule:
    """What a published version keeps of a metric, so that a later definition cannot change what was published."""

    higher_is_better: bool
    aggregation: Aggregation
    missing_data: MissingData
    minimum_volume: Decimal


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    template: str
    version: int
    effective_from: date
    coverage_minimum: Decimal
    weight_maximum: Decimal
    parts: tuple[Part, ...]
    gates: tuple[Gate, ...]
    metrics: Mapping[str, MetricRule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selector:
    """Whom a template is for; `None` is anybody."""

    role: str | None
    client: str | None
    line_of_business: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A template with its published versions."""

    selector: Selector
    versions: tuple[TemplateVersion, ...]


@dataclass(frozen=True, slots=True)
class BandCut:
    band: str
    cut_score: Decimal


@dataclass(frozen=True, slots=True)
class Period:
    """A cycle as the rules need it; both days inclusive, bands lowest first."""

    starts_on: date
    ends_on: date
    bands: tuple[BandCut, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    role: str
    grade: str
    unit: str
    manager: str | None
    client: str
    line_of_business: str
    site: str


@dataclass(frozen=True, slots=True)
class Assignment:
    valid_from: date
    valid_to: date | None
    place: Placement


@dataclass(frozen=True, slots=True)
class Person:
    """Assignments by date without overlap; absences as they were reported, both days inclusive."""

    assignments: tuple[Assignment, ...]
    absences: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive days under one role, client, line of business, manager and template version.

    `days` are those that count: leave is left out.
    """

    starts_on: date
    ends_on: date
    days: int
    role: str
    client: str
    line_of_business: str
    manager: str | None
    version: TemplateVersion | None


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact sums of one source over one segment."""

    numerator: Decimal
    denominator: Decimal
    events: int
    latest_day: date | None


Source = tuple[PartKind, str]


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


@dataclass(frozen=True, slots=True)
class Fact:
    """One stored event: an observation (revision 0), a correction of `root`, or its void (no values)."""

    event: str
    root: str
    revision: int
    employee: str
    metric: str
    occurred_on: date
    numerator: Decimal | None
    denominator: Decimal | None

    @property
    def void(self) -> bool:
        return self.numerator is None


@dataclass(frozen=True, slots=True)
class Delta:
    """A signed contribution of one event to the sums of a day."""

    employee: str
    metric: str
    day: date
    numerator: Decimal
    denominator: Decimal
    events: int


class CycleState(StrEnum):
    OPEN = "open"
    FREEZING = "freezing"
    FROZEN = "frozen"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Cycle:
    cycle: str
    version: int
    name: str
    state: CycleState
    period: Period
    scorecards: int | None = None
    frozen_upto: str = ""


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


class VersionState(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class TemplateDraft:
    """A version as it is kept, published or not."""

    content: TemplateVersion
    state: VersionState
    published_at: datetime | None
    published_by: str | None


@dataclass(frozen=True, slots=True)
class TemplateHead:
    template: str
    name: str
    selector: Selector
    versions: int
    published: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A fact that counted in a version: the event as first recorded, and the one whose values count.

    `starts_on` names the segment it counted in; a rating counts in all of them.
    """

    kind: PartKind
    source: str
    starts_on: date | None
    event: str
    effective_event: str
    revision: int
    occurred_on: date
    numerator: Decimal
    denominator: Decimal
