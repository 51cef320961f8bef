"""Small programs in the place of the platform's, for tests of what keeps programs running."""

import sys
from pathlib import Path

from deploy.local.child import Child
from deploy.local.children import infrastructure, listens
from deploy.local.environment import process_environment
from deploy.local.layout import Stack

_SLEEP = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
_TASK = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write('ran\\n')"
_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
_LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


def children(stack: Stack) -> list[Child]:
    """A base, a task that needs it, and a listener that needs both."""
    touched = stack.state / "base.touched"
    port = stack.port("ingest")
    return [
        Child("base", _program(_SLEEP, touched), {}, ready=touched.exists, address="here"),
        Child("task", _program(_TASK, stack.state / "task.ran"), {}, after=("base",), once=True),
        Child("front", _program(_LISTEN, port), {}, after=("base", "task"), ready=listens(port), ports=(port,)),
    ]


def with_a_deaf_one(stack: Stack) -> list[Child]:
    return [*children(stack), Child("deaf", _program(_DEAF), {}, drain=0.5)]


def with_a_failing_one(stack: Stack) -> list[Child]:
    return [*children(stack), Child("failing", _program("raise SystemExit(7)"), {}, ready=lambda: False)]


def without_services(stack: Stack) -> list[Child]:
    """The real PostgreSQL, Kafka and receivers; no topics and no services."""
    assert process_environment(stack)["PLUMBLINE_STATE"] == str(stack.state)
    return [child for child in infrastructure(stack) if child.name != "topics"]


def _program(source: str, *arguments: Path | int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", source, *map(str, arguments)]
