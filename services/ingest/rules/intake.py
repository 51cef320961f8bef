"""Whether an observation counts, for whom and on which day. Order of arrival decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

from services.ingest.model import JournalRow, Observation, Placed, Reason, Roster, Workplace
from shared.contracts.ids import EmployeeId

CLOCK_SKEW = timedelta(minutes=5)
"""How far a source's clock may be ahead of ours."""

_ONE = Decimal(1)
_UNKNOWN = "nobody of this id works for this source's client and lines of business"
_NOT_THAT_DAY = "the person did not work for this source's client and lines of business on the day of the event"


def place(observation: Observation, roster: Roster, now: datetime) -> Placed | Reason:
    """The person and the calendar day at their site, or why the event is refused."""
    if observation.occurred_at > now + CLOCK_SKEW:
        return Reason("future-time", "the event lies in the future", "occurred_at")
    by_value = observation.denominator is None
    mismatch = measure_mismatch(roster.aggregations.get(observation.metric), by_value=by_value)
    if mismatch is not None:
        return mismatch
    if observation.employee is not None:
        return day_of(observation.employee, observation.occurred_at, roster)
    return _behind(observation.agent or "", observation.occurred_at, roster)


def observed(seen: Observation, placed: Placed) -> JournalRow:
    """The journal's row of an observation that counts; a single value stands over 1."""
    return JournalRow(
        seen.id,
        "observation",
        None,
        0,
        seen.agent,
        placed.employee,
        seen.metric,
        seen.occurred_at,
        placed.occurred_on,
        seen.numerator,
        _ONE if seen.denominator is None else seen.denominator,
        seen.digest,
    )


def measure_mismatch(aggregation: str | None, *, by_value: bool) -> Reason | None:
    """Why a metric of this aggregation cannot be measured in the way the event does; `None` is no metric at all."""
    if aggregation is None:
        return Reason("unknown-metric", "no metric of this key is defined", "metric")
    if (aggregation == "ratio") == by_value:
        wanted = "numerator and denominator" if aggregation == "ratio" else "one value"
        return Reason("wrong-measure", f"a {aggregation} metric takes {wanted}", "value" if by_value else "numerator")
    return None


def day_of(employee: EmployeeId, moment: datetime, roster: Roster) -> Placed | Reason:
    """The calendar day of `moment` at the site where this person then worked for the source's client."""
    for day in _days_at_work(employee, moment, roster):
        return Placed(employee, day)
    # A source must not learn who else works here: only who once worked for its own client is merely "not assigned".
    if any(_in_scope(place, roster) for place in roster.workplaces.get(employee, ())):
        return Reason("not-assigned", _NOT_THAT_DAY, "employee")
    return Reason("unknown-employee", _UNKNOWN, "employee")


def _behind(agent: str, moment: datetime, roster: Roster) -> Placed | Reason:
    mappings = roster.agents.get(agent)
    if not mappings:
        return Reason("unknown-agent", "no person is mapped to this agent id of the source", "agent")
    for mapping in mappings:
        for day in _days_at_work(mapping.employee, moment, roster):
            if mapping.valid_from <= day and (mapping.valid_to is None or day <= mapping.valid_to):
                return Placed(mapping.employee, day)
    return Reason("not-assigned", _NOT_THAT_DAY, "agent")


def _days_at_work(employee: EmployeeId, moment: datetime, roster: Roster) -> Iterator[date]:
    """The local days on which an assignment of the source's scope was in force; two only around a move eastwards."""
    for place in roster.workplaces.get(employee, ()):
        day = moment.astimezone(place.zone).date()
        if place.valid_from <= day and (place.valid_to is None or day <= place.valid_to) and _in_scope(place, roster):
            yield day


def _in_scope(place: Workplace, roster: Roster) -> bool:
    return place.client == roster.client and place.line_of_business in roster.lines_of_business
