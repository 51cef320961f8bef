"""What is done to the platform, one function for each; every one returns what it saw and what was wrong afterwards."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from deploy.local.child import Backoff
from deploy.local.children import answers
from deploy.local.demo.findings import Findings
from deploy.local.demo.world import Size
from deploy.local.environment import service_environment
from deploy.local.layout import PROJECT
from deploy.services import SERVICES
from shared.contracts.topics import KPI_EVENTS
from tests.faults import poisoning
from tests.faults.checkers import check
from tests.faults.killing import Kills, kill_at_random
from tests.faults.rig import Rig, quiet

SEED = 41


@dataclass(frozen=True)
class Scale:
    """How much of it: a short set for every run of the tests, a long one for `make faults`."""

    world: Size
    kills: int
    copies: int
    poison: int
    deadly: int


SHORT = Scale(Size(24, 1, SEED, "short"), kills=10, copies=3_000, poison=30, deadly=1)
LONG = Scale(Size(120, 4, SEED, "long"), kills=200, copies=99_000, poison=1_000, deadly=3)


@dataclass(frozen=True)
class Outcome:
    what: str
    seen: str
    wrong: list[str]


def _world(scale: Scale, name: str) -> Size:
    return Size(scale.world.agents, scale.world.weeks, scale.world.seed, f"{scale.world.name}-{name}")


async def random_kills(rig: Rig, scale: Scale) -> Outcome:
    """Worlds are walked one after the other until all kills are done; the last one is finished in peace."""
    kills, random = Kills(), Random(SEED)
    killing = asyncio.create_task(kill_at_random(rig, kills, scale.kills, random))
    findings: dict[str, Findings] = {}
    number = 0
    while not killing.done() or not findings:
        size = _world(scale, f"kill{number}")
        findings[size.provider] = await rig.walk(size)
        number += 1
    await killing
    return Outcome("kill -9 of services under load", f"{kills}; {number} worlds", await check(rig, findings))


async def every_step(rig: Rig, scale: Scale) -> Outcome:
    """Scoring dies before the first, second, third … step of a batch, until a whole world has no batch that long."""
    trigger = rig.stack.state / "crash-scoring"
    died = 0

    async def keep_arming() -> None:
        nonlocal died
        while True:
            trigger.write_text(str(died + 1))
            await rig.until("scoring to die at its step", lambda: not trigger.exists(), within=3600)
            died += 1
            # Without a rest the supervisor would wait longer after every death, and the world for an answer.
            await asyncio.sleep(Backoff().well + 2)

    arming = asyncio.create_task(keep_arming())
    findings: dict[str, Findings] = {}
    before = -1
    while died > before:
        before = died
        size = _world(scale, f"steps{len(findings)}")
        findings[size.provider] = await rig.walk(size)
    arming.cancel()
    trigger.unlink(missing_ok=True)
    seen = f"{died} deaths, each one step later; {len(findings)} worlds"
    return Outcome("kill between the steps of a batch", seen, await check(rig, findings))


async def broker_killed(rig: Rig, scale: Scale) -> Outcome:
    return await _killed_in_the_middle(rig, scale, "kafka")


async def database_killed(rig: Rig, scale: Scale) -> Outcome:
    return await _killed_in_the_middle(rig, scale, "postgres")


async def _killed_in_the_middle(rig: Rig, scale: Scale, name: str) -> Outcome:
    size = _world(scale, name)
    deaths = 0
    killing: list[asyncio.Task[None]] = []

    async def kill_now_and_then() -> None:
        nonlocal deaths
        for pause in (2, 15):
            await asyncio.sleep(pause)
            deaths += rig.signal(name, signal.SIGKILL)

    def begin(stage: str) -> None:
        if stage == "post":
            killing.append(asyncio.create_task(kill_now_and_then()))

    findings = {size.provider: await rig.walk(size, begin)}
    # A small world may be over before the last kill: nothing is looked at before what was killed is back.
    await asyncio.gather(*killing)
    await asyncio.sleep(1)
    await rig.until(f"{name} to be back", lambda: rig.is_ready(name))
    await rig.all_ready()
    return Outcome(f"kill -9 of {name} while events are posted", f"{deaths} kills", await check(rig, findings))


async def rolling_restart(rig: Rig, scale: Scale) -> Outcome:
    """SIGTERM to one service after the other, at every stage."""
    size = _world(scale, "rolling")
    ended = 0

    def restart(stage: str) -> None:
        nonlocal ended
        ended += rig.signal(SERVICES[ended % len(SERVICES)], signal.SIGTERM)

    findings = {size.provider: await rig.walk(size, restart)}
    return Outcome("rolling SIGTERM", f"{ended} drained and started again", await check(rig, findings))


async def zombie(rig: Rig, scale: Scale) -> Outcome:
    """The owner of all partitions is stopped, a second scoring takes over and works, then the first one wakes up."""
    size = _world(scale, "zombie")
    port = rig.stack.port("scoring") + 40
    environment = service_environment("scoring", rig.stack) | {"SCORING_HTTP_PORT": str(port)}
    second: list[subprocess.Popen[bytes]] = []

    def act(stage: str) -> None:
        if stage == "post":
            rig.signal("scoring", signal.SIGSTOP)
            command = [sys.executable, "-m", "services.scoring"]
            second.append(subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=subprocess.DEVNULL))
        if stage == "amend":
            rig.signal("scoring", signal.SIGCONT)

    try:
        findings = {size.provider: await rig.walk(size, act)}
        took_over = answers(port, "/readyz")()
    finally:
        rig.signal("scoring", signal.SIGCONT)
        for process in second:
            process.terminate()
            process.wait(30)
    seen = "the second owner worked beside the woken first" if took_over else "the second owner never became ready"
    return Outcome("stopped and continued owner", seen, await check(rig, findings) + ([] if took_over else [seen]))


async def thrice_shuffled(rig: Rig, scale: Scale) -> Outcome:
    size = _world(scale, "thrice")
    findings = {size.provider: await rig.walk(size)}
    await quiet(rig)
    records = await poisoning.everything(rig)
    mixed = poisoning.thrice_and_shuffled(records, Random(SEED))
    await poisoning.send(rig, mixed)
    return Outcome("every event three times, shuffled", f"{len(mixed):,} records", await check(rig, findings))


async def poison(rig: Rig, scale: Scale) -> Outcome:
    """Unreadable records among many good ones, which are repetitions of known events."""
    size = _world(scale, "poison")
    findings = {size.provider: await rig.walk(size)}
    random = Random(SEED)
    known = await poisoning.everything(rig, [KPI_EVENTS])
    good = [known[index % len(known)] for index in range(scale.copies)]
    mixed = good + poisoning.unreadable(known, scale.poison, random)
    random.shuffle(mixed)
    await poisoning.send(rig, mixed)
    wrong = await check(rig, findings, {"invalid-message": scale.poison})
    return Outcome("unreadable records among good ones", f"{scale.poison:,} among {len(mixed):,}", wrong)


async def handler_killers(rig: Rig, scale: Scale) -> Outcome:
    """Records that end the process whenever they are handled; each is parked only after it did so again and again."""
    size = _world(scale, "deadly")
    findings = {size.provider: await rig.walk(size)}
    known = await poisoning.everything(rig, [KPI_EVENTS])
    await poisoning.send(rig, poisoning.deadly(known, scale.deadly, Random(SEED)))
    wrong = await check(rig, findings, {"crashed": scale.deadly})
    return Outcome("records that kill the handler", f"{scale.deadly}, parked as crashed", wrong)


SCENARIOS: dict[str, Callable[[Rig, Scale], Awaitable[Outcome]]] = {
    "kills": random_kills,
    "steps": every_step,
    "kafka": broker_killed,
    "postgres": database_killed,
    "rolling": rolling_restart,
    "zombie": zombie,
    "thrice": thrice_shuffled,
    "poison": poison,
    "deadly": handler_killers,
}
