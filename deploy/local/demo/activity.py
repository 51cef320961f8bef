"""What the demo's client systems post: a quarter of daily KPI events with everything that goes wrong in one.

Every event carries what should become of it, so that the demo can hold the platform to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

from deploy.local.demo.world import FIRST_DAY, LAST_DAY, SEED, Agent, Stint, World

ROSTER_DAYS = 6
Json = Mapping[str, str | int | float | None]


class Fate(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True)
class Reading:
    """What one event says about a person, in the numbers that count."""

    root: str
    revision: int
    employee: str
    metric: str
    day: date
    numerator: Fraction
    denominator: Fraction
    void: bool = False


@dataclass(frozen=True)
class Posting:
    """One event as a client system sends it, with what should become of it; `reading` only when it is accepted."""

    client: str
    day: date
    body: Json
    fate: Fate
    reading: Reading | None = None


@dataclass(frozen=True)
class Activity:
    """`quarter` in the order of days, `amendments` before the freeze, `late` after publication."""

    quarter: Sequence[Posting]
    amendments: Sequence[Posting]
    late: Sequence[Posting]

    def count(self, fate: Fate) -> int:
        return sum(posting.fate is fate for posting in (*self.quarter, *self.amendments, *self.late))


def source_of(client: str) -> str:
    return f"{client}-ops"


def _values(agent: Agent, stint: Stint, random: Random) -> Iterator[tuple[str, int | Decimal, int | None]]:
    """One working day of one person: metric, numerator or value, denominator of a ratio."""
    contacts = random.randint(18, 60)
    ease = agent.skill * 0.08
    yield "aht", round(contacts * random.gauss(372, 40) * (1 - ease)), contacts
    responses = random.randint(4, 14)
    yield "csat", sum(random.random() < 0.80 + ease * 0.9 for _ in range(responses)), responses
    yield "fcr", sum(random.random() < 0.74 + ease * 0.9 for _ in range(contacts)), contacts
    yield "adherence", round(450 * min(1.0, random.gauss(0.925 + ease * 0.3, 0.03))), 450
    if not stint.program.without_quality:
        yield "qa", Decimal(max(0, min(1000, round(random.gauss(846 + ease * 500, 70))))) / 10, None
    if stint.program.sells:
        yield "sales", max(0, round(random.gauss(5 + ease * 22, 2))), None


def _posting(agent: Agent, stint: Stint, world: World, day: date, metric: str, index: int, random: Random,
             numerator: int | Decimal, denominator: int | None) -> Posting:  # fmt: skip
    client = stint.program.client
    event = f"{day:%Y%m%d}-{agent.id}-{metric}"
    moment = datetime.combine(day, time(9 + index, random.randrange(60)), ZoneInfo(stint.site.time_zone))
    body: dict[str, str | int | float | None] = {
        "id": event,
        "agent": world.client_agent(agent, client),
        "metric": metric,
        "occurred_at": moment.isoformat(),
    }
    if denominator is None:
        body["value"] = float(numerator)
    else:
        body |= {"numerator": int(numerator), "denominator": denominator}
    root = f"{source_of(client)}/{event}"
    reading = Reading(root, 0, agent.id, metric, day, Fraction(numerator), Fraction(denominator or 1))
    return Posting(client, day, body, Fate.ACCEPTED, reading)


def _faults(posting: Posting, number: int) -> Json:
    """The same event with one thing wrong with it."""
    spoiled = dict(posting.body) | {"id": f"bad-{number}"}
    faults: tuple[dict[str, str | int | float | None], ...] = (
        {"metric": "no-such-metric"},
        {"agent": "nobody-we-know"},
        {"occurred_at": "2026-05-05T10:00:00"},
        {"occurred_at": "2199-01-01T00:00:00+00:00"},
        {"value": "a lot", "numerator": None, "denominator": None},
        {"occurred_at": None},
    )
    return spoiled | faults[number % len(faults)]


def generate(world: World, seed: int = SEED) -> Activity:
    """The same world and seed give the same postings, in the same order."""
    random = Random(seed)  # noqa: S311 - a reproducible data set, nothing secret
    quarter: list[Posting] = []
    day = FIRST_DAY
    while day <= LAST_DAY:
        quarter.extend(_day(world, day, random))
        day += timedelta(days=1)
    amended = random.sample([p for p in quarter if p.fate is Fate.ACCEPTED], 420)
    amendments = [_amend(posting, n, random) for n, posting in enumerate(amended)]
    untouched = {posting.body["id"] for posting in amended}
    candidates = [p for p in quarter if p.fate is Fate.ACCEPTED and p.body["id"] not in untouched]
    finals = {agent.id for agent in world.agents if len(agent.stints) == 1}
    surveys = [posting for posting in candidates if _is_survey_of(posting, finals)]
    late = [_late(posting, number) for number, posting in enumerate(random.sample(surveys, 3))]
    return Activity(quarter, amendments, late)


def _is_survey_of(posting: Posting, people: set[str]) -> bool:
    return posting.reading is not None and posting.reading.metric == "csat" and posting.reading.employee in people


def _day(world: World, day: date, random: Random) -> Iterator[Posting]:
    for agent in world.agents:
        stint = agent.at(day)
        rest_day = (day.toordinal() + int(agent.id.split("-")[1])) % 7 >= ROSTER_DAYS
        away = any(first <= day <= last for first, last in agent.absences)
        if stint is None or rest_day or away:
            continue
        for index, (metric, numerator, denominator) in enumerate(_values(agent, stint, random)):
            posting = _posting(agent, stint, world, day, metric, index, random, numerator, denominator)
            yield posting
            chance = random.random()
            if chance < 0.010:
                yield Posting(posting.client, day, posting.body, Fate.DUPLICATE)
            elif chance < 0.013:
                yield Posting(posting.client, day, _faults(posting, random.randrange(10**9)), Fate.REFUSED)
            elif chance < 0.014:
                changed = dict(posting.body)
                field = "value" if denominator is None else "numerator"
                changed[field] = 1 if changed[field] != 1 else 2
                yield Posting(posting.client, day, changed, Fate.REFUSED)


def _amend(posting: Posting, number: int, random: Random) -> Posting:
    """A correction for three of four, a void for the fourth."""
    reading = posting.reading
    if reading is None:
        raise ValueError("only accepted events can be amended")
    original = posting.body["id"]
    if number % 4 == 3:
        body: Json = {"id": f"void-{number}", "voids": original}
        void = Reading(reading.root, 1, reading.employee, reading.metric, reading.day, Fraction(0), Fraction(0), True)
        return Posting(posting.client, posting.day, body, Fate.ACCEPTED, void)
    factor = random.choice((Fraction(9, 10), Fraction(11, 10)))
    numerator = Fraction(max(0, round(reading.numerator * factor)))
    if reading.metric in ("csat", "fcr", "adherence"):
        numerator = min(numerator, reading.denominator)
    return _corrected(posting, reading, f"fix-{number}", numerator, reading.denominator)


def _late(posting: Posting, number: int) -> Posting:
    """A survey batch that arrives after publication: 400 answers where eight were counted, bad or good ones."""
    reading = posting.reading
    if reading is None:
        raise ValueError("only accepted events can be amended")
    return _corrected(posting, reading, f"late-{number}", Fraction(20 if number == 0 else 396), Fraction(400))


def _corrected(posting: Posting, reading: Reading, event: str, numerator: Fraction, denominator: Fraction) -> Posting:
    body: dict[str, str | int | float | None] = {"id": event, "corrects": posting.body["id"]}
    if "value" in posting.body:
        body["value"] = float(numerator)
    else:
        body |= {"numerator": int(numerator), "denominator": int(denominator)}
    corrected = Reading(reading.root, 1, reading.employee, reading.metric, reading.day, numerator, denominator)
    return Posting(posting.client, posting.day, body, Fate.ACCEPTED, corrected)
