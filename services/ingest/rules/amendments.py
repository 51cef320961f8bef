"""Corrections and voids: new events that name an original; the original stands as it was."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from services.ingest.model import Amendment, JournalRow, Original, Reason, Roster
from services.ingest.rules.intake import CLOCK_SKEW, day_of, measure_mismatch


def amend(
    amendment: Amendment, original: Original | None, revision: int, roster: Roster, now: datetime
) -> JournalRow | Reason:
    """The row that becomes `revision` of the original, or why it cannot."""
    name = "voids" if amendment.void else "corrects"
    if original is None:
        return Reason("unknown-original", "no event of this id was accepted from this source", name)
    if original.kind != "observation":
        return Reason("not-an-original", "name the original event, not a correction or void of it", name)
    if amendment.void:
        return _row(amendment, original, revision, original.occurred_at, original.occurred_on)
    refused = _not_the_same(amendment, original) or measure_mismatch(
        roster.aggregations.get(original.metric), by_value=amendment.denominator is None
    )
    if refused is not None:
        return refused
    if amendment.occurred_at in (None, original.occurred_at):
        # The day was fixed when the original was accepted: assignments changed since do not move it.
        return _row(amendment, original, revision, original.occurred_at, original.occurred_on)
    moved_to = amendment.occurred_at or original.occurred_at
    if moved_to > now + CLOCK_SKEW:
        return Reason("future-time", "the event lies in the future", "occurred_at")
    placed = day_of(original.employee, moved_to, roster)
    if isinstance(placed, Reason):
        return Reason(placed.code, placed.detail, "occurred_at")
    return _row(amendment, original, revision, moved_to, placed.occurred_on)


def _not_the_same(amendment: Amendment, original: Original) -> Reason | None:
    if amendment.metric not in (None, original.metric):
        return Reason("other-metric", "a correction keeps the metric; void the event and send a new one", "metric")
    if amendment.agent not in (None, original.agent):
        return Reason("other-person", "a correction keeps the person; void the event and send a new one", "agent")
    if amendment.employee not in (None, original.employee):
        return Reason("other-person", "a correction keeps the person; void the event and send a new one", "employee")
    return None


def _row(
    amendment: Amendment, original: Original, revision: int, occurred_at: datetime, occurred_on: date
) -> JournalRow:
    numerator = amendment.numerator
    # A correction by one value stands over 1, like the observation it corrects; a void stands for nothing.
    denominator = Decimal(1) if numerator is not None and amendment.denominator is None else amendment.denominator
    return JournalRow(
        amendment.id,
        "void" if amendment.void else "correction",
        original.id,
        revision,
        amendment.agent,
        original.employee,
        original.metric,
        occurred_at,
        occurred_on,
        numerator,
        denominator,
        amendment.digest,
    )
