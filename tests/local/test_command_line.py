"""The commands as their user types them: processes of their own, real PostgreSQL and Kafka where they matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from deploy.local import lifecycle
from deploy.local.databases import service_urls
from deploy.local.environment import migration_environment, service_environment
from deploy.local.layout import PORTS, PROJECT, Stack
from deploy.local.processes import ProcessId, end, port_is_taken, wait_until
from deploy.local.record import read_record
from deploy.services import SERVICES

REAL = "tests.local.stand_ins:without_services"
STAND_INS = "tests.local.stand_ins:children"
NEVER_READY = "tests.local.stand_ins:with_a_failing_one"


def arguments(*words: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local", *words]


def run(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **stack.environment(), "COLUMNS": "200"}
    return subprocess.run(
        arguments(*words), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_real_infrastructure_comes_up_keeps_its_data_and_goes_down(stack: Stack) -> None:
    up = run(stack, "up", "--children", REAL)
    assert up.returncode == 0, up.stdout + up.stderr
    assert up.stdout.count(f"127.0.0.1:{stack.port('postgres')}") == 2
    assert up.stdout.rstrip().endswith("Everything is ready.")
    assert run(stack, "status").returncode == 0

    databases = stack.postgres.run_sql("SELECT datname FROM pg_database ORDER BY 1;").split()
    assert {f"plumbline_{service}" for service in SERVICES} <= set(databases)
    stack.postgres.run_sql("CREATE TABLE kept AS SELECT 42 AS answer;")
    asked = ("--role", "hr_admin", "--provider", "acme", "--unit", "u-1", "--unit", "u-2")
    token = run(Stack(stack.state, stack.offset + 1), "token", *asked).stdout.strip()
    keys = KeySet.import_key_set(httpx.get(f"{stack.url('issuer')}/jwks").json())
    claims = jwt.decode(token, keys, algorithms=["ES256"]).claims
    assert (claims["iss"], claims["units"]) == (stack.url("issuer"), ["u-1", "u-2"])
    assert run(stack, "token", "--role", "emperor").returncode == 2

    processes = [record.process for record in read_record(stack.record) if record.process]
    assert len(processes) == 6
    assert "Already running." in run(stack, "up", "--children", REAL).stdout
    assert [record.process for record in read_record(stack.record) if record.process] == processes
    assert run(stack, "down").returncode == 0
    assert not any(process.alive() for process in processes)
    assert run(stack, "status").returncode == 3
    assert not any(port_is_taken(stack.port(name)) for name in PORTS)

    assert run(stack, "up", "--children", REAL).returncode == 0
    assert stack.postgres.run_sql("SELECT answer FROM kept;").strip() == "42"
    assert run(stack, "reset", "--yes").returncode == 0
    assert not stack.postgres.data.exists()
    assert not list(stack.state.glob("*.sqlite"))


def test_killed_servers_come_back_and_a_killed_supervisor_takes_them_along(stack: Stack) -> None:
    assert run(stack, "up", "--children", REAL).returncode == 0
    servers = {"postgres": stack.postgres.process(), "kafka": stack.kafka.process()}
    for server in servers.values():
        assert server is not None
        end(server, signal.SIGKILL, 5)
    assert wait_until(lambda: _restarted(stack, servers), 30)

    supervisor = lifecycle.supervisor_of(stack)
    running = [record.process for record in read_record(stack.record) if record.process]
    assert supervisor is not None and len(running) == 6
    end(supervisor, signal.SIGKILL, 5)
    if sys.platform == "linux":
        assert wait_until(lambda: not any(process.alive() for process in running), 15)
    assert run(stack, "status").returncode == 3
    lifecycle.stop(stack, lambda line: None)
    assert not any(process.alive() for process in running)


def _restarted(stack: Stack, killed: dict[str, ProcessId | None]) -> bool:
    records = {record.name: record for record in read_record(stack.record)}
    return all(records[name].ready and records[name].process != process for name, process in killed.items())


def test_an_interrupted_up_leaves_nothing_running(stack: Stack) -> None:
    environment = {**os.environ, **stack.environment()}
    with subprocess.Popen(
        arguments("up", "--children", NEVER_READY),
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as up:
        assert wait_until(lambda: any(r.name == "front" and r.ready for r in read_record(stack.record)), 20)
        running = [record.process for record in read_record(stack.record) if record.process]
        os.killpg(up.pid, signal.SIGINT)
        assert up.stdout is not None
        assert "Interrupted" in up.stdout.read()
    assert up.returncode == 130
    assert len(running) >= 2
    assert not any(process.alive() for process in running)
    assert lifecycle.supervisor_of(stack) is None


def test_logs_show_one_program_or_name_those_there_are(stack: Stack) -> None:
    assert run(stack, "up", "--children", STAND_INS).returncode == 0
    assert "base is ready" in run(stack, "logs", "supervisor").stdout
    unknown = run(stack, "logs", "nobody")
    assert unknown.returncode == 1
    assert "base, front, supervisor, task" in unknown.stdout


def test_two_stacks_run_beside_each_other(stack: Stack) -> None:
    other = Stack(state=stack.state.with_name("other"), offset=stack.offset + 100)
    try:
        assert run(stack, "up", "--children", STAND_INS).returncode == 0
        assert run(other, "up", "--children", STAND_INS).returncode == 0
        assert run(stack, "down").returncode == 0
        assert run(other, "status").returncode == 0
    finally:
        lifecycle.stop(other, lambda line: None)
        lifecycle.delete_state(other)


def test_a_service_is_told_only_what_it_needs(stack: Stack) -> None:
    environment = service_environment("compensation", stack)
    urls = service_urls(stack.postgres, "compensation")
    assert environment["COMPENSATION_DATABASE_URL"] == urls.app
    assert urls.owner not in environment.values()
    assert migration_environment("compensation", stack)["COMPENSATION_MIGRATION_DATABASE_URL"] == urls.owner
    assert environment["COMPENSATION_SCORING_URL"] == stack.url("scoring")
    own = {name for name in environment if name.split("_")[0].lower() in SERVICES}
    assert {name.split("_")[0] for name in own} == {"COMPENSATION"}
    assert service_environment("notifications", stack)["NOTIFICATIONS_SMTP_PORT"] == str(stack.port("smtp"))
