"""Paired measurements and how they are shown."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Run = Callable[[str], float]
"""One round with a salt that keeps its data apart; a rate."""


@dataclass(frozen=True)
class Pair:
    ours: Run
    other: Run


@dataclass(frozen=True)
class Measure:
    """`value` is held against `at_least` or `at_most`; `ours` and `other` are medians of the single figures."""

    name: str
    unit: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    ours: float | None = None
    other: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


def paired(
    name: str,
    unit: str,
    pair: Pair,
    pairs: int,
    settle: Callable[[], None],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Measure:
    """Run the two in turn, in alternating order, and take the median of the ratios: both meet the same noise."""
    ours: list[float] = []
    other: list[float] = []
    for number in range(pairs):
        salt = f"{abs(hash(name)) % 10**8}-{os.getpid()}-{number}"
        for run, found in ((pair.ours, ours), (pair.other, other))[:: 1 if number % 2 else -1]:
            found.append(run(f"{salt}-{'o' if found is ours else 'f'}"))
            settle()
    ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
    note = f"ratios {min(ratios):.2f}…{max(ratios):.2f}"
    return Measure(name, unit, median(ratios), at_least, at_most, median(ours), median(other), note)


def machine() -> str:
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) / 1024**2
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
