"""What every service is configured with. Each service subclasses this with its own prefix (`SCORING_…`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


def mistakes(error: ValidationError, prefix: str = "") -> list[str]:
    """What is wrong, each under the name of its variable, without the values: some are secret."""
    found = error.errors(include_url=False, include_input=False)
    return [f"{prefix}{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in found]


class KafkaSettings(BaseSettings):
    """How to reach the cluster and what of it is ours. A variable that is set but empty counts as unset."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)

    kafka_bootstrap: str = Field(description="host:port[,host:port…]")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: str | None = None
    kafka_topic_prefix: str = Field(default="", description="put before every topic and group name of a shared cluster")
    kafka_session_timeout_ms: int = Field(default=10_000, ge=1_000, le=300_000)


class ServiceSettings(KafkaSettings):
    """Read whole from the environment; a wrong value is refused at start, all mistakes named at once."""

    database_url: SecretStr = Field(description="postgresql+asyncpg URL of the role that may not own tables")
    migration_database_url: SecretStr | None = Field(
        default=None, description="URL of the owning role; only the `migrate` command needs it"
    )
    database_pool_size: int = Field(default=10, ge=2, le=200)

    oidc_issuer: str = Field(description="issuer URL; its discovery document names the JWKS")
    oidc_audience: str = "plumbline"

    http_host: str = "127.0.0.1"
    http_port: Port
    http_read_seconds: int = Field(
        default=30,
        ge=1,
        le=300,
        description="in which the head of a request must arrive, then its body, and in which an answer must be taken",
    )
    cors_origins: tuple[str, ...] = ()

    otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP base URL; unset switches tracing off")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    batch_size: int = Field(default=1_000, ge=1, le=10_000, description="records of one partition in one transaction")
    drain_seconds: float = Field(default=20, gt=0, le=300)
