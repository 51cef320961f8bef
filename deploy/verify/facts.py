"""The plain inputs of the recomputation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction


@dataclass(frozen=True)
class Observation:
    """One journal row; `revision` 0 is the recorded event itself, a void has no values."""

    root: str
    revision: int
    metric: str
    day: date
    numerator: Fraction
    denominator: Fraction
    void: bool


@dataclass(frozen=True)
class Place:
    """An assignment, both days inclusive; the last may be open."""

    first: date
    last: date | None
    role: str
    grade: str
    unit: str
    manager: str | None
    client: str
    line_of_business: str
    site: str

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Person:
    """Places by date."""

    id: str
    places: Sequence[Place]
    absences: Sequence[tuple[date, date]]

    def at(self, day: date) -> Place | None:
        return next((place for place in self.places if place.holds(day)), None)

    def away(self, day: date) -> bool:
        return any(first <= day <= last for first, last in self.absences)


@dataclass(frozen=True)
class Metric:
    """As it was when the template version that weighs it was published."""

    higher_is_better: bool
    aggregation: str
    missing_data: str
    minimum_volume: Fraction


@dataclass(frozen=True)
class Curve:
    points: Sequence[tuple[Fraction, Fraction]]
    stepped: bool
    accelerator: Fraction | None
    cap: Fraction | None


@dataclass(frozen=True)
class Part:
    """Either a metric or a category of feedback."""

    name: str
    metric: str | None
    category: str | None
    weight: Fraction
    curve: Curve


@dataclass(frozen=True)
class Gate:
    metric: str
    at_least: Fraction | None
    at_most: Fraction | None
    band_cap: str


@dataclass(frozen=True)
class Template:
    """A published version of a template, with the selector of the template it belongs to; `None` selects any."""

    id: str
    version: int
    effective_from: date
    role: str | None
    client: str | None
    line_of_business: str | None
    parts: Sequence[Part]
    gates: Sequence[Gate]
    metrics: Mapping[str, Metric]
    coverage_minimum: Fraction
    weight_maximum: Fraction


@dataclass(frozen=True)
class Cycle:
    """Both days inclusive; bands lowest first, each with its cut."""

    id: str
    first: date
    last: date
    bands: Sequence[tuple[str, Fraction]]

    def days(self) -> Iterable[date]:
        return (self.first + timedelta(n) for n in range((self.last - self.first).days + 1))


def in_force(observations: Iterable[Observation]) -> list[Observation]:
    """Of every event the last revision; voided events are gone."""
    last: dict[str, Observation] = {}
    for found in observations:
        if found.root not in last or found.revision > last[found.root].revision:
            last[found.root] = found
    return [found for found in last.values() if not found.void]
