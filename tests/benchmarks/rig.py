"""What a measurement runs on: real servers with durable commits, one service at a time, one small provider."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import URLError

import asyncpg
import httpx

from deploy.local.databases import drop_database, ensure_service_database
from deploy.local.environment import migration_environment, process_environment, service_environment
from deploy.local.layout import PROJECT, Stack
from deploy.local.tokens import TokenSigner
from shared.messaging.kafka import create_topics
from shared.settings import KafkaSettings
from tests.benchmarks.load import METRIC, PEOPLE

OFFSET = 300
PROVIDER = "bench"
SOURCE = "acd"


@dataclass(frozen=True)
class Rig:
    stack: Stack
    signer: TokenSigner
    topic_prefix: str = ""
    """Each measurement has topics of its own: a fresh database reads its topics from their beginning."""

    def for_measurement(self, name: str) -> Rig:
        found = replace(self, topic_prefix=f"{name}-{time.time_ns()}.")
        settings = KafkaSettings(kafka_bootstrap=self.stack.kafka_bootstrap, kafka_topic_prefix=found.topic_prefix)
        asyncio.run(create_topics(settings))
        return found

    def token(self, *roles: str, provider: str | None = PROVIDER) -> dict[str, str]:
        return {"authorization": f"Bearer {self.signer.token(provider=provider, roles=roles)}"}

    def database(self, service: str) -> str:
        """A fresh, migrated database of the service; its DSN as the superuser."""
        server = self.stack.postgres
        drop_database(server, f"plumbline_{service}")
        ensure_service_database(server, service)
        subprocess.run(
            [sys.executable, "-m", f"services.{service}", "migrate"],
            env=migration_environment(service, self.stack),
            cwd=PROJECT,
            check=True,
        )
        return server.superuser_dsn(f"plumbline_{service}")

    def scratch(self) -> str:
        """A fresh database for floors and peers."""
        server = self.stack.postgres
        drop_database(server, "scratch")
        server.run_sql("CREATE DATABASE scratch")
        return server.superuser_dsn("scratch")

    @contextmanager
    def service(self, name: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service as a process of its own, ready; `settings` override its environment (without the prefix)."""
        environment = service_environment(name, self.stack)
        settings = {"kafka_topic_prefix": self.topic_prefix, **settings}
        environment |= {f"{name.upper()}_{key.upper()}": value for key, value in settings.items()}
        with self.process([sys.executable, "-m", f"services.{name}"], environment, self.stack.port(name)) as process:
            yield process

    @contextmanager
    def plain_service(self, port: int, scratch: str) -> Iterator[subprocess.Popen[bytes]]:
        dsn = scratch.replace("postgresql://", "postgresql+asyncpg://")
        command = ["uvicorn", "tests.benchmarks.plain_service:app", "--port", str(port), "--log-level", "warning"]
        environment = process_environment(self.stack) | {"PLAIN_DATABASE_URL": dsn}
        with self.process([sys.executable, "-m", *command], environment, port, path="/openapi.json") as process:
            yield process

    @contextmanager
    def process(
        self, command: list[str], environment: Mapping[str, str], port: int, path: str = "/readyz"
    ) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(command, env=dict(environment), cwd=PROJECT, stdout=subprocess.DEVNULL)
        try:
            _await_answer(port, path, process)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(40)

    @contextmanager
    def frozen_broker(self) -> Iterator[None]:
        """The broker stopped in its tracks: the relay waits for an acknowledgement that does not come."""
        found = self.stack.kafka.process()
        if found is None:
            raise RuntimeError("the broker does not run")
        os.kill(found.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(found.pid, signal.SIGCONT)


def _await_answer(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"{process.args!r} is not ready after a minute")


@contextmanager
def rig(state: Path) -> Iterator[Rig]:
    """PostgreSQL with durable commits, Kafka and an issuer, kept between runs in `state` and stopped afterwards."""
    stack = Stack(state, OFFSET)
    stack.postgres.start()
    stack.kafka.start()
    signer = TokenSigner(state / "issuer", stack.url("issuer"))
    issuer = [sys.executable, "-m", "deploy.local.issuer", "--state", str(state / "issuer")]
    issuer += ["--port", str(stack.port("issuer"))]
    found = Rig(stack, signer)
    try:
        discovery = "/.well-known/openid-configuration"
        with found.process(issuer, process_environment(stack), stack.port("issuer"), path=discovery):
            yield found
    finally:
        stack.kafka.stop()
        stack.postgres.stop()


def set_up_ingest(rig: Rig) -> str:
    """A provider with one client, one metric and `PEOPLE` people known by agent id; the source's API key."""
    base = rig.stack.url("ingest") + "/v1"
    admin = rig.token("hr_admin")
    with httpx.Client(base_url=base, timeout=60) as http:
        _must(
            http.post(
                "/providers", json={"id": PROVIDER, "name": "Bench"}, headers=rig.token("operator", provider=None)
            )
        )
        _must(http.put("/clients/c1", json={"name": "C1", "lines_of_business": ["care"]}, headers=admin))
        source = {"name": "ACD", "client": "c1", "lines_of_business": ["care"]}
        _must(http.put(f"/sources/{SOURCE}", json=source, headers=admin))
        _must(http.put(f"/metrics/{METRIC}", json=_METRIC, headers=admin))
        people = [_person(number) for number in range(PEOPLE)]
        _must(http.post("/employees", json=people, headers=admin))
        agents = [
            {"agent": f"A-{n:05d}", "employee": f"e-{n:05d}", "valid_from": "2026-01-01", "valid_to": None}
            for n in range(PEOPLE)
        ]
        _must(http.put(f"/sources/{SOURCE}/agents", json=agents, headers=admin))
        return str(_must(http.post(f"/sources/{SOURCE}/keys", json={}, headers=admin)).json()["secret"])


_METRIC = {
    "name": "Average handle time",
    "owner": "wfm",
    "source_system": "acd",
    "unit": "seconds",
    "direction": "lower-is-better",
    "aggregation": "ratio",
    "precision": 1,
}


def _person(number: int) -> dict[str, object]:
    assignment = {
        "valid_from": "2026-01-01",
        "valid_to": None,
        "role": "agent",
        "grade": "G1",
        "unit": f"team-{number % 100}",
        "manager": None,
        "client": "c1",
        "line_of_business": "care",
        "site": "manila",
        "time_zone": "Asia/Manila",
    }
    person = {"id": f"e-{number:05d}", "display_name": f"Agent {number}", "country": "PH", "locale": "en-PH"}
    return {**person, "assignments": [assignment]}


def _must(response: httpx.Response) -> httpx.Response:
    if response.status_code >= 300:
        raise RuntimeError(f"{response.request.url} answered {response.status_code}: {response.text[:300]}")
    return response


async def drained(dsn: str, *, deadline: float = 300) -> None:
    """Wait until the outbox of a service is empty."""
    connection = await asyncpg.connect(dsn)
    until = time.monotonic() + deadline
    while await connection.fetchval("SELECT count(*) FROM outbox"):
        if time.monotonic() > until:
            raise RuntimeError("the outbox does not drain")
        await asyncio.sleep(0.2)
    await connection.close()
