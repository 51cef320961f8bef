"""The commands of the local stack, as typer calls them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from deploy.local import lifecycle
from deploy.local.kafka_jars import Progress as JarProgress
from deploy.local.layout import Stack
from deploy.local.processes import LocalStackError, port_is_taken
from deploy.local.record import ChildRecord, read_record
from deploy.local.supervisor import load_children
from deploy.local.tokens import HALF_A_DAY, TokenSigner
from shared.auth import Role

_NOT_READY, _NOT_RUNNING, _INTERRUPTED = 1, 3, 130
_out = Console(highlight=False, soft_wrap=True)


def up(
    within: Annotated[float, typer.Option(help="Seconds to wait until everything is ready.")] = 240,
    children: Annotated[str, typer.Option(help="module:function that lists what to run.", hidden=True)] = (
        lifecycle.PLATFORM
    ),
) -> None:
    """Start everything on this machine and wait until it is ready. Data of earlier runs is kept."""
    stack = Stack.from_environment()
    try:
        _start(stack, children)
        ready = lifecycle.wait_until_ready(stack, within, _say)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _out.print("Interrupted: stopping what was started.")
        with lifecycle.exclusive(stack):
            lifecycle.stop(stack, _say)
        raise typer.Exit(_INTERRUPTED) from None
    if not ready:
        missing = ", ".join(record.name for record in read_record(stack.record) if not record.ready)
        _out.print(f"Not ready after {within:.0f} s: {missing}. What runs goes on running; see `status` and `logs`.")
        raise typer.Exit(_NOT_READY)
    _announce(stack, [(record.name, record.address) for record in read_record(stack.record)])
    _out.print("Everything is ready.")


def down() -> None:
    """Stop everything; the data stays."""
    stack = Stack.from_environment()
    with lifecycle.exclusive(stack):
        stopped = lifecycle.stop(stack, _say)
    _out.print("Everything is stopped." if stopped else "Nothing was running.")


def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete the data, keys and logs."""
    stack = Stack.from_environment()
    if not yes:
        typer.confirm(f"Delete every database, topic, key and log of the stack in {stack.state}?", abort=True)
    with lifecycle.exclusive(stack):
        lifecycle.stop(stack, _say)
        lifecycle.delete_state(stack)
    _out.print("The stack is empty.")


def status() -> None:
    """Show what runs. Exits with 0 if everything is ready, 1 if not, 3 if nothing runs."""
    stack = Stack.from_environment()
    records = read_record(stack.record)
    if lifecycle.supervisor_of(stack) is None:
        _out.print("Not running." if not records else "The supervisor was killed; `down` or `up` cleans up after it.")
        raise typer.Exit(_NOT_RUNNING)
    table = Table("program", "state", "pid", "restarts", "since", "last exit", box=None)
    for record in records:
        since = datetime.fromtimestamp(record.since, UTC).strftime("%H:%M:%S")
        pid = str(record.process.pid) if record.process else ""
        last_exit = "" if record.last_exit is None else str(record.last_exit)
        table.add_row(record.name, _state(record), pid, str(record.restarts), since, last_exit)
    _out.print(table)
    if not all(record.ready for record in records):
        raise typer.Exit(_NOT_READY)


def logs(
    name: Annotated[str | None, typer.Argument(help="One program; all of them if left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written next.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n")] = 40,
) -> None:
    """Show the end of the logs."""
    stack = Stack.from_environment()
    paths = [stack.log(name)] if name else sorted(stack.logs.glob("*.log"))
    if not paths or not all(path.exists() for path in paths):
        known = ", ".join(sorted(path.stem for path in stack.logs.glob("*.log")))
        _out.print(f"No such log. There are: {known or 'none yet'}")
        raise typer.Exit(_NOT_READY)
    for path in paths:
        for line in path.read_text(errors="replace").splitlines()[-lines:]:
            _log_line(path, line, len(paths) > 1)
    if follow:
        _follow(paths)


def token(
    role: Annotated[list[Role], typer.Option(help="May be given several times.")],
    provider: Annotated[str | None, typer.Option()] = None,
    employee: Annotated[str | None, typer.Option()] = None,
    client: Annotated[str | None, typer.Option()] = None,
    unit: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    subject: Annotated[str | None, typer.Option()] = None,
    ttl: Annotated[float, typer.Option(help="Seconds until it expires.")] = HALF_A_DAY,
) -> None:
    """Print a signed token for this stack's services."""
    stack = Stack.from_environment()
    # The running stack's own issuer, whatever offset this shell says.
    running = (child.address for child in read_record(stack.record) if child.name == "issuer")
    signer = TokenSigner(stack.state / "issuer", next(running, stack.url("issuer")))
    typer.echo(
        signer.token(
            provider=provider or None,
            roles=role,
            subject=subject or None,
            employee=employee or None,
            client=client or None,
            units=unit or [],
            ttl=ttl,
        )
    )


def consume(
    topic: str,
    limit: Annotated[int | None, typer.Option("--max", help="Stop after so many records.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Stop after so many seconds without a record.")] = None,
) -> None:
    """Read a topic from its beginning with Kafka's own console consumer."""
    stack = Stack.from_environment()
    broker = stack.kafka
    if not stack.foreign_kafka and not port_is_taken(broker.port):
        raise LocalStackError(f"Kafka is not running on {broker.bootstrap}")
    command = broker.console_consumer(topic, bootstrap=stack.kafka_bootstrap, max_messages=limit, timeout=timeout)
    raise typer.Exit(subprocess.call(command, env=broker.environment()))


def _start(stack: Stack, children: str) -> None:
    with lifecycle.exclusive(stack):
        if lifecycle.supervisor_of(stack) is not None:
            _out.print("Already running.")
            return
        if children == lifecycle.PLATFORM:
            with _download_shown() as progress:
                stack = lifecycle.choose_kafka(stack, _say, progress)
        _announce(stack, [(child.name, child.address) for child in load_children(children)(stack)])
        lifecycle.start(stack, children, _say)


def _announce(stack: Stack, addresses: Sequence[tuple[str, str]]) -> None:
    table = Table("program", "address", box=None)
    for name, address in addresses:
        if address:
            table.add_row(name, address)
    _out.print(f"The stack in {stack.state}:")
    _out.print(table)


@contextmanager
def _download_shown() -> Iterator[JarProgress]:
    columns = (TextColumn("Apache Kafka's jars"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=_out) as shown:
        task = shown.add_task("jars", visible=False)
        yield lambda done, total: shown.update(task, completed=done, total=total, visible=True)


def _say(what: str) -> None:
    _out.print(what, markup=False)


def _state(record: ChildRecord) -> str:
    if record.ready:
        return "ready" if record.process else "done"
    if record.process:
        return "starting"
    return "waiting" if record.starts == 0 else "restarting"


def _log_line(path: Path, line: str, named: bool) -> None:
    typer.echo(f"{path.stem:>14} | {line}" if named else line)


def _follow(paths: list[Path]) -> None:
    files = [(path, path.open(errors="replace")) for path in paths]
    for _, file in files:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            for path, file in files:
                if path.stat().st_size < file.tell():
                    file.seek(0)
                for line in file:
                    _log_line(path, line.rstrip("\n"), len(files) > 1)
            time.sleep(0.3)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
