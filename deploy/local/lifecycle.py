"""Starting a stack, stopping it, and deleting what it keeps."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from types import FrameType

from deploy.local.child import Child
from deploy.local.environment import process_environment
from deploy.local.files import locked, private_directory
from deploy.local.kafka_jars import JarsUnavailable, Progress, cached_jars
from deploy.local.layout import Stack
from deploy.local.processes import (
    LocalStackError,
    ProcessId,
    command_of,
    end,
    find_process,
    listener_on,
    port_is_taken,
    start_detached,
    wait_until,
)
from deploy.local.record import ChildRecord, read_record
from deploy.local.supervisor import load_children

PLATFORM = "deploy.local.children:platform"
_SUPERVISOR_STOPS_WITHIN = 120
_KEPT_FILES = ("postgres", "kafka", "issuer", "logs", "demo", "mailbox.sqlite*", "webhooks.sqlite*", "spans.sqlite*")

Say = Callable[[str], None]


def choose_kafka(stack: Stack, say: Say, progress: Progress) -> Stack:
    """The same stack, on the mock broker if Kafka's jars cannot be had; that is said at once."""
    if stack.foreign_kafka or stack.mock_kafka:
        return stack
    try:
        cached_jars(progress)
    except JarsUnavailable as error:
        if find_spec("confluent_kafka") is None:
            raise LocalStackError(f"{error}\nNeither is there a mock broker: confluent-kafka is missing") from error
        say(f"{error}\nInstead of Apache Kafka, librdkafka's mock broker starts: events do not survive a stop.")
        return replace(stack, mock_kafka=True)
    return stack


def start(stack: Stack, spec: str, say: Say) -> None:
    """Starts the supervisor of a stack that is down; refuses, naming them, if others hold its ports."""
    private_directory(stack.state)
    children = load_children(spec)(stack)
    end_leftovers(stack, say)
    refuse_taken_ports(children)
    for child in children:
        child.prepare()
    environment = process_environment(stack)
    private_directory(stack.logs)
    command = [sys.executable, *_supervisor_arguments(stack), "--children", spec]
    with _interrupts_deferred():
        start_detached(command, stack.log("supervisor"), environment)


def wait_until_ready(stack: Stack, within: float, say: Say) -> bool:
    """Waits for every child, saying so as each becomes ready or keeps ending; false if time runs out."""
    begun = time.monotonic()
    told: set[str] = set()
    while time.monotonic() < begun + within:
        records = read_record(stack.record)
        for line in filter(None, (_news(stack, record) for record in records)):
            if line not in told:
                say(f"{time.monotonic() - begun:6.1f} s  {line}")
            told.add(line)
        if records and all(record.ready for record in records):
            return True
        if supervisor_of(stack) is None and time.monotonic() > begun + 2:
            raise LocalStackError(f"the supervisor has ended; see {stack.log('supervisor')}")
        time.sleep(0.1)
    return False


def _news(stack: Stack, record: ChildRecord) -> str:
    if record.ready:
        return f"{record.name} ready"
    if record.last_exit:
        return f"{record.name} ended with {record.last_exit} and is started again; see {stack.log(record.name)}"
    return ""


def stop(stack: Stack, say: Say) -> bool:
    """Ends the supervisor and everything it started; false if there was nothing to end."""
    supervisor = supervisor_of(stack)
    if supervisor is not None and not end(supervisor, signal.SIGTERM, _SUPERVISOR_STOPS_WITHIN):
        say(f"the supervisor (pid {supervisor.pid}) does not stop and is killed")
        end(supervisor, signal.SIGKILL, 10)
    return end_leftovers(stack, say) or supervisor is not None


def end_leftovers(stack: Stack, say: Say) -> bool:
    """Ends what a killed supervisor left running, found by recorded pid and start time; last started first."""
    left = [record for record in reversed(read_record(stack.record)) if record.process and record.process.alive()]
    # Where the kernel tells children of their parent's death, they are on their way out already.
    wait_until(lambda: not _alive(left), within=3 if left else 0)
    for record in _alive(left):
        say(f"{record.name} (pid {record.process.pid if record.process else '?'}) was left running and is ended")
        if record.process and not end(record.process, signal.SIGTERM, record.drain, group=True):
            end(record.process, signal.SIGKILL, 10, group=True)
    stack.record.unlink(missing_ok=True)
    return bool(left)


def delete_state(stack: Stack) -> None:
    """Deletes the data, keys, passwords and logs of a stopped stack, and nothing else in its folder."""
    stack.postgres.destroy()
    for pattern in _KEPT_FILES:
        for path in stack.state.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def supervisor_of(stack: Stack) -> ProcessId | None:
    return find_process(" ".join([*_supervisor_arguments(stack), ""]), "python")


def refuse_taken_ports(children: Sequence[Child]) -> None:
    """Raises with one line for each port that somebody else listens on, and who that is where it may be known."""
    taken = []
    for child in children:
        for port in filter(port_is_taken, child.ports):
            holder = listener_on(port)
            who = f"pid {holder.pid}: {command_of(holder.pid)[:200]}" if holder else "a process this user may not see"
            taken.append(f"port {port}, which {child.name} needs, is taken by {who}")
    if taken:
        advice = "end them, or set PLUMBLINE_PORT_OFFSET to start beside them"
        raise LocalStackError("\n".join([*taken, advice]))


@contextmanager
def exclusive(stack: Stack) -> Iterator[None]:
    """One `up`, `down` or `reset` of a stack at a time; the second waits for the first."""
    private_directory(stack.state)
    with locked(stack.state / "command.lock"):
        yield


def _supervisor_arguments(stack: Stack) -> list[str]:
    return ["-m", "deploy.local.supervisor", "--state", str(stack.state)]


def _alive(records: Sequence[ChildRecord]) -> list[ChildRecord]:
    return [record for record in records if record.process and record.process.alive()]


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Lets a Ctrl-C take effect only after the block: in between there would be a supervisor nobody knows of."""
    interrupted = False

    def remember(sign: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt
