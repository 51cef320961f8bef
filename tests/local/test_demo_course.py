"""The whole demo in a small world, on real PostgreSQL, Kafka and services: undisturbed, and with services killed."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import lifecycle
from deploy.local.demo.command import run
from deploy.local.demo.course import STAGES
from deploy.local.demo.findings import Findings
from deploy.local.demo.world import Size, build, client_agent
from deploy.local.layout import PROJECT, Stack
from deploy.local.processes import end
from deploy.local.record import read_record
from deploy.services import SERVICES
from tests.local.conftest import free_offset

ONE_EACH = {
    "post": "ingest",
    "freeze": "scoring",
    "calibrate": "calibration",
    "late": "compensation",
    "publish": "notifications",
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, up: shared by the tests of this file, each with a provider of its own."""
    stack = Stack(state=tmp_path_factory.mktemp("demo") / "state", offset=free_offset())
    lifecycle.start(stack, lifecycle.PLATFORM, lambda line: None)
    try:
        assert lifecycle.wait_until_ready(stack, 300, lambda line: None)
        yield stack
    finally:
        lifecycle.stop(stack, lambda line: None)
        lifecycle.delete_state(stack)


def _small(name: str) -> Size:
    return Size(agents=24, weeks=1, name=name)


def _walk(stack: Stack, size: Size, on_stage: Callable[[str], None] = lambda name: None) -> Findings:
    shown = io.StringIO()
    found = asyncio.run(run(stack, size, Console(file=shown, width=120), on_stage))
    differing = [check for check in found.checks if not check.holds]
    assert not differing, f"{differing}\n{shown.getvalue()}"
    assert "figures are what the generator expected" in shown.getvalue()
    return found


def _kill(stack: Stack, service: str) -> None:
    process = next(record.process for record in read_record(stack.record) if record.name == service)
    assert process is not None and end(process, signal.SIGKILL, 10)


@pytest.fixture(scope="module")
def undisturbed(platform: Stack) -> Findings:
    return _walk(platform, _small("calm"))


def test_a_world_ends_as_expected_and_a_second_run_says_the_same(platform: Stack, undisturbed: Findings) -> None:
    again = _walk(platform, _small("calm"))
    assert again.digest == undisturbed.digest
    assert again.checks == undisturbed.checks


def test_killing_each_service_once_changes_nothing(platform: Stack, undisturbed: Findings) -> None:
    def kill(stage: str) -> None:
        if stage in ONE_EACH:
            _kill(platform, ONE_EACH[stage])

    assert _walk(platform, _small("stormy"), kill).digest == undisturbed.digest


def test_a_run_that_was_killed_goes_on(platform: Stack, undisturbed: Findings) -> None:
    def stop(stage: str) -> None:
        if stage == "calibrate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _walk(platform, _small("halved"), stop)
    # Whoever killed the run may have lost what it remembered, too: everything is sent again and nothing counts twice.
    (journal,) = Path(platform.state / "demo").glob("halved-*.jsonl")
    journal.write_text("\n".join(journal.read_text().splitlines()[:2]) + "\n")
    assert _walk(platform, _small("halved")).digest == undisturbed.digest


def test_the_tour_of_the_readme_can_be_walked(platform: Stack, undisturbed: Findings) -> None:
    blocks = re.findall(r"```sh tour\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    script = (
        "\n".join(["set -euo pipefail", *blocks])
        .replace("curl -sf ", "curl -s --fail-with-body ")
        .replace("PROVIDER=meridian", f"PROVIDER={_small('calm').provider}")
    )
    script = re.sub(r"127\.0\.0\.1:(\d+)", lambda port: f"127.0.0.1:{int(port[1]) + platform.offset}", script)
    walker = next(worker for worker in build(_small("calm")).workers if worker.id == "e-0001")
    client = walker.stints[-1].program.client
    script = script.replace("aurora-telecom", client).replace("AU-4001", client_agent(walker, client))
    environment = {
        **os.environ,
        **platform.environment(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ('"cycle":"2025-q2"', "client-boundary", '"accepted":1', "unknown-metric", '"state":"approved"'):
        assert told in done.stdout, f"{told} is missing in: {done.stdout}"


def test_the_command_exits_with_one_when_a_figure_differs(platform: Stack, undisturbed: Findings) -> None:
    (journal,) = Path(platform.state / "demo").glob("calm-*.jsonl")
    kept = journal.read_text()
    journal.write_text(kept.replace('"duplicates": ', '"duplicates": 1', 1))
    command = [sys.executable, "-m", "deploy.local", "demo", "--agents", "24", "--weeks", "1", "--name", "calm"]
    environment = {**os.environ, **platform.environment()}
    try:
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    finally:
        journal.write_text(kept)
    assert done.returncode == 1
    assert "1 of " in done.stdout and "differs" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("service", SERVICES)
def test_killing_a_service_in_every_stage_changes_nothing(platform: Stack, undisturbed: Findings, service: str) -> None:
    killed: list[str] = []

    def kill(stage: str) -> None:
        killed.append(stage)
        _kill(platform, service)

    assert _walk(platform, _small(f"no-{service}"), kill).digest == undisturbed.digest
    assert killed == [*STAGES]
