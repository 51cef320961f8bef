"""What the supervisor writes down for `status`, and for whoever must clean up after it was killed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.files import write_private
from deploy.local.processes import ProcessId


@dataclass(frozen=True)
class ChildRecord:
    name: str
    process: ProcessId | None
    ready: bool
    starts: int
    restarts: int
    last_exit: int | None
    since: float
    drain: float
    address: str


def write_record(path: Path, children: list[ChildRecord]) -> None:
    write_private(path, json.dumps([asdict(child) for child in children], indent=1))


def read_record(path: Path) -> list[ChildRecord]:
    """The last written state, in start order; empty when nothing has been started or all was stopped in order."""
    try:
        stored = json.loads(path.read_text())
    except FileNotFoundError:
        return []
    return [
        ChildRecord(**{**child, "process": ProcessId(**child["process"]) if child["process"] else None})
        for child in stored
    ]
