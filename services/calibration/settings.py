from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings


class CalibrationSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="CALIBRATION_")

    http_port: Port = 8103
