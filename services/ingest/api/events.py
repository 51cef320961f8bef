"""One KPI event as a source writes it, and what the rules make of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Required

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from services.ingest.api.bodies import Shape
from services.ingest.api.shapes import Agent
from services.ingest.model import Amendment, Observation, Reason, Rejection
from services.ingest.rules.normal_form import digest, in_utc
from shared.contracts.ids import IDENTIFIER, EmployeeId, KpiEventId, MetricKey, SourceId
from shared.numbers import plain

EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:~@+=-]{0,127}$")]
"""The source's own id. No slash: `<source>/<id>` names the event within a provider."""
MOST_DIGITS = 15
"""What a number in anybody's JSON keeps."""
# Digits are counted in `_written`: the validator counts by taking each number apart, at a twentieth of all that an
# event costs.
Exact = Annotated[Decimal, Field(description=f"a number of at most {MOST_DIGITS} digits")]
Moment = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?$"
    ),
]


class KpiEventIn(TypedDict, total=False):
    """An observation (`agent` or `employee`, `metric`, `occurred_at` and what was measured), a correction (`corrects`
    and what should have been measured) or a void (`voids` alone). A ratio metric is measured by `numerator` and
    `denominator`, any other by `value`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc] # how pydantic configures a TypedDict

    id: Required[EventId]
    agent: Agent
    employee: Annotated[EmployeeId, IDENTIFIER]
    metric: Annotated[MetricKey, IDENTIFIER]
    occurred_at: Moment
    value: Exact
    numerator: Exact
    denominator: Exact
    corrects: EventId
    voids: EventId


SHAPE = Shape(TypeAdapter(KpiEventIn), TypeAdapter(list[KpiEventIn]))


def read_event(index: int, sent: KpiEventIn, source: SourceId) -> Observation | Amendment | Rejection:
    read: Observation | Amendment | Reason
    if "voids" in sent:
        read = _void(index, sent, source)
    elif "corrects" in sent:
        read = _correction(index, sent, source)
    else:
        read = _observation(index, sent, source)
    return Rejection(index, sent["id"], *read) if isinstance(read, Reason) else read


def _observation(index: int, sent: KpiEventIn, source: SourceId) -> Observation | Reason:
    agent, employee, metric = sent.get("agent"), sent.get("employee"), sent.get("metric")
    if (agent is None) == (employee is None):
        return Reason("missing" if agent is None else "invalid", "an event names an agent or an employee", "agent")
    if metric is None:
        return Reason("missing", "an event names its metric", "metric")
    moment = _moment(sent)
    if moment is None:
        return Reason("missing", "an event says when it occurred", "occurred_at")
    if isinstance(moment, Reason):
        return moment
    measured = _measured(sent)
    if isinstance(measured, Reason):
        return measured
    numerator, denominator = measured
    return Observation(
        index,
        KpiEventId(f"{source}/{sent['id']}"),
        digest("observation", agent or "", employee or "", metric, moment.isoformat(), numerator, denominator or ""),
        agent,
        employee,
        metric,
        moment,
        Decimal(numerator),
        Decimal(denominator) if denominator else None,
    )


def _correction(index: int, sent: KpiEventIn, source: SourceId) -> Amendment | Reason:
    agent, employee, metric = sent.get("agent"), sent.get("employee"), sent.get("metric")
    moment, measured = _moment(sent), _measured(sent)
    if isinstance(moment, Reason):
        return moment
    if isinstance(measured, Reason):
        return measured
    numerator, denominator = measured
    at = moment.isoformat() if moment else ""
    said = (sent["corrects"], agent or "", employee or "", metric or "", at, numerator, denominator or "")
    return Amendment(
        index,
        KpiEventId(f"{source}/{sent['id']}"),
        digest("correction", *said),
        KpiEventId(f"{source}/{sent['corrects']}"),
        False,
        agent,
        employee,
        metric,
        moment,
        Decimal(numerator),
        Decimal(denominator) if denominator else None,
    )


def _void(index: int, sent: KpiEventIn, source: SourceId) -> Amendment | Reason:
    others = sorted(sent.keys() - {"id", "voids"})
    if others:
        return Reason("invalid", "a void names the event it takes back, and nothing else", others[0])
    own, original = KpiEventId(f"{source}/{sent['id']}"), KpiEventId(f"{source}/{sent['voids']}")
    nothing = (None, None, None, None, None, None)
    return Amendment(index, own, digest("void", sent["voids"]), original, True, *nothing)


def _moment(sent: KpiEventIn) -> datetime | Reason | None:
    text = sent.get("occurred_at")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return Reason("invalid", "there is no such time", "occurred_at")
    if moment.tzinfo is None:
        return Reason("naive-time", "a time needs its offset from UTC, or Z", "occurred_at")
    try:
        return in_utc(moment) or Reason("early-time", "nothing before the year 2000 is taken", "occurred_at")
    except OverflowError:  # the last hours of year 9999, west of Greenwich
        return Reason("future-time", "the event lies in the future", "occurred_at")


def _measured(sent: KpiEventIn) -> tuple[str, str | None] | Reason:
    """The numbers in their one way of writing: with idle zeros, no column would hold 0e-20000."""
    value, numerator, denominator = sent.get("value"), sent.get("numerator"), sent.get("denominator")
    if value is not None:
        if numerator is None and denominator is None:
            written = _written(value)
            return _too_long("value") if written is None else (written, None)
        return Reason("invalid", "give one value, or numerator and denominator", "value")
    if numerator is None or denominator is None:
        field = "denominator" if numerator is not None else "numerator" if denominator is not None else "value"
        return Reason("missing", "give one value, or numerator and denominator", field)
    if denominator < 0:
        return Reason("negative-denominator", "what is divided by is counted, and cannot be negative", "denominator")
    above, below = _written(numerator), _written(denominator)
    if above is None or below is None:
        return _too_long("numerator" if above is None else "denominator")
    return above, below


def _written(number: Decimal) -> str | None:
    """`None` for more digits than a number may have."""
    # Asked first: written out, 1e999999999 would be a gigabyte of zeros.
    if number and abs(number.adjusted()) > MOST_DIGITS:
        return None
    text = plain(number)
    if len(text) > MOST_DIGITS and len(text.lstrip("-").removeprefix("0.").replace(".", "")) > MOST_DIGITS:
        return None
    return text


def _too_long(field: str) -> Reason:
    return Reason("number-not-exact", f"a number has at most {MOST_DIGITS} digits", field)
