"""What the demo's client systems post: a quarter of daily KPI events with everything that goes wrong in one.

Every event carries what should become of it, so that the demo can hold the platform to it. A day of a person is
made from the seed, the person and the day alone: nothing has to be kept in memory to be told twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import sqrt
from random import Random
from zoneinfo import ZoneInfo

from deploy.local.demo.world import Lead, Stint, Worker, World, client_agent, source_of

ROSTER_DAYS = 6
Json = Mapping[str, str | int | float]
ACCEPTED, DUPLICATE = "accepted", "duplicate"

_REPEATED, _BROKEN, _CONTRADICTED, _AMENDED = 0.010, 0.003, 0.001, 0.0017
_FAULTS: tuple[tuple[str, tuple[str, ...], Json], ...] = (
    ("unknown-metric", (), {"metric": "no-such-metric"}),
    ("unknown-agent", (), {"agent": "nobody-we-know"}),
    ("naive-time", (), {"occurred_at": "2025-05-05T10:00:00"}),
    ("future-time", (), {"occurred_at": "2199-01-01T00:00:00+00:00"}),
    ("invalid", ("numerator", "denominator"), {"value": "a lot"}),
    ("missing", ("occurred_at",), {}),
)
"""Code of the refusal, members taken out, members put in."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one accepted event says about a person, in the numbers that count."""

    root: str
    revision: int
    metric: str
    day: date
    numerator: int | Decimal
    denominator: int
    void: bool = False


@dataclass(frozen=True, slots=True)
class Posting:
    """One event as a client system sends it; `fate` is accepted, duplicate or the code of its refusal."""

    client: str
    body: Json
    fate: str
    reading: Reading | None = None

    @property
    def id(self) -> str:
        return str(self.body["id"])


@dataclass(frozen=True, slots=True)
class Day:
    """One person's day: what is posted at the end of it, and what is said of it again before the freeze."""

    postings: tuple[Posting, ...]
    amendments: tuple[Posting, ...]


_NOTHING = Day((), ())


def day_of(world: World, worker: Worker, day: date) -> Day:
    stint = worker.at(day)
    rest_day = (day.toordinal() + worker.number) % 7 >= ROSTER_DAYS
    if stint is None or isinstance(worker, Lead) or rest_day or worker.away(day):
        return _NOTHING
    random = Random(f"{world.size.seed}:{worker.id}:{day}")  # noqa: S311 - a reproducible data set, nothing secret
    postings: list[Posting] = []
    amendments: list[Posting] = []
    for index, (metric, numerator, denominator) in enumerate(_values(worker, stint, random)):
        posting = _posting(worker, stint, day, metric, index, random.randrange(60), numerator, denominator)
        postings.append(posting)
        postings.extend(_disturbance(posting, random))
        if random.random() < _AMENDED:
            amendments.append(_amended(posting, random))
    postings.extend(_left_behind(worker, stint, day))
    return Day(tuple(postings), tuple(amendments))


def quarter(world: World) -> Iterator[Posting]:
    """Everything but amendments, in the order of days."""
    for day in world.days():
        for worker in world.agents:
            yield from day_of(world, worker, day).postings


def late_correction(original: Posting, good: bool) -> Posting:
    """A survey batch that arrives after publication: 400 answers where a handful was counted, good or bad ones."""
    reading = original.reading
    if reading is None or reading.metric != "csat":
        raise ValueError("only an accepted survey can be corrected so")
    return _corrected(original, reading, f"{original.id}-late", 396 if good else 20, 400)


def _values(worker: Worker, stint: Stint, random: Random) -> Iterator[tuple[str, int | Decimal, int | None]]:
    """One working day of one person: metric, numerator or value, denominator of a ratio."""
    contacts = random.randint(18, 60)
    ease = worker.skill * 0.06
    yield "aht", round(contacts * random.gauss(372, 40) * (1 - ease)), contacts
    responses = random.randint(4, 14)
    yield "csat", _successes(responses, 0.80 + ease * 0.9, random), responses
    yield "fcr", _successes(contacts, 0.74 + ease * 0.9, random), contacts
    yield "adherence", round(450 * min(1.0, random.gauss(0.925 + ease * 0.3, 0.03))), 450
    if not stint.program.without_quality:
        yield "qa", Decimal(max(0, min(1000, round(random.gauss(846 + ease * 500, 70))))) / 10, None
    if stint.program.sells:
        yield "sales", Decimal(max(0, round(random.gauss(5 + ease * 22, 2)))), None


def _successes(trials: int, chance: float, random: Random) -> int:
    """About what that many throws of a biased coin give."""
    likely = min(0.99, max(0.05, chance))
    return min(trials, max(0, round(random.gauss(trials * likely, sqrt(trials * likely * (1 - likely))))))


def _posting(
    worker: Worker,
    stint: Stint,
    day: date,
    metric: str,
    index: int,
    minute: int,
    numerator: int | Decimal,
    denominator: int | None,
) -> Posting:
    client = stint.program.client
    event = f"{day:%Y%m%d}-{worker.id}-{metric}"
    moment = datetime.combine(day, time(9 + index, minute), ZoneInfo(stint.site.time_zone))
    body: dict[str, str | int | float] = {
        "id": event,
        "agent": client_agent(worker, client),
        "metric": metric,
        "occurred_at": moment.isoformat(),
    }
    if denominator is None:
        body["value"] = float(numerator)
    else:
        body |= {"numerator": int(numerator), "denominator": denominator}
    reading = Reading(f"{source_of(client)}/{event}", 0, metric, day, numerator, denominator or 1)
    return Posting(client, body, ACCEPTED, reading)


def _disturbance(posting: Posting, random: Random) -> Iterator[Posting]:
    """What now and then follows an event: itself again, a broken one, or one of its id that says something else."""
    chance = random.random()
    if chance < _REPEATED:
        yield Posting(posting.client, posting.body, DUPLICATE)
    elif chance < _REPEATED + _BROKEN:
        code, out, spoiled = random.choice(_FAULTS)
        kept = {name: said for name, said in posting.body.items() if name not in out}
        yield Posting(posting.client, kept | dict(spoiled) | {"id": f"{posting.id}-broken"}, code)
    elif chance < _REPEATED + _BROKEN + _CONTRADICTED:
        field = "value" if "value" in posting.body else "numerator"
        other = {**posting.body, field: 1 if posting.body[field] != 1 else 2}
        yield Posting(posting.client, other, "conflict")


def _left_behind(worker: Worker, stint: Stint, day: date) -> Iterator[Posting]:
    """In the first days after a move, the old client's system goes on reporting who no longer works there."""
    earlier = worker.at(stint.first - timedelta(days=1))
    if earlier is None or day > stint.first + timedelta(days=2):
        return
    yield Posting(
        earlier.program.client,
        {
            "id": f"{day:%Y%m%d}-{worker.id}-left",
            "agent": client_agent(worker, earlier.program.client),
            "metric": "adherence",
            "occurred_at": datetime.combine(day, time(18), ZoneInfo(stint.site.time_zone)).isoformat(),
            "numerator": 0,
            "denominator": 450,
        },
        "not-assigned",
    )


def _amended(posting: Posting, random: Random) -> Posting:
    """A correction for three of four, a void for the fourth."""
    reading = posting.reading
    if reading is None:
        raise ValueError("only an accepted event can be amended")
    if random.random() < 0.25:
        body: Json = {"id": f"{posting.id}-void", "voids": posting.id}
        void = Reading(reading.root, 1, reading.metric, reading.day, 0, 0, void=True)
        return Posting(posting.client, body, ACCEPTED, void)
    numerator = max(0, round(int(reading.numerator) * random.choice((9, 11)) / 10))
    if reading.metric in ("csat", "fcr", "adherence"):
        numerator = min(numerator, reading.denominator)
    return _corrected(posting, reading, f"{posting.id}-fix", numerator, reading.denominator)


def _corrected(posting: Posting, reading: Reading, event: str, numerator: int, denominator: int) -> Posting:
    body: dict[str, str | int | float] = {"id": event, "corrects": posting.id}
    if "value" in posting.body:
        body["value"] = float(numerator)
    else:
        body |= {"numerator": numerator, "denominator": denominator}
    corrected = Reading(reading.root, 1, reading.metric, reading.day, numerator, denominator)
    return Posting(posting.client, body, ACCEPTED, corrected)
