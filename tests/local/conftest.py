from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import lifecycle
from deploy.local.layout import PORTS, Stack
from deploy.local.processes import port_is_taken


def free_offset() -> int:
    """Something to add to every port of a stack so that it disturbs no other on this machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    # Below the range from which systems take ports for outgoing connections.
    for slot in range(28):
        offset = 10_000 + 500 * ((os.getpid() + worker + slot) % 28)
        if not any(port_is_taken(port + offset) for port in PORTS.values()):
            return offset
    raise AssertionError("this machine has no free ports")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of this test's own; whatever it started is gone afterwards."""
    made = Stack(state=tmp_path / "state", offset=free_offset())
    yield made
    lifecycle.stop(made, lambda line: None)
    lifecycle.delete_state(made)
