"""`make bench`: measure, print a table, write `build/bench.json`. Arguments choose among the measurements."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import consuming, ingesting, whole
from tests.benchmarks.report import Measure, machine
from tests.benchmarks.rig import Rig, rig

ROOT = Path(__file__).parents[2]
MEASUREMENTS: dict[str, Callable[[Rig], Iterator[Measure]]] = {
    "memory": whole.memory,
    "ingest": ingesting.measure,
    "consume": consuming.measure,
    "latency": whole.latency,
    "tracing": whole.tracing,
}


def main() -> int:
    console = Console()
    chosen = sys.argv[1:] or list(MEASUREMENTS)
    found: list[Measure] = []
    with rig(ROOT / ".plumbline" / "bench") as running:
        for name in chosen:
            console.print(f"measuring {name} …")
            for measure in MEASUREMENTS[name](running.for_measurement(name)):
                console.print(f"  {measure.name}: {measure.value:.2f}")
                found.append(measure)
    table = Table(title=f"{datetime.now(UTC):%Y-%m-%d}, {machine()}")
    for column in ("measure", "value", "bound", "ours", "other", "", "spread"):
        table.add_column(column)
    for measure in found:
        table.add_row(*_row(measure))
    console.print(table)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    document = {"machine": machine(), "at": datetime.now(UTC).isoformat(), "measures": [asdict(m) for m in found]}
    (build / "bench.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _row(measure: Measure) -> tuple[str, ...]:
    bound = f"≥ {measure.at_least}" if measure.at_least is not None else f"≤ {measure.at_most}"
    figures = tuple("" if figure is None else f"{figure:,.0f}" for figure in (measure.ours, measure.other))
    verdict = "holds" if measure.holds else "FALLS SHORT"
    return measure.name, f"{measure.value:.2f}", bound, *figures, measure.unit, f"{verdict}; {measure.note}"


if __name__ == "__main__":
    sys.exit(main())
