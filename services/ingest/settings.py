"""What ingest is configured with."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings


class IngestSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="INGEST_")

    http_port: Port = 8101
