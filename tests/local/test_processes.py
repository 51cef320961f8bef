from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.processes import (
    LocalStackError,
    ProcessId,
    end,
    listener_on,
    port_is_taken,
    start_detached,
    wait_until,
)

_PARENT = """
import signal, subprocess, sys, time
from deploy.local.processes import die_with_parent
child = subprocess.Popen(["sleep", "600"], preexec_fn=die_with_parent(signal.SIGTERM), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child that its parent died")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = ProcessId.of(int(parent.stdout.readline()))
        assert child is not None and child.alive()
        parent.kill()
    assert wait_until(lambda: not child.alive(), 5)


def test_a_detached_program_is_found_and_ended(tmp_path: Path) -> None:
    process = start_detached(["/bin/sleep", "600"], tmp_path / "log", {})
    assert process.alive()
    assert end(process, signal.SIGTERM, 5)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="/no/such/program"):
        start_detached(["/no/such/program"], tmp_path / "log", {})


def test_a_pid_with_another_start_time_is_another_process() -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        stranger = ProcessId(process.pid, "long ago")
        assert not stranger.alive()
        assert end(stranger, signal.SIGKILL, 1)
        assert process.poll() is None
        process.kill()


def test_the_holder_of_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port_is_taken(port)
        if sys.platform == "linux":
            found = listener_on(port)
            assert found is not None and found.alive()
    assert not port_is_taken(port)
