"""Cycles and their bands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


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
