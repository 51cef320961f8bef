"""What every event on Kafka has in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from shared.contracts.ids import ProviderId


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An aware time, held in UTC; a naive one is refused."""


def person_key(provider: str, employee: str) -> str:
    """The key of every event about one person, so that all of a topic's lie in one partition."""
    return f"{provider}:{employee}"


class Event(BaseModel):
    """A fact that one service announces. Unknown fields are ignored, so that old code reads newer events.

    `TYPE` is the CloudEvents type with its version; a breaking change is a new type. `key()` decides the partition:
    all events of one aggregate share it, so that their order holds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]

    provider: ProviderId

    def key(self) -> str:
        raise NotImplementedError

    def partition(self) -> int | None:
        """A fixed partition instead of the key's; only markers that go to every partition have one."""
        return None
