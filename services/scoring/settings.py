"""What scoring is configured with."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings


class ScoringSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SCORING_")

    http_port: Port = 8102
    # The sums, heads and timers of a batch are written once per person and day: large batches halve the cost of a fact.
    batch_size: int = Field(default=3_000, ge=1, le=10_000, description="records of one partition in one transaction")
    rebuild_providers: tuple[str, ...] = Field(
        default=(), description="JSON list of the providers whose tables the `rebuild` command recomputes"
    )
