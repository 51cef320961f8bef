"""When a delivery that failed is tried again, and when no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from services.notifications.model import Outcome, Settlement, State, Verdict

DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
LONGEST_WAIT = DELAYS[-1]

ROUND = timedelta(seconds=60)
"""How long one round begins attempts. What it has not begun by then is left to the next."""
LEASE = timedelta(seconds=30)
"""What a killed process had in hand comes due again after it. A living one renews it until its round is over."""
RENEWAL = LEASE / 3


def settle(outcome: Outcome, now: datetime) -> Settlement:
    """Delivered, due again after the delay for this many failures (or what the other side asked for), or dead."""
    if outcome.verdict is Verdict.DELIVERED:
        return Settlement(State.DELIVERED, outcome.claim.failures, None, None)
    failures = outcome.claim.failures + 1
    if outcome.verdict is Verdict.NEVER or failures > len(DELAYS):
        return Settlement(State.DEAD, failures, None, outcome.error)
    asked = min(outcome.retry_after or timedelta(0), LONGEST_WAIT)
    return Settlement(State.FAILED, failures, now + max(DELAYS[failures - 1], asked), outcome.error)


def pause_after(strikes: int, now: datetime) -> datetime:
    """Until when an endpoint is left alone that has been silent in this many rounds, one after the other."""
    return now + DELAYS[min(strikes, len(DELAYS)) - 1]


def parse_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The wait a `Retry-After` header asks for, in seconds or until a date; `None` when it says neither."""
    if header is None:
        return None
    stated = header.strip()
    if stated.isascii() and stated.isdecimal():
        return timedelta(seconds=min(int(stated[:9]), int(LONGEST_WAIT.total_seconds())))
    try:
        until = parsedate_to_datetime(stated)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(until - now, timedelta(0))
