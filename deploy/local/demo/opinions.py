"""What people say of each other: every lead of their own people, and colleagues of a seeded half of the agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from deploy.local.demo.world import Worker, World

RATERS = 3
_SILENT = 0.02
"""Share of people whose lead never got round to rating them."""


@dataclass(frozen=True, slots=True)
class Rating:
    rater: str
    employee: str
    category: str
    rating: int


def ratings(world: World) -> Mapping[str, Sequence[Rating]]:
    """Who says what, by rater."""
    random = Random(f"{world.size.seed}:ratings")  # noqa: S311 - a reproducible data set, nothing secret
    leniency = {lead.id: lead.leniency for lead in world.leads}
    teams = {lead.final.unit: world.team_of(lead.final.unit) for lead in world.leads}
    found: dict[str, list[Rating]] = {}
    for agent in world.agents:
        said = [*_by_lead(agent, leniency, random), *_by_peers(agent, teams[agent.final.unit], random)]
        for rating in said:
            found.setdefault(rating.rater, []).append(rating)
    return found


def _by_lead(agent: Worker, leniency: Mapping[str, float], random: Random) -> list[Rating]:
    seen = 3.05 + 0.85 * agent.skill + leniency[agent.final.manager] + random.gauss(0, 0.6)
    if random.random() < _SILENT:
        return []
    return [Rating(agent.final.manager, agent.id, "manager", _on_scale(seen))]


def _by_peers(agent: Worker, team: Sequence[Worker], random: Random) -> list[Rating]:
    others = [other for other in team if other.id != agent.id]
    if random.random() >= 0.5 or len(others) < RATERS:
        return []
    raters = random.sample(others, min(len(others), random.choice((RATERS, RATERS + 1))))
    return [
        Rating(rater.id, agent.id, "peer", _on_scale(3.3 + 0.6 * agent.skill + random.gauss(0, 0.7)))
        for rater in raters
    ]


def _on_scale(seen: float) -> int:
    return min(5, max(1, round(seen)))
