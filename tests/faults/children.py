"""The platform as `make up` starts it, with every service run through `crash_at`, which does nothing until armed."""

from __future__ import annotations

from dataclasses import replace

from deploy.local import children
from deploy.local.child import Child
from deploy.local.layout import Stack
from deploy.services import SERVICES


def platform(stack: Stack) -> list[Child]:
    return [_armable(stack, child) if child.name in SERVICES else child for child in children.platform(stack)]


def _armable(stack: Stack, child: Child) -> Child:
    python, *_ = child.command
    trigger = str(stack.state / f"crash-{child.name}")
    return replace(child, command=[python, "-m", "tests.faults.crash_at", trigger, child.name])
