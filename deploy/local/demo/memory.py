"""How much memory the stack takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from deploy.local.layout import Stack
from deploy.local.processes import children_of
from deploy.local.record import read_record


def resident_by_program(stack: Stack) -> dict[str, int]:
    """Resident bytes of every program of the stack with its children, and of this one. Pages that processes share
    count once where the system tells, as PostgreSQL's buffers are mapped into each of its backends."""
    found = {
        record.name: _family(record.process.pid)
        for record in read_record(stack.record)
        if record.process and record.process.alive()
    }
    return found | {"the demo itself": _resident(os.getpid())}


def _family(pid: int) -> int:
    return _resident(pid) + sum(_family(child.pid) for child in children_of(pid))


def _resident(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    asked = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(asked.stdout.strip() or 0) * 1024
