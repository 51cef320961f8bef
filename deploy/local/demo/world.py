"""The demo's provider: its clients, sites, teams and people, and who moved where. All from one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from random import Random

PROVIDER = "meridian"
SEED = 20260401
FIRST_DAY = date(2026, 4, 6)
WEEKS = 13
LAST_DAY = FIRST_DAY + timedelta(days=7 * WEEKS - 1)
CYCLE = "2026-q2"
ROLES = ("agent", "senior-agent", "specialist")
GRADE_OF = {"agent": "G1", "senior-agent": "G2", "specialist": "G3", "team-lead": "G5", "hr": "G6"}
TEAMS = 40
AGENTS = 600


@dataclass(frozen=True)
class Site:
    id: str
    country: str
    time_zone: str
    currency: str
    locale: str


@dataclass(frozen=True)
class Program:
    """A client's line of business."""

    client: str
    line_of_business: str
    sells: bool
    without_quality: bool = False


SITES = (
    Site("manila", "PH", "Asia/Manila", "PHP", "en-PH"),
    Site("cebu", "PH", "Asia/Manila", "PHP", "en-PH"),
    Site("krakow", "PL", "Europe/Warsaw", "PLN", "en-GB"),
    Site("gdansk", "PL", "Europe/Warsaw", "PLN", "en-GB"),
)
PROGRAMS = (
    Program("aurora-telecom", "mobile-care", sells=False),
    Program("aurora-telecom", "broadband-sales", sells=True),
    # Its quality system was never connected: the metric stays missing, and the other parts carry its weight.
    Program("harbor-bank", "cards", sells=False, without_quality=True),
    Program("harbor-bank", "loans", sells=True),
    Program("tidal-retail", "orders", sells=False),
    Program("tidal-retail", "marketplace", sells=False),
)
CLIENT_NAMES = {"aurora-telecom": "Aurora Telecom", "harbor-bank": "Harbor Bank", "tidal-retail": "Tidal Retail"}


@dataclass(frozen=True)
class Stint:
    """One assignment; both days inclusive, `last` open when `None`."""

    first: date
    last: date | None
    role: str
    unit: str
    manager: str | None
    program: Program
    site: Site

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Agent:
    """A person whose KPIs are counted. `skill` moves every metric: 0 is ordinary, ±1 a standard deviation."""

    id: str
    name: str
    skill: float
    stints: tuple[Stint, ...]
    absences: tuple[tuple[date, date], ...] = ()

    def at(self, day: date) -> Stint | None:
        return next((stint for stint in self.stints if stint.holds(day)), None)

    @property
    def final(self) -> Stint:
        return self.stints[-1]


@dataclass(frozen=True)
class Lead:
    id: str
    name: str
    unit: str
    leniency: float
    stint: Stint


@dataclass(frozen=True)
class World:
    agents: Sequence[Agent]
    leads: Sequence[Lead]
    hr: Sequence[Lead]
    by_unit: Mapping[str, Sequence[Agent]] = field(default_factory=dict)

    def client_agent(self, agent: Agent, client: str) -> str:
        """The client system's own id of a person; every client numbers people in its own way."""
        return f"{client.split('-')[0][:2].upper()}-{int(agent.id.split('-')[1]) + 4000}"


def _stint(role: str, unit: str, manager: str | None, program: Program, site: Site, first: date) -> Stint:
    return Stint(first, None, role, unit, manager, program, site)


def build(seed: int = SEED, agents: int = AGENTS, teams: int = TEAMS) -> World:
    """A world of `teams` teams over four sites and six programs; the same seed gives the same world."""
    random = Random(seed)  # noqa: S311 - a reproducible data set, nothing secret
    hired = FIRST_DAY - timedelta(days=400)
    hr = [
        Lead(f"h-{n:04d}", f"HR Partner {n}", "hr", 0.0, _stint("hr", "hr", None, PROGRAMS[0], SITES[0], hired))
        for n in range(1, 4)
    ]
    leads = []
    for number in range(1, teams + 1):
        program, site = PROGRAMS[number % len(PROGRAMS)], SITES[number % len(SITES)]
        unit = f"team-{number:02d}"
        stint = _stint("team-lead", unit, hr[0].id, program, site, hired)
        leads.append(Lead(f"m-{number:04d}", f"Team Lead {number}", unit, random.gauss(0, 0.35), stint))
    people = [_agent(n, leads[(n - 1) % teams], random) for n in range(1, agents + 1)]
    _move_some(people, leads, random)
    _send_some_on_leave(people, random)
    by_unit: dict[str, list[Agent]] = {}
    for agent in people:
        by_unit.setdefault(agent.final.unit, []).append(agent)
    return World(people, leads, hr, by_unit)


def _agent(number: int, lead: Lead, random: Random) -> Agent:
    role = random.choices(ROLES, weights=(6, 3, 1))[0]
    hired = FIRST_DAY - timedelta(days=random.randint(30, 1500))
    stint = _stint(role, lead.unit, lead.id, lead.stint.program, lead.stint.site, hired)
    return Agent(f"e-{number:04d}", f"Agent {number}", random.gauss(0, 1), (stint,))


def _move_some(people: list[Agent], leads: Sequence[Lead], random: Random) -> None:
    """Every twenty-fifth person changes team and client in the middle of the quarter, within the same country."""
    for index in range(7, len(people), 25):
        agent = people[index]
        day = FIRST_DAY + timedelta(days=random.randint(28, 63))
        old = agent.final
        target = next(
            lead
            for lead in (*leads[index % len(leads) :], *leads[: index % len(leads)])
            if lead.stint.program.client != old.program.client and lead.stint.site.country == old.site.country
        )
        new = _stint(old.role, target.unit, target.id, target.stint.program, target.stint.site, day)
        people[index] = replace(agent, stints=(replace(old, last=day - timedelta(days=1)), new))


def _send_some_on_leave(people: list[Agent], random: Random) -> None:
    for index in range(3, len(people), 17):
        start = FIRST_DAY + timedelta(days=random.randint(0, 70))
        people[index] = replace(people[index], absences=((start, start + timedelta(days=random.randint(3, 12))),))
