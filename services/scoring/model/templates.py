"""Templates, their versions, parts, curves and gates. Weights and attainment are percent."""

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
