"""docker-compose.yml configures the services with exactly the variables they read, and with values they accept."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from deploy.services import SERVICES
from shared.settings import KafkaSettings, ServiceSettings

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}")


def _environment(name: str) -> dict[str, str]:
    """The variables of a container, with defaults taken and required ones set to something."""

    def value(match: re.Match[str]) -> str:
        return match[2] if match[2] is not None else "https://id.example.com" if "ISSUER" in match[1] else "secret"

    return {key: _VARIABLE.sub(value, str(text)) for key, text in COMPOSE["services"][name]["environment"].items()}


def _settings(service: str) -> type[ServiceSettings]:
    found: type[ServiceSettings] = importlib.import_module(f"services.{service}.app").SERVICE.settings
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_variables_are_the_fields_of_the_settings(service: str) -> None:
    settings = _settings(service)
    prefix = str(settings.model_config["env_prefix"])
    every = {f"{prefix}{field.upper()}" for field in settings.model_fields}
    # Only the migration is told the role that owns the tables.
    assert set(_environment(f"{service}-migration")) == every
    assert set(_environment(service)) == every - {f"{prefix}MIGRATION_DATABASE_URL"}
    assert prefix == f"{service.upper()}_"


@pytest.mark.parametrize("service", SERVICES)
def test_the_values_are_accepted(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _environment(service).items():
        monkeypatch.setenv(name, value)
    settings = _settings(service)()
    assert f"{settings.http_port}:{settings.http_port}" in COMPOSE["services"][service]["ports"][0]


@pytest.mark.parametrize("service", SERVICES)
def test_a_port_that_is_none_is_refused(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _environment(service).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"{service.upper()}_HTTP_PORT", "99999")
    with pytest.raises(ValidationError, match="http_port"):
        _settings(service)()


def test_topics_are_provisioned_with_the_variables_that_are_read() -> None:
    known = {field.upper() for field in KafkaSettings.model_fields} - {"KAFKA_SESSION_TIMEOUT_MS"}
    assert set(_environment("topics")) == known


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_its_migration_and_for_the_topics(service: str) -> None:
    waits = COMPOSE["services"][service]["depends_on"]
    done = {"condition": "service_completed_successfully"}
    assert waits == {f"{service}-migration": done, "topics": done}
