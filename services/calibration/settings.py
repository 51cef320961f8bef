from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class CalibrationSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="CALIBRATION_", frozen=True, extra="forbid")

    http_port: int = 8103
