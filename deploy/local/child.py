"""One supervised program: what it is, and the life of its processes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.layout import PROJECT
from deploy.local.processes import Account, ProcessId, die_with_parent
from deploy.local.record import ChildRecord

_LOG_BYTES = 10_000_000
_PROBE_WHEN_READY = 3.0
_PROBE_WHEN_NOT = 0.2

Prepare = Callable[[], None]


@dataclass(frozen=True)
class Child:
    """A program to keep alive or, with `once`, to run until it has succeeded.

    It starts when everything in `after` is ready and is stopped before any of them. `ready` is asked
    while it runs; `prepare` runs in the foreground of `up`, where it may take its time and be seen.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    after: tuple[str, ...] = ()
    ready: Callable[[], bool] = lambda: True
    prepare: Prepare = lambda: None
    once: bool = False
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    drain: float = 20
    ports: tuple[int, ...] = ()
    address: str = ""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next start: doubling, and from the beginning after a run of `well` seconds."""

    first: float = 0.5
    longest: float = 30
    well: float = 10

    def delay(self, failures: int) -> float:
        return min(self.longest, self.first * 2.0 ** min(failures, 20))


@dataclass
class Life:
    """The changing side of a child; used from the supervisor's main thread only.

    The kernel ties a child to the thread that started it: were that thread to end, the child would be
    told that its parent had died.
    """

    child: Child
    log: Path
    backoff: Backoff
    process: ProcessId | None = None
    ready: bool = False
    starts: int = 0
    last_exit: int | None = None
    since: float = field(default_factory=time.time)
    _popen: subprocess.Popen[bytes] | None = None
    _started: float = 0
    _failures: int = 0
    _next_start: float = 0
    _next_probe: float = 0
    _stop_by: float | None = None

    @property
    def running(self) -> bool:
        return self._popen is not None

    @property
    def done(self) -> bool:
        return self.child.once and self.last_exit == 0 and not self.running

    def due(self) -> bool:
        return not self.running and not self.done and time.monotonic() >= self._next_start

    def start(self) -> None:
        account = self.child.account
        self.starts += 1
        self._started = time.monotonic()
        self.since = time.time()
        with self.log.open("ab") as log:
            try:
                self._popen = subprocess.Popen(
                    self.child.command,
                    env=dict(self.child.environment),
                    cwd="/" if account else PROJECT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent(self.child.stop_signal),
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                log.write(f"cannot start {self.child.command[0]}: {error}\n".encode())
                self._ended(127)
                return
        self.process = ProcessId.of(self._popen.pid)

    def reap(self) -> bool:
        """True if the process has ended since the last call."""
        code = self._popen.poll() if self._popen else None
        if self._popen is None or code is None:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._ended(code)
        return True

    def probe(self) -> bool:
        """Asks whether the child is ready when it is time to; true if the answer is a new one."""
        now = time.monotonic()
        if self.running and now < self._next_probe:
            return False
        before, self.ready = self.ready, self.done or (self.running and not self.child.once and self.child.ready())
        self._next_probe = now + (_PROBE_WHEN_READY if self.ready else _PROBE_WHEN_NOT)
        return before != self.ready

    def ask_to_stop(self) -> None:
        """Signals the child's group; once its drain time is over, kills it. To be called until it has ended."""
        if self._popen is None:
            return
        now = time.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self.child.drain
            self._signal(self.child.stop_signal)
        elif now > self._stop_by:
            self._signal(signal.SIGKILL)

    def bound_log(self) -> None:
        """Moves a log that has grown too long aside; what is written in that moment may be lost."""
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_BYTES:
                self.log.with_name(f"{self.log.name}.1").write_bytes(self.log.read_bytes())
                os.truncate(self.log, 0)

    def record(self) -> ChildRecord:
        return ChildRecord(
            name=self.child.name,
            process=self.process,
            ready=self.ready,
            starts=self.starts,
            restarts=max(0, self.starts - 1),
            last_exit=self.last_exit,
            since=self.since,
            drain=self.child.drain,
            address=self.child.address,
        )

    def _signal(self, sign: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self._popen is not None:
                os.killpg(self._popen.pid, sign)

    def _ended(self, code: int) -> None:
        ran = time.monotonic() - self._started
        self._failures = 0 if ran >= self.backoff.well else self._failures
        self._next_start = time.monotonic() + self.backoff.delay(self._failures)
        self._failures += 1
        self._popen = None
        self.process = None
        self.ready = False
        self.last_exit = code
        self.since = time.time()
        self._next_probe = 0
        self._stop_by = None
