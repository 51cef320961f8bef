"""What others announced, stored once and turned into what is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands.freezing import FREEZE
from services.scoring.commands.rescoring import RESCORE
from services.scoring.model.cycles import Cycle
from services.scoring.model.facts import Fact
from services.scoring.model.pacing import Pace
from services.scoring.rules.facts import deltas
from services.scoring.store import cycles, facts, ratings
from services.scoring.store.facts import Entry
from services.scoring.store.ratings import Rating
from shared.contracts.ids import ProviderId
from shared.contracts.kpi import FeedbackSubmitted, IntakeSealed, KpiCorrected, KpiRecorded, KpiVoided
from shared.errors import RuleViolation
from shared.field_problems import FieldProblem
from shared.messaging import timers

KpiEvent = KpiRecorded | KpiCorrected | KpiVoided

_MAX_DIGITS = 60


async def add_facts(tx: AsyncConnection, provider: ProviderId, events: Sequence[KpiEvent], pace: Pace) -> None:
    """Store events, keep the sums of their days exact, and have the people they touch scored.

    The same event again changes nothing; of an event and its corrections the highest revision counts, whichever
    arrives first.
    """
    distinct = list({event.event: event for event in reversed(events)}.values())[::-1]
    added = [_fact(event) for event in distinct]
    active = await cycles.hold_calendar(tx, provider)
    revised = {fact.employee for fact in added if fact.revision}
    reserved = await facts.reserve(tx, provider, [fact.employee for fact in added], pace, revised)
    await timers.schedule_each(tx, RESCORE, provider, reserved.due_of(_touched(added, active)))
    recorded = (event.recorded_at for event in distinct)
    entries = list(map(Entry, added, reserved.numbers, recorded))
    # Where nothing was ever revised, what is new has no predecessor to take back.
    first = [entry for entry in entries if entry.fact.employee not in reserved.revised]
    await facts.insert_and_sum(tx, provider, first)
    if len(first) < len(entries):
        await _revise(tx, provider, [entry for entry in entries if entry.fact.employee in reserved.revised])


async def _revise(tx: AsyncConnection, provider: ProviderId, entries: Sequence[Entry]) -> None:
    """Store events of people of whom some event has more than one revision."""
    known = await facts.known(tx, provider, [entry.fact for entry in entries])
    new = await facts.insert(tx, provider, entries)
    await facts.add_to_day_sums(tx, provider, deltas(known, [each.fact for each in entries if each.fact.event in new]))


async def add_ratings(
    tx: AsyncConnection, provider: ProviderId, submitted: Sequence[FeedbackSubmitted], pace: Pace
) -> None:
    """Store ratings; of one rater's about one person in a cycle and category the highest revision counts."""
    said = [
        Rating(
            each.cycle,
            each.employee,
            each.category.value,
            each.rater,
            each.revision,
            each.feedback,
            each.rating,
            each.submitted_at,
        )
        for each in submitted
    ]
    active = {cycle.cycle for cycle in await cycles.hold_calendar(tx, provider)}
    reserved = await facts.reserve(tx, provider, [rating.employee for rating in said], pace)
    touched = {rating.employee for rating in said if rating.cycle in active}
    await timers.schedule_each(tx, RESCORE, provider, reserved.due_of(touched))
    await ratings.insert(tx, provider, said, reserved.numbers)


async def seal(tx: AsyncConnection, provider: ProviderId, markers: Sequence[IntakeSealed], *, now: datetime) -> None:
    """Note how far the freeze of a cycle has been passed."""
    found = [
        cycles.Seal(marker.cycle, marker.stream, marker.target_partition, marker.partitions, marker.sealed_at)
        for marker in markers
    ]
    await cycles.seal(tx, provider, found)
    await timers.schedule(tx, FREEZE, provider, {seal.cycle for seal in found}, now)


def _fact(event: KpiEvent) -> Fact:
    # Asked first for what most events are: for what they are not, pydantic makes the question a dear one.
    if isinstance(event, KpiRecorded):
        root, revision = event.event, 0
    elif isinstance(event, KpiCorrected):
        root, revision = event.corrects, event.revision
    else:
        return Fact(
            event.event, event.voids, event.revision, event.employee, event.metric, event.occurred_on, None, None
        )
    _require_size("/numerator", event.numerator)
    _require_size("/denominator", event.denominator)
    return Fact(
        event.event,
        root,
        revision,
        event.employee,
        event.metric,
        event.occurred_on,
        event.numerator,
        event.denominator,
    )


def _require_size(pointer: str, value: Decimal) -> None:
    """Sums are kept to the last digit, and a few characters of exponent could make them arbitrarily long."""
    if abs(value.adjusted()) > _MAX_DIGITS or len(str(value)) > 2 * _MAX_DIGITS:
        found = FieldProblem(pointer, "too-many-digits", f"at most {_MAX_DIGITS} digits before or after the point")
        raise RuleViolation("a value of this size cannot be summed", code="too-many-digits", problems=[found])


def _touched(added: Iterable[Fact], active: Sequence[Cycle]) -> set[str]:
    """Whose scorecards may change. A revision may also take something off a day we have not looked up."""
    days: dict[date, bool] = {}
    touched: set[str] = set()
    for fact in added:
        day = fact.occurred_on
        if day not in days:
            days[day] = any(cycle.period.starts_on <= day <= cycle.period.ends_on for cycle in active)
        if days[day] or (fact.revision and active):
            touched.add(fact.employee)
    return touched
