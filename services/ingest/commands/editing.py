"""What all edits of what people edit have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.ingest.model import Kept
from shared.contracts.ids import ProviderId
from shared.web import Precondition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class By:
    """Whoever changes something, for whom, and when."""

    provider: ProviderId
    actor: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """What a PUT came to: the version that stands, and whether the thing is new or changed."""

    version: int
    created: bool
    changed: bool


CREATED = Put(1, created=True, changed=True)


def decide(kept: Kept[T], wanted: T, if_match: Precondition) -> Put:
    """Saying again what is so already changes nothing and needs no precondition; any other edit does."""
    if kept.state == wanted:
        return Put(kept.version, created=False, changed=False)
    if_match.check(kept.version)
    return Put(kept.version + 1, created=False, changed=True)
