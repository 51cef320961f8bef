"""Settings of the compensation service, read from `COMPENSATION_…`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings


class CompensationSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="COMPENSATION_")

    http_port: Port = 8104
    scoring_url: str = Field(
        default="http://127.0.0.1:8102", description="where the leaves of a scorecard are asked for"
    )
