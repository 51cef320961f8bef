"""Whole states: events of which only the newest of each thing counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from shared.contracts.scoring import CycleChanged
from shared.contracts.workforce import EmployeeChanged, MetricDefined

State = TypeVar("State", EmployeeChanged, CycleChanged, MetricDefined)


def newest(events: Iterable[State]) -> list[State]:
    """The highest version of each key, in the order of the keys.

    No statement may store one row twice, and those that lock rows in one order never wait for one another in a circle.
    """
    states = {event.key(): event for event in sorted(events, key=lambda event: event.version)}
    return [states[key] for key in sorted(states)]
