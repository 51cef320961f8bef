"""How every service starts: `python -m services.<name> [run | migrate | check-config | openapi | …]`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import uvloop
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from shared import logs, telemetry
from shared.auth import TokenVerifier
from shared.clock import Clock, utc_now
from shared.database import Database, migrate
from shared.messaging import kafka
from shared.messaging.consumer import Consumer
from shared.messaging.relay import Relay
from shared.messaging.subscriptions import Subscription, Timer
from shared.messaging.supervise import Part, run
from shared.messaging.timers import run_timers
from shared.settings import ServiceSettings, mistakes
from shared.web import Router, Wiring, create_app
from shared.web.admin import audit_router, dead_letter_router, parked_timer_router
from shared.web.server import serve_http

VERSION = "0.1.0"

S = TypeVar("S", bound=ServiceSettings)


def _no_parts(_settings: ServiceSettings, _database: Database, _clock: Clock) -> Sequence[Part]:
    return ()


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """What makes one service different. `parts` are loops of its own; `commands` return an exit code."""

    name: str
    title: str
    settings: type[S]
    migrations: Path
    routers: Sequence[Router]
    subscriptions: Sequence[Subscription] = ()
    timers: Sequence[Timer] = ()
    parts: Callable[[S, Database, Clock], Sequence[Part]] = _no_parts
    commands: Mapping[str, Callable[[S], Coroutine[object, object, int]]] = field(default_factory=dict)


def build_app(
    service: Service[S],
    settings: S,
    database: Database,
    verifier: TokenVerifier,
    clock: Clock,
    readiness: Callable[[], Mapping[str, str]] = dict,
) -> FastAPI:
    """The HTTP side alone, as the process serves it."""
    return create_app(
        Wiring(settings, database, verifier, clock),
        [*service.routers, audit_router, dead_letter_router(service.subscriptions), parked_timer_router],
        title=service.title,
        version=VERSION,
        readiness=readiness,
    )


async def _run(service: Service[S], settings: S) -> int:
    logs.configure(service.name, settings.log_level)
    tracing = telemetry.Tracing(service.name, settings.otlp_endpoint)
    database = Database(settings.database_url, settings.database_pool_size)
    verifier = TokenVerifier(settings.oidc_issuer, settings.oidc_audience, utc_now)
    parts = [Part("relay", Relay(service.name, settings, database.announced, lambda: kafka.producer(settings)).run)]
    problems: Callable[[], Mapping[str, str]] = dict
    if service.subscriptions:
        topics = [subscription.topic.name for subscription in service.subscriptions]
        consumer = Consumer(
            database,
            service.subscriptions,
            lambda: kafka.KafkaReader(settings, service.name, topics),
            utc_now,
            batch_size=settings.batch_size,
        )
        parts.append(Part("consumer", consumer.run))

        def problems() -> Mapping[str, str]:
            problem = consumer.unready()
            return {"consumer": problem} if problem else {}

    if service.timers:
        parts.append(Part("timers", lambda stop: run_timers(database, service.timers, utc_now, stop)))
    parts.extend(service.parts(settings, database, utc_now))
    app = build_app(service, settings, database, verifier, utc_now, problems)
    parts.append(Part("http", lambda stop: serve_http(app, settings, stop)))
    try:
        await run(parts, settings.drain_seconds)
    finally:
        await verifier.close()
        await database.close()
        tracing.close()
    return 0


async def _migrate(service: Service[S], settings: S) -> int:
    if settings.migration_database_url is None:
        sys.stderr.write("migration_database_url is not set: migrations run as the owner of the tables\n")
        return 2
    await migrate(settings.migration_database_url, service.migrations)
    return 0


def openapi(service: Service[S]) -> str:
    """The service's OpenAPI document, made without connecting to anything."""
    settings = service.settings(
        database_url=SecretStr("postgresql+asyncpg://none@127.0.0.1/none"),
        kafka_bootstrap="127.0.0.1:9092",
        oidc_issuer="http://127.0.0.1",
    )
    database = Database(settings.database_url)
    verifier = TokenVerifier(settings.oidc_issuer, settings.oidc_audience, utc_now)
    app = build_app(service, settings, database, verifier, utc_now)
    return json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n"


def main(service: Service[S]) -> None:
    """Parse the command line, validate the whole configuration and run. Exit code 2 names every wrong setting."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{service.name}", description=service.title)
    names = ["run", "migrate", "check-config", "openapi", *service.commands]
    parser.add_argument("command", nargs="?", default="run", choices=names)
    command = parser.parse_args().command
    if command == "openapi":
        sys.stdout.write(openapi(service))
        return
    try:
        settings = service.settings()
    except ValidationError as error:
        prefix = service.settings.model_config["env_prefix"]
        sys.stderr.writelines(f"{mistake}\n" for mistake in mistakes(error, prefix))
        sys.exit(2)
    if command == "check-config":
        return
    if command == "run":
        job = _run(service, settings)
    elif command == "migrate":
        job = _migrate(service, settings)
    else:
        job = service.commands[command](settings)
    # What was imported lives as long as the process: collecting it again and again costs a tenth of the throughput.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(job))
