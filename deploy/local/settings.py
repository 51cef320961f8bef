"""What the local stack reads from its environment, and what of it the processes it starts are given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.processes import LocalStackError
from shared.settings import mistakes

_INHERITED = ("PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "VIRTUAL_ENV", "JAVA_HOME", "XDG_CACHE_HOME")


class LocalSettings(BaseSettings):
    """Every field is a variable of the same name. One that is set but empty counts as unset."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    plumbline_state: Path | None = Field(default=None, description="where everything is kept; .plumbline if unset")
    plumbline_port_offset: int = Field(default=0, ge=0, le=57_000, description="added to every port")
    plumbline_kafka_bootstrap: str | None = Field(
        default=None, pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$", description="host:port[,host:port…] of another Kafka"
    )
    plumbline_kafka_mock: bool = Field(default=False, description="librdkafka's mock broker in the place of Kafka")

    java_home: Path | None = None
    xdg_cache_home: Path = Field(default_factory=lambda: Path.home() / ".cache")

    @classmethod
    def read(cls) -> Self:
        try:
            return cls()
        except ValidationError as error:
            raise LocalStackError("\n".join(mistakes(error))) from None


def inherited() -> dict[str, str]:
    """Nothing of the caller's shell but what finding programs, certificates and time zones takes."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}
