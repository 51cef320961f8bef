"""The one table of topics: who owns each, what it says, how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.contracts.event import Event
from shared.contracts.kpi import FeedbackSubmitted, IntakeSealed, KpiCorrected, KpiRecorded, KpiVoided
from shared.contracts.outcomes import (
    AwardAdjusted,
    AwardDecided,
    ClassificationPublished,
    ClassificationRevised,
    NoticeRequested,
)
from shared.contracts.scoring import CycleChanged, ScorecardComputed
from shared.contracts.workforce import EmployeeChanged, MetricDefined

PARTITIONS = 12
RETENTION = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Topic:
    """`owner` is the only service that writes it (`"*"`: every service); a compacted topic carries whole states."""

    name: str
    owner: str
    key: str
    events: tuple[type[Event], ...]
    compacted: bool = False
    partitions: int = PARTITIONS


KPI_EVENTS = Topic("kpi-events", "ingest", "employee", (KpiRecorded, KpiCorrected, KpiVoided, IntakeSealed))
FEEDBACK = Topic("feedback", "ingest", "employee", (FeedbackSubmitted, IntakeSealed))
WORKFORCE = Topic("workforce", "ingest", "employee", (EmployeeChanged,), compacted=True)
METRICS = Topic("metrics", "ingest", "metric", (MetricDefined,), compacted=True)
CYCLES = Topic("cycles", "scoring", "cycle", (CycleChanged,), compacted=True)
SCORECARDS = Topic("scorecards", "scoring", "employee", (ScorecardComputed,))
CLASSIFICATIONS = Topic("classifications", "calibration", "employee", (ClassificationPublished, ClassificationRevised))
AWARDS = Topic("awards", "compensation", "employee", (AwardDecided, AwardAdjusted))
NOTICES = Topic("notices", "*", "employee or unit", (NoticeRequested,))

TOPICS: tuple[Topic, ...] = (
    KPI_EVENTS,
    FEEDBACK,
    WORKFORCE,
    METRICS,
    CYCLES,
    SCORECARDS,
    CLASSIFICATIONS,
    AWARDS,
    NOTICES,
)

EVENT_TYPES: Mapping[str, type[Event]] = {event.TYPE: event for topic in TOPICS for event in topic.events}
_TOPIC_OF: Mapping[type[Event], Topic] = {
    event: topic for topic in TOPICS for event in topic.events if event is not IntakeSealed
}


def topic_of(event: Event) -> Topic:
    """The topic an event is announced on; a sealing marker names its own."""
    topic = _TOPIC_OF.get(type(event))
    if topic is None and isinstance(event, IntakeSealed):  # asked last: pydantic makes the question a dear one
        return KPI_EVENTS if event.stream == KPI_EVENTS.name else FEEDBACK
    return topic or _TOPIC_OF[type(event)]
