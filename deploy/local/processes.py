"""Finding, describing, starting and ending operating-system processes, on Linux and macOS."""

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1


class LocalStackError(Exception):
    """Something on this machine keeps the local stack from doing what was asked; the text says what."""


@dataclass(frozen=True)
class Account:
    """The operating-system user a program runs as when its caller is root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class ProcessId:
    """A pid together with its start: a pid alone may by now belong to somebody else's process."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        return _start_of(self.pid) == self.started


def command_of(pid: int) -> str:
    """The command line of a process; empty if there is none or it may not be read."""
    if _PROC.is_dir():
        with suppress(OSError):
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return ""
    return _ps("-o", "command=", "-p", str(pid)).strip()


def find_process(marker: str, program: str) -> ProcessId | None:
    """The living process whose executable's name begins with `program` and whose command line contains `marker`."""
    for pid, command in _all_commands():
        if marker in command and Path(command.split(" ", 1)[0]).name.lower().startswith(program):
            found = ProcessId.of(pid)
            if found:
                return found
    return None


def children_of(pid: int) -> list[ProcessId]:
    found = []
    for candidate, parent in _all_parents():
        if parent == pid and (process := ProcessId.of(candidate)):
            found.append(process)
    return found


def end(process: ProcessId, sign: signal.Signals, within: float, *, group: bool = False) -> bool:
    """Signals a process (or the group it leads) and waits; false if it still lives after `within` seconds."""
    with suppress(ProcessLookupError):
        if process.alive():
            (os.killpg if group else os.kill)(process.pid, sign)
    return wait_until(lambda: not process.alive(), within)


def reaped(process: ProcessId, within: float) -> bool:
    """Waits until a dead process has left the process table: until then, lock files that name its pid hold."""

    def vanished() -> bool:
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return True
        return process.alive()

    return wait_until(vanished, within)


def wait_until(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def start_detached(
    argv: Sequence[str], log: Path, environment: Mapping[str, str], account: Account | None = None
) -> ProcessId:
    """Starts a program that outlives this process and is out of reach of its terminal, its output appended to `log`."""
    request = {
        "argv": list(argv),
        "log": str(log),
        "environment": dict(environment),
        "account": None if account is None else [account.uid, account.gid],
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("detach.py"))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        # A Ctrl-C at the terminal is for the caller to answer; it must not leave this half done.
        start_new_session=True,
    )
    if done.returncode:
        raise LocalStackError(done.stderr.strip())
    process = ProcessId.of(int(done.stdout))
    if process is None:
        raise LocalStackError(f"{argv[0]} ended at once; see {log}")
    return process


def die_with_parent(sign: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends `sign` to the child once its parent has died (Linux only).

    The library is loaded here, in the parent: loading it between fork and exec may deadlock.
    """
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def port_is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def listener_on(port: int) -> ProcessId | None:
    """The process that listens on a TCP port, where this user may read it (Linux only)."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for pid in _all_pids() if inodes else ():
        with suppress(OSError):
            for descriptor in (_PROC / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in inodes:
                        return ProcessId.of(pid)
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    yield fields[9]


def _start_of(pid: int) -> str | None:
    """When the process began, in whatever unit this system tells it; nothing for the dead and for zombies."""
    if not _PROC.is_dir():
        return _ps("-o", "lstart=", "-p", str(pid)).strip() or None
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()] if _PROC.is_dir() else []


def _all_commands() -> Iterator[tuple[int, str]]:
    if _PROC.is_dir():
        for pid in _all_pids():
            yield pid, command_of(pid)
        return
    for line in _ps("-A", "-o", "pid=,command=").splitlines():
        shown, _, command = line.strip().partition(" ")
        yield int(shown), command.strip()


def _all_parents() -> Iterator[tuple[int, int]]:
    if not _PROC.is_dir():
        for line in _ps("-A", "-o", "pid=,ppid=").splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
        return
    for candidate in _all_pids():
        with suppress(OSError):
            fields = (_PROC / str(candidate) / "stat").read_text().rpartition(")")[2].split()
            yield candidate, int(fields[1])


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
