"""Keeps the programs of a stack running: starts them in order, restarts the dead, stops them in reverse."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from types import FrameType

from deploy.local.child import Backoff, Child, Life
from deploy.local.files import private_directory
from deploy.local.layout import Stack
from deploy.local.record import write_record

_TICK = 0.1
_LOG_CHECK_TICKS = 20

Children = Callable[[Stack], Sequence[Child]]


class Supervisor:
    """Runs until told to stop by SIGTERM or SIGINT, then returns once every child has ended."""

    def __init__(self, stack: Stack, children: Sequence[Child]) -> None:
        private_directory(stack.logs)
        self._record_path = stack.record
        self._lives = [Life(child, stack.log(child.name), Backoff()) for child in children]
        self._by_name = {life.child.name: life for life in self._lives}
        self._stopping = False

    def run(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._stop)
        ticks = 0
        self._write()
        while not self._stopping:
            changes = [self._care_for(life) for life in self._lives]
            if any(changes):
                self._write()
            ticks += 1
            if ticks % _LOG_CHECK_TICKS == 0:
                for life in self._lives:
                    life.bound_log()
            time.sleep(_TICK)
        self._stop_all()
        self._record_path.unlink(missing_ok=True)

    def _stop(self, sign: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _care_for(self, life: Life) -> bool:
        ended = life.reap()
        if ended:
            _say(f"{life.child.name} ended with {life.last_exit}")
        started = not self._stopping and life.due() and self._may_start(life)
        if started:
            life.start()
            # A child that is not written down could not be found again if this process were killed.
            self._write()
            _say(f"{life.child.name} started, pid {life.process.pid if life.process else 'none'}")
        answered = life.probe()
        if answered and life.ready:
            _say(f"{life.child.name} is ready")
        return ended or started or answered

    def _may_start(self, life: Life) -> bool:
        return all(self._by_name[name].ready for name in life.child.after)

    def _stop_all(self) -> None:
        while any(life.running for life in self._lives):
            for life in reversed(self._lives):
                if life.reap():
                    _say(f"{life.child.name} stopped with {life.last_exit}")
                    self._write()
                if not self._needed(life):
                    life.ask_to_stop()
            time.sleep(_TICK / 2)

    def _needed(self, life: Life) -> bool:
        return any(other.running and life.child.name in other.child.after for other in self._lives)

    def _write(self) -> None:
        write_record(self._record_path, [life.record() for life in self._lives])


def load_children(spec: str) -> Children:
    """The function named `module:function` that lists the children of a stack."""
    module, _, function = spec.partition(":")
    loaded: Children = getattr(import_module(module), function)
    return loaded


def _say(what: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {what}\n")
    sys.stdout.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.supervisor", description=__doc__)
    # The state folder stands on the command line so that `down` finds this process without any file.
    arguments.add_argument("--state", required=True)
    arguments.add_argument("--children", required=True)
    given = arguments.parse_args()
    stack = Stack.from_environment()
    Supervisor(stack, load_children(given.children)(stack)).run()


if __name__ == "__main__":
    main()
