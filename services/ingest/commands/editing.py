"""What all edits of what people edit have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.ingest.model import Kept
from shared.contracts.ids import ProviderId
from shared.versions import Precondition

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


def decide(kept: Kept[T] | None, wanted: T, if_match: Precondition) -> Put:
    """What putting `wanted` comes to where `kept` is, which is locked or was not there."""
    version = kept.version if kept else 0
    changed = kept is None or kept.state != wanted
    if_match.check(version, changes=changed)
    return Put(version + changed, created=kept is None, changed=changed)
