"""How soon and how often people are scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Pace:
    """For people of whom something came in at `now`: not before `soonest`, nor until `apart` after the last time."""

    now: datetime
    soonest: datetime
    apart: timedelta
