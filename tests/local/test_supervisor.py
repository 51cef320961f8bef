from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from deploy.local import lifecycle
from deploy.local.child import Backoff
from deploy.local.layout import Stack
from deploy.local.processes import LocalStackError, ProcessId, end, wait_until
from deploy.local.record import ChildRecord, read_record

STAND_INS = "tests.local.stand_ins:children"


def silent(line: str) -> None: ...


def start(stack: Stack, spec: str = STAND_INS) -> None:
    lifecycle.start(stack, spec, silent)


def ready(stack: Stack) -> bool:
    return lifecycle.wait_until_ready(stack, 15, silent)


def child(stack: Stack, name: str) -> ChildRecord:
    return next(record for record in read_record(stack.record) if record.name == name)


def process(stack: Stack, name: str) -> ProcessId:
    found = child(stack, name).process
    assert found is not None
    return found


def processes(stack: Stack) -> list[ProcessId]:
    return [record.process for record in read_record(stack.record) if record.process]


def test_children_start_once_what_they_need_is_ready(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    started = [line.split()[1] for line in stack.log("supervisor").read_text().splitlines() if "started" in line]
    assert started == ["base", "task", "front"]
    assert (stack.state / "task.ran").read_text() == "ran\n"


def test_a_killed_child_is_started_again_and_the_others_are_left_alone(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    base, front = process(stack, "base"), process(stack, "front")
    end(front, signal.SIGKILL, 5)
    assert wait_until(lambda: child(stack, "front").restarts == 1 and child(stack, "front").ready, 10)
    assert process(stack, "front") != front
    assert process(stack, "base") == base
    assert child(stack, "front").last_exit == -signal.SIGKILL
    assert (stack.state / "task.ran").read_text() == "ran\n"


def test_nothing_is_left_after_a_stop(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    supervisor, running = lifecycle.supervisor_of(stack), processes(stack)
    assert supervisor is not None
    assert lifecycle.stop(stack, silent)
    assert not any(left.alive() for left in [supervisor, *running])
    assert read_record(stack.record) == []
    assert not lifecycle.stop(stack, silent)


def test_children_stop_before_what_they_need(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    lifecycle.stop(stack, silent)
    stopped = [line.split()[1] for line in stack.log("supervisor").read_text().splitlines() if "stopped" in line]
    assert stopped == ["front", "base"]


def test_a_child_that_will_not_stop_is_killed_after_its_drain_time(stack: Stack) -> None:
    start(stack, "tests.local.stand_ins:with_a_deaf_one")
    assert ready(stack)
    deaf = process(stack, "deaf")
    lifecycle.stop(stack, silent)
    assert not deaf.alive()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next command ends them")
def test_a_killed_supervisor_leaves_no_orphans(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    running = processes(stack)
    assert len(running) == 2
    end(_supervisor(stack), signal.SIGKILL, 5)
    assert wait_until(lambda: not any(left.alive() for left in running), 5)


def test_what_outlives_a_killed_supervisor_is_ended_by_the_next_command(stack: Stack) -> None:
    start(stack, "tests.local.stand_ins:with_a_deaf_one")
    assert ready(stack)
    deaf = process(stack, "deaf")
    end(_supervisor(stack), signal.SIGKILL, 5)
    assert deaf.alive()
    told: list[str] = []
    assert lifecycle.stop(stack, told.append)
    assert not deaf.alive()
    assert told == [f"deaf (pid {deaf.pid}) was left running and is ended"]


def test_a_stack_starts_again_after_its_supervisor_was_killed(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    end(_supervisor(stack), signal.SIGKILL, 5)
    start(stack)
    assert ready(stack)


def test_a_child_that_keeps_ending_is_told_of_and_does_not_stop_the_others(stack: Stack) -> None:
    start(stack, "tests.local.stand_ins:with_a_failing_one")
    told: list[str] = []
    assert not lifecycle.wait_until_ready(stack, 3, told.append)
    assert any("failing ended with 7" in line for line in told)
    assert child(stack, "front").ready
    assert 2 <= child(stack, "failing").starts <= 4


def test_a_taken_port_is_named_with_its_holder_before_anything_starts(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.port("ingest"))), pytest.raises(LocalStackError) as refusal:
        start(stack)
    assert f"port {stack.port('ingest')}, which front needs" in str(refusal.value)
    if sys.platform == "linux":
        assert f"pid {os.getpid()}:" in str(refusal.value)
    assert lifecycle.supervisor_of(stack) is None
    assert not (stack.state / "base.touched").exists()


def test_the_wait_before_a_restart_doubles_up_to_a_limit() -> None:
    backoff = Backoff(first=0.5, longest=30)
    assert [backoff.delay(failures) for failures in (0, 1, 2, 3, 10, 1000)] == [0.5, 1, 2, 4, 30, 30]


def test_an_overlong_log_is_moved_aside(stack: Stack) -> None:
    start(stack)
    assert ready(stack)
    log = stack.log("base")
    with log.open("ab") as file:
        file.truncate(11_000_000)
    assert wait_until(lambda: log.stat().st_size == 0, 10)
    assert Path(f"{log}.1").stat().st_size == 11_000_000


def _supervisor(stack: Stack) -> ProcessId:
    found = lifecycle.supervisor_of(stack)
    assert found is not None
    return found
