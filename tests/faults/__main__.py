"""`make faults`: disturb the running platform, check what is left, print a table, write `build/faults.json`.

Names on the command line choose scenarios; `--short` takes the small set that `make test` also runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.demo.client import Unreachable
from tests.benchmarks.report import machine
from tests.faults.rig import running
from tests.faults.scenarios import LONG, SCENARIOS, SHORT, Outcome

ROOT = Path(__file__).parents[2]


async def run(names: list[str], short: bool, console: Console) -> list[tuple[Outcome, float]]:
    done: list[tuple[Outcome, float]] = []
    for name in names:
        # Fresh data each time: what one scenario leaves behind must not hide or explain what the next one does.
        async with running(ROOT / ".plumbline" / "faults", console) as rig:
            console.print(f"{name} …")
            begun = time.monotonic()
            scale = SHORT if short else LONG
            try:
                outcome = await SCENARIOS[name](rig, scale)
            except (TimeoutError, Unreachable) as error:
                outcome = Outcome(name, "not finished", [str(error)])
            done.append((outcome, time.monotonic() - begun))
            console.print(f"  {outcome.seen}: {'WRONG' if outcome.wrong else 'all holds'}", markup=False)
            for line in outcome.wrong:
                console.print(f"  {line}", style="red", markup=False)
    return done


def main() -> int:
    console = Console(width=140)
    arguments = [each for each in sys.argv[1:] if each != "--short"]
    done = asyncio.run(run(arguments or list(SCENARIOS), "--short" in sys.argv, console))
    table = Table("what was done", "seen", "seconds", "afterwards", title=f"{datetime.now(UTC):%Y-%m-%d}, {machine()}")
    for outcome, seconds in done:
        table.add_row(outcome.what, outcome.seen, f"{seconds:.0f}", "all holds" if not outcome.wrong else "WRONG")
    console.print(table)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    rows = [{**asdict(outcome), "seconds": round(seconds)} for outcome, seconds in done]
    (build / "faults.json").write_text(json.dumps({"machine": machine(), "runs": rows}, indent=2) + "\n")
    return 1 if any(outcome.wrong for outcome, _ in done) else 0


if __name__ == "__main__":
    sys.exit(main())
