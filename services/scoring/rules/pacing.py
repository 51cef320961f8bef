"""When people are scored of whom something just came in."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.scoring.model.pacing import Pace

_APART = timedelta(seconds=1)
_LONGEST = timedelta(seconds=14)
_RECORDS_PER_SECOND = 2_000


def pace(now: datetime, lag: int) -> Pace:
    """Somebody's first event after a quiet time counts at once, and those of the next second together.

    The further behind, the more events one scoring should cover: roughly all until the partition has caught up.
    """
    behind = min(_LONGEST, timedelta(seconds=lag / _RECORDS_PER_SECOND))
    return Pace(now, now + behind, _APART + behind)
