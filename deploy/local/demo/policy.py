"""How the demo's people calibrate: the same verdict from the same scored band and the same lead's rating."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from deploy.local.demo.scheme import BAND_NAMES

_FOLLOWED, _APPROVED = 0.4, 0.75


class Act(StrEnum):
    CONFIRM = "confirm"
    CHANGE = "change"
    """By one band, which the facilitator decides alone."""
    ASK = "ask"
    """By two bands or more: the lead asks, the facilitator answers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    act: Act
    asked: str | None
    approved: bool = False

    def result(self, scored: str | None) -> str | None:
        taken = self.act is Act.CHANGE or (self.act is Act.ASK and self.approved)
        return self.asked if taken else scored


def verdict(seed: int, employee: str, scored: str | None, manager: str | None) -> Verdict:
    """Confirm agreement and silence; follow some leads by one band; hear every lead who sees it quite differently."""
    if scored is None or manager is None or scored == manager:
        return Verdict(Act.CONFIRM, scored)
    chance = Random(f"{seed}:{employee}:calibration").random()  # noqa: S311 - a reproducible data set, nothing secret
    if abs(BAND_NAMES.index(scored) - BAND_NAMES.index(manager)) >= 2:
        return Verdict(Act.ASK, manager, approved=chance < _APPROVED)
    return Verdict(Act.CHANGE, manager) if chance < _FOLLOWED else Verdict(Act.CONFIRM, scored)


def needs_second_person(standing: str | None, band: str | None) -> bool:
    """What two people must agree on in a revision."""
    if standing is None or band is None:
        return standing != band
    return abs(BAND_NAMES.index(standing) - BAND_NAMES.index(band)) >= 2
