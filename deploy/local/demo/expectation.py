"""What the platform must say of a world, worked out from the world alone, before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from deploy.local.demo import activity, money, opinions, policy
from deploy.local.demo.activity import ACCEPTED, DUPLICATE, Posting, Reading
from deploy.local.demo.money import CURRENCIES, Pay
from deploy.local.demo.opinions import Rating
from deploy.local.demo.policy import Act
from deploy.local.demo.scheme import BAND_NAMES
from deploy.local.demo.scoring import Ratings, Scorer, by_person, score_text
from deploy.local.demo.world import CYCLE, Worker, World
from deploy.verify.scores import Scorecard

LATE = 3
_TEMPTING = "meets"
"""Late corrections hit people in the middle, where pay moves both ways."""
_WITHOUT_CONTACT = 53


@dataclass(frozen=True, slots=True)
class Late:
    """A correction that arrives after publication: good ones are paid, bad ones proposed to be taken back."""

    worker: Worker
    posting: Posting
    good: bool
    score: str
    band: str | None


@dataclass
class Expected:
    world: World
    pay: Mapping[str, Pay]
    ratings: Mapping[str, Sequence[Rating]]
    fates: Counter[str] = field(default_factory=Counter)
    amendments: list[Posting] = field(default_factory=list)
    scored: dict[str, str | None] = field(default_factory=dict)
    scores: dict[str, str] = field(default_factory=dict)
    leaves: dict[str, int] = field(default_factory=dict)
    calibrated: dict[str, str | None] = field(default_factory=dict)
    acts: Counter[str] = field(default_factory=Counter)
    late: list[Late] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return self.fates[ACCEPTED] + len(self.amendments) + len(self.late)

    @property
    def duplicates(self) -> int:
        return self.fates[DUPLICATE]

    @property
    def refused(self) -> dict[str, int]:
        return {code: n for code, n in sorted(self.fates.items()) if code not in (ACCEPTED, DUPLICATE)}

    def count_ratings(self, category: str) -> int:
        return sum(rating.category == category for said in self.ratings.values() for rating in said)

    def bands(self, of: Mapping[str, str | None]) -> dict[str, int]:
        found = Counter(band or "unrated" for band in of.values())
        return {band: found[band] for band in (*BAND_NAMES, "unrated")}

    @property
    def published(self) -> dict[str, tuple[str | None, int, str]]:
        """Of each person the band, the version of the classification and the score it rests on, at the end."""
        found = {employee: (band, 1, self.scores[employee]) for employee, band in self.calibrated.items()}
        return found | {late.worker.id: (late.band, 2, late.score) for late in self.late}

    def in_scope(self, currency: str) -> list[Worker]:
        return [worker for worker in self.world.workers if money.home_currency(worker) == currency]

    def eligible(self, currency: str) -> list[Worker]:
        return [worker for worker in self.in_scope(currency) if worker.id in self.pay]

    def pools(self, currency: str) -> tuple[int, int]:
        return money.pools(self.world, self.pay, self.calibrated, currency)

    def notices(self) -> Iterator[tuple[str, str, str]]:
        """Kind, cause and recipient of each; without the version in which a late scorecard happened to be computed."""
        for employee in self.calibrated:
            yield "classification-published", f"classification/{CYCLE}/{employee}/1", employee
        for currency in CURRENCIES:
            run = money.run_of(currency)
            for worker in self.eligible(currency):
                yield "award-decided", f"award/{run}/{worker.id}/1", worker.id
            for partner in self.world.payroll:
                yield "run-awaits-approval", f"notice/run-awaits-approval/run/{run}/1", partner.id
        for late in self.late:
            employee, run = late.worker.id, money.run_of(money.home_currency(late.worker))
            yield "classification-revised", f"classification/{CYCLE}/{employee}/2", employee
            yield "award-adjusted", f"award/{run}/{employee}/2", employee
            cause = f"notice/scorecard-late/scorecard-late/{CYCLE}/{employee}"
            yield "scorecard-late", cause, self.world.administrator.id


def has_contact(worker: Worker) -> bool:
    """A few never gave an address: what concerns them is in their inbox only."""
    return worker.number % _WITHOUT_CONTACT != 0


def expect(world: World, step: Callable[[int], None] = lambda done: None) -> Expected:
    """Works through everybody, telling `step` of each."""
    ratings = opinions.ratings(world)
    expected = Expected(world, money.pay_of(world), ratings)
    about = by_person(rating for said in ratings.values() for rating in said)
    scorer = Scorer(world)
    tempting: list[tuple[Worker, list[Reading], list[Posting]]] = []
    for worker in world.workers:
        readings, surveys = _quarter_of(expected, worker)
        card = scorer.card(worker, readings, about.get(worker.id, {}))
        _calibrate(expected, worker, card, about.get(worker.id, {}))
        expected.leaves[worker.id] = len(_in_force(readings))
        if _is_tempting(expected, worker, card) and surveys:
            tempting.append((worker, readings, surveys))
        step(1)
    random = Random(f"{world.size.seed}:late")  # noqa: S311 - a reproducible data set, nothing secret
    if len(tempting) < LATE:
        raise ValueError("this world has too few people in the middle for late corrections: take another seed")
    for place, (worker, readings, surveys) in enumerate(random.sample(tempting, LATE)):
        good = place > 0
        posting = activity.late_correction(surveys[len(surveys) // 2], good)
        corrected = [*readings, posting.reading] if posting.reading else readings
        card = scorer.card(worker, corrected, about.get(worker.id, {}))
        expected.late.append(Late(worker, posting, good, score_text(card.score), card.band))
    return expected


def _quarter_of(expected: Expected, worker: Worker) -> tuple[list[Reading], list[Posting]]:
    """Counts a person's events; returns what was read of them, and the surveys nobody corrected since."""
    readings: list[Reading] = []
    surveys: list[Posting] = []
    for date in expected.world.days():
        day = activity.day_of(expected.world, worker, date)
        expected.fates.update(posting.fate for posting in day.postings)
        expected.amendments.extend(day.amendments)
        amended = {posting.reading.root for posting in day.amendments if posting.reading}
        for posting in (*day.postings, *day.amendments):
            if posting.reading is None:
                continue
            readings.append(posting.reading)
            if posting.reading.metric == "csat" and posting.reading.root not in amended:
                surveys.append(posting)
    return readings, surveys


def _in_force(readings: Sequence[Reading]) -> list[Reading]:
    last = {reading.root: reading for reading in sorted(readings, key=lambda reading: reading.revision)}
    return [reading for reading in last.values() if not reading.void]


def _calibrate(expected: Expected, worker: Worker, card: Scorecard, ratings: Ratings) -> None:
    expected.scored[worker.id], expected.scores[worker.id] = card.band, score_text(card.score)
    said = ratings.get("manager")
    manager = BAND_NAMES[int(said[0]) - 1] if said else None
    found = policy.verdict(expected.world.size.seed, worker.id, card.band, manager)
    expected.calibrated[worker.id] = found.result(card.band)
    if found.act is not Act.ASK:
        expected.acts[found.act] += 1
        return
    expected.acts["approved" if found.approved else "rejected"] += 1
    if not found.approved:
        expected.acts[Act.CONFIRM] += 1


def _is_tempting(expected: Expected, worker: Worker, card: Scorecard) -> bool:
    pay = expected.pay.get(worker.id)
    at_home = pay is not None and pay.currency == money.home_currency(worker)
    stays = len(worker.stints) == 1 and has_contact(worker)
    return stays and at_home and card.band == _TEMPTING == expected.calibrated[worker.id]
