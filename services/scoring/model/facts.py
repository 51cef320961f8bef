"""What was observed, and the exact sums of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from services.scoring.model.templates import PartKind


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact sums of one source over one segment."""

    numerator: Decimal
    denominator: Decimal
    events: int
    latest_day: date | None


Source = tuple[PartKind, str]


class Fact(NamedTuple):
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
