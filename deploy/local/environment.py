"""What each service is told through its environment on this machine."""

from deploy.local.databases import service_urls
from deploy.local.layout import PROJECT, Stack
from deploy.local.settings import inherited
from deploy.local.tokens import AUDIENCE


def service_environment(name: str, stack: Stack) -> dict[str, str]:
    """The settings of one service, under its prefix, and what any Python process needs besides."""
    urls = service_urls(stack.postgres, name)
    settings = {
        "DATABASE_URL": urls.app,
        "KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "OIDC_ISSUER": stack.url("issuer"),
        "OIDC_AUDIENCE": AUDIENCE,
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(stack.port(name)),
        "OTLP_ENDPOINT": stack.url("collector"),
        **_own_settings(name, stack),
    }
    return process_environment(stack) | {f"{name.upper()}_{key}": value for key, value in settings.items()}


def migration_environment(name: str, stack: Stack) -> dict[str, str]:
    """The same, and the role that owns the tables, which no running service is told."""
    owner = service_urls(stack.postgres, name).owner
    return service_environment(name, stack) | {f"{name.upper()}_MIGRATION_DATABASE_URL": owner}


def process_environment(stack: Stack) -> dict[str, str]:
    """What every child is told, whatever else it is."""
    return inherited() | stack.environment() | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


def _own_settings(name: str, stack: Stack) -> dict[str, str]:
    if name == "compensation":
        return {"SCORING_URL": stack.url("scoring")}
    if name == "notifications":
        return {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(stack.port("smtp")),
            "MAIL_FROM": "plumbline@localhost",
            # The webhook receiver of this stack is on loopback, which the service refuses by default.
            "WEBHOOK_ALLOW_PRIVATE": "true",
        }
    return {}
