"""The demo's provider: its clients, sites, teams and people, and who moved where. All from one seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

NAME = "meridian"
SEED = 20250407
AGENTS = 600
WEEKS = 13
PEOPLE_PER_TEAM = 15
FEWEST_AGENTS = 24
FIRST_DAY = date(2025, 4, 7)
CYCLE = "2025-q2"
ROLES = ("agent", "senior-agent", "specialist")
GRADE_OF = {"agent": "G1", "senior-agent": "G2", "specialist": "G3", "team-lead": "G5"}


@dataclass(frozen=True, slots=True)
class Size:
    """What makes one demo world another. Two may live in one stack, even equal ones under two names."""

    agents: int = AGENTS
    weeks: int = WEEKS
    seed: int = SEED
    name: str = NAME

    def __post_init__(self) -> None:
        if self.agents < FEWEST_AGENTS or self.weeks < 1:
            raise ValueError(f"a world has at least {FEWEST_AGENTS} agents and one week")

    @property
    def provider(self) -> str:
        """The id of the provider; another size or seed is another provider."""
        usual = (self.agents, self.weeks, self.seed) == (AGENTS, WEEKS, SEED)
        return self.name if usual else f"{self.name}-{self.agents}-{self.weeks}-{self.seed}"

    @property
    def teams(self) -> int:
        return max(6, self.agents // PEOPLE_PER_TEAM)


@dataclass(frozen=True, slots=True)
class Site:
    id: str
    country: str
    time_zone: str
    currency: str
    locale: str


@dataclass(frozen=True, slots=True)
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
CLIENTS: Mapping[str, str] = {
    "aurora-telecom": "Aurora Telecom",
    "harbor-bank": "Harbor Bank",
    "tidal-retail": "Tidal Retail",
}


@dataclass(frozen=True, slots=True)
class Stint:
    """One assignment; both days inclusive, `last` open when `None`."""

    first: date
    last: date | None
    role: str
    unit: str
    manager: str
    program: Program
    site: Site

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Worker:
    """An agent or a team lead. `skill` moves every metric: 0 is ordinary, ±1 a standard deviation."""

    id: str
    number: int
    name: str
    skill: float
    stints: tuple[Stint, ...]
    absences: tuple[tuple[date, date], ...] = ()

    def at(self, day: date) -> Stint | None:
        return next((stint for stint in self.stints if stint.holds(day)), None)

    def away(self, day: date) -> bool:
        return any(first <= day <= last for first, last in self.absences)

    @property
    def final(self) -> Stint:
        return self.stints[-1]


@dataclass(frozen=True, slots=True)
class Lead(Worker):
    leniency: float = 0.0


@dataclass(frozen=True, slots=True)
class Partner:
    """Somebody of HR: known by name, without an assignment, hence nobody's subject."""

    id: str
    name: str
    role: str


@dataclass(frozen=True)
class World:
    size: Size
    agents: Sequence[Worker]
    leads: Sequence[Lead]
    facilitators: Mapping[str, Partner]
    administrator: Partner
    payroll: tuple[Partner, Partner]

    @property
    def provider(self) -> str:
        return self.size.provider

    @property
    def last_day(self) -> date:
        return FIRST_DAY + timedelta(days=7 * self.size.weeks - 1)

    @property
    def workers(self) -> Sequence[Worker]:
        return (*self.agents, *self.leads)

    @property
    def partners(self) -> Sequence[Partner]:
        return (*self.facilitators.values(), self.administrator, *self.payroll)

    def days(self) -> Iterator[date]:
        return (FIRST_DAY + timedelta(days=n) for n in range(7 * self.size.weeks))

    def team_of(self, unit: str) -> list[Worker]:
        """Who works in the unit at the end of the quarter."""
        return [agent for agent in self.agents if agent.final.unit == unit]


def client_agent(worker: Worker, client: str) -> str:
    """The client system's own id of a person; every client numbers people in its own way."""
    return f"{client[:2].upper()}-{worker.number + 4000}"


def source_of(client: str) -> str:
    return f"{client}-ops"


def build(size: Size) -> World:
    """Teams over four sites and six programs; the same size gives the same world."""
    random = Random(size.seed)  # noqa: S311 - a reproducible data set, nothing secret
    partners = [Partner(f"h-{n:04d}", f"HR Partner {n}", "facilitator") for n in range(1, len(CLIENTS) + 1)]
    hired = FIRST_DAY - timedelta(days=400)
    leads = []
    for number in range(1, size.teams + 1):
        program, site = PROGRAMS[number % len(PROGRAMS)], SITES[number % len(SITES)]
        stint = Stint(hired, None, "team-lead", f"team-{number:02d}", partners[0].id, program, site)
        leniency = random.gauss(0, 0.4)
        leads.append(Lead(f"m-{number:04d}", 9000 + number, f"Team Lead {number}", 0.0, (stint,), (), leniency))
    agents = [_agent(n, leads[(n - 1) % size.teams], random) for n in range(1, size.agents + 1)]
    _move_some(agents, leads, size, random)
    _send_some_on_leave(agents, size, random)
    return World(
        size,
        agents,
        leads,
        dict(zip(CLIENTS, partners, strict=True)),
        Partner("h-0101", "HR Operations", "hr_admin"),
        (
            Partner("h-0102", "Rewards Analyst", "compensation_admin"),
            Partner("h-0103", "Rewards Lead", "compensation_admin"),
        ),
    )


def _agent(number: int, lead: Lead, random: Random) -> Worker:
    role = random.choices(ROLES, weights=(6, 3, 1))[0]
    hired = FIRST_DAY - timedelta(days=random.randint(30, 1500))
    home = lead.final
    stint = Stint(hired, None, role, home.unit, lead.id, home.program, home.site)
    return Worker(f"e-{number:04d}", number, f"Agent {number}", random.gauss(0, 1), (stint,))


def _move_some(agents: list[Worker], leads: Sequence[Lead], size: Size, random: Random) -> None:
    """Every twenty-fifth person changes team and client in the middle of the quarter, within the same country."""
    for index in range(7, len(agents), 25):
        agent = agents[index]
        day = FIRST_DAY + timedelta(days=random.randint(2 * size.weeks, 5 * size.weeks))
        old = agent.final
        place = index % len(leads)
        target = next(
            lead.final
            for lead in (*leads[place:], *leads[:place])
            if lead.final.program.client != old.program.client and lead.final.site.country == old.site.country
        )
        new = Stint(day, None, old.role, target.unit, _lead_of(target.unit, leads), target.program, target.site)
        agents[index] = replace(agent, stints=(replace(old, last=day - timedelta(days=1)), new))


def _lead_of(unit: str, leads: Sequence[Lead]) -> str:
    return next(lead.id for lead in leads if lead.final.unit == unit)


def _send_some_on_leave(agents: list[Worker], size: Size, random: Random) -> None:
    for index in range(3, len(agents), 17):
        start = FIRST_DAY + timedelta(days=random.randint(0, 5 * size.weeks))
        length = random.randint(1, max(1, size.weeks))
        agents[index] = replace(agents[index], absences=((start, start + timedelta(days=length)),))
