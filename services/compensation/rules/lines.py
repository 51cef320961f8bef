"""The running account of one component: every step is a line, and the lines add up to where they lead."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from services.compensation.model.award import Component, Line, Step


@lru_cache(maxsize=10_000)
def percent(value: Decimal | Fraction) -> Fraction:
    """A percentage as a share; kept, because a plan's few percentages meet every one of its people."""
    return Fraction(value) / 100


class Account:
    """Lines of one component in order. A step that changes nothing is shown all the same: it was looked at."""

    def __init__(self, component: Component, start: Fraction = Fraction(0)) -> None:
        self._component = component
        self._lines: list[Line] = []
        self.total = start

    def add(self, step: Step, label: str, inputs: Mapping[str, str], change: Fraction) -> None:
        self.total += change
        self._lines.append(Line(step, self._component, label, inputs, change, self.total))

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(self._lines)
