"""`python -m deploy.local demo`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import commands
from deploy.local.demo import findings, report, world
from deploy.local.demo.client import Api, Refused, Unreachable
from deploy.local.demo.context import Course
from deploy.local.demo.course import walk
from deploy.local.demo.desk import Desk
from deploy.local.demo.expectation import expect
from deploy.local.demo.findings import Findings
from deploy.local.demo.journal import Journal
from deploy.local.demo.screen import Overdue, Screen
from deploy.local.demo.world import Size
from deploy.local.layout import Stack
from deploy.local.tokens import TokenSigner

_FAILED = 1
_WIDTH_OF_A_LOG = 120
_FORESEEN = (Refused, Unreachable, Overdue, ValueError)


def demo(
    agents: Annotated[int, typer.Option(min=world.FEWEST_AGENTS, help="Agents of the provider.")] = world.AGENTS,
    weeks: Annotated[int, typer.Option(min=1, help="Weeks of daily events.")] = world.WEEKS,
    seed: Annotated[int, typer.Option(help="Another seed is another provider.")] = world.SEED,
    name: Annotated[str, typer.Option(help="Begins the provider's id: the same world beside itself.")] = world.NAME,
) -> None:
    """Start everything, load a BPO provider's quarter through the public APIs and show what came of it.

    Exits with 1 unless every figure is what the generator expected. Interrupted, it goes on where it stopped.
    """
    commands.up()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_LOG
    try:
        found = asyncio.run(run(Stack.from_environment(), Size(agents, weeks, seed, name), console))
    except (*_FORESEEN, BaseExceptionGroup) as error:
        cause = _first(error)
        if not isinstance(cause, _FORESEEN):
            raise
        console.print(f"The demo stopped: {cause}", style="bold red", markup=False, soft_wrap=True)
        console.print("Started again, it goes on from there.", markup=False)
        raise typer.Exit(_FAILED) from None
    if not found.hold:
        raise typer.Exit(_FAILED)


async def run(
    stack: Stack, size: Size, console: Console, on_stage: Callable[[str], None] = lambda name: None
) -> Findings:
    """The whole demo on a stack that is up; what was found, also printed."""
    screen = Screen(console)
    begun = time.monotonic()
    made = world.build(size)
    with screen.bar("people whose quarter is worked out", len(made.workers)) as step:
        expected = expect(made, step)
    screen.say(f"{expected.fates.total():,} events and what must become of them are worked out from seed {size.seed}")
    desk = Desk(TokenSigner(stack.state / "issuer", stack.url("issuer")), expected.world)
    journal = Journal(stack.state / "demo", size.provider)
    async with Api(stack.url) as api:
        course = Course(stack, expected.world, expected, api, desk, screen, journal)
        course.seconds["generator"] = time.monotonic() - begun
        await walk(course, on_stage)
        begun = time.monotonic()
        found = await findings.gather(course)
        course.seconds["report"] = time.monotonic() - begun
        report.show(console, course, found)
    return found


def _first(error: BaseException) -> BaseException:
    """What went wrong, of several things done at once the first."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
